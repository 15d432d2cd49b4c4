//! One-time links to set a first or a new password; only a hash is kept.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut links = table(manager, "password_links");
        links
            .col(integer("user_id"))
            .col(short("token_hash", 64))
            .col(moment("created_at"))
            .col(moment("expires_at"))
            .foreign_key(&mut belongs_to("password_links", "user_id", "users"));
        manager.create_table(links).await?;
        index(manager, "password_links", &["token_hash"], true).await?;
        index(manager, "password_links", &["user_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("password_links").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
