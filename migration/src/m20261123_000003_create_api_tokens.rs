//! API tokens; only a hash is kept.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut tokens = table(manager, "api_tokens");
        tokens
            .col(integer("user_id"))
            .col(short("name", 100))
            .col(short("token_hash", 64))
            .col(short("hint", 8))
            .col(moment("created_at"))
            .col(optional(moment("expires_at")))
            .col(optional(moment("used_at")))
            .foreign_key(&mut belongs_to("api_tokens", "user_id", "users"));
        manager.create_table(tokens).await?;
        index(manager, "api_tokens", &["token_hash"], true).await?;
        index(manager, "api_tokens", &["user_id", "id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("api_tokens").if_exists().to_owned())
            .await
    }
}
