//! Wrong passwords by account, named by a hash of the address that was typed, known or not.

use sea_orm_migration::prelude::*;

use crate::schema::{index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut throttles = table(manager, "sign_in_throttles");
        throttles
            .col(short("account_hash", 64))
            .col(integer("failures"))
            .col(moment("blocked_until"))
            .col(moment("updated_at"));
        manager.create_table(throttles).await?;
        index(manager, "sign_in_throttles", &["account_hash"], true).await?;
        index(manager, "sign_in_throttles", &["updated_at"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop()
            .table("sign_in_throttles")
            .if_exists()
            .to_owned();
        manager.drop_table(drop).await
    }
}
