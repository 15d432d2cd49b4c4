//! Single-use codes in the place of a lost second factor; only hashes are kept.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut codes = table(manager, "recovery_codes");
        codes
            .col(integer("user_id"))
            .col(short("code_hash", 64))
            .foreign_key(&mut belongs_to("recovery_codes", "user_id", "users"));
        manager.create_table(codes).await?;
        index(manager, "recovery_codes", &["user_id", "code_hash"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("recovery_codes").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
