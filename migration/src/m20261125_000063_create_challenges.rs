//! Sign-ins that still lack the second factor; only a hash of what they are continued with is kept.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut challenges = table(manager, "challenges");
        challenges
            .col(integer("user_id"))
            .col(short("token_hash", 64))
            .col(short("means", 16))
            .col(integer("attempts"))
            .col(moment("expires_at"))
            .foreign_key(&mut belongs_to("challenges", "user_id", "users"));
        manager.create_table(challenges).await?;
        index(manager, "challenges", &["token_hash"], true).await?;
        index(manager, "challenges", &["user_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("challenges").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
