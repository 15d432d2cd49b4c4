//! Whose accounts the identity provider's people have.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut identities = table(manager, "identities");
        identities
            .col(integer("user_id"))
            .col(short("issuer", 255))
            .col(short("subject", 255))
            .col(moment("created_at"))
            .foreign_key(&mut belongs_to("identities", "user_id", "users"));
        manager.create_table(identities).await?;
        index(manager, "identities", &["issuer", "subject"], true).await?;
        index(manager, "identities", &["user_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("identities").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
