//! Since when an account has a second factor.

use sea_orm_migration::prelude::*;

use crate::schema::{moment, optional};

/// Adds the column.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("users", "factor_at").await? {
            return Ok(());
        }
        let column = optional(moment("factor_at"));
        let change = Table::alter().table("users").add_column(column).to_owned();
        manager.alter_table(change).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let change = Table::alter()
            .table("users")
            .drop_column("factor_at")
            .to_owned();
        manager.alter_table(change).await
    }
}
