//! The newest time step whose code an account has used, so that none is used twice.

use sea_orm_migration::prelude::*;

use crate::schema::integer;

/// Adds the column.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("users", "factor_step").await? {
            return Ok(());
        }
        let column = integer("factor_step").default(0).to_owned();
        let change = Table::alter().table("users").add_column(column).to_owned();
        manager.alter_table(change).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let change = Table::alter()
            .table("users")
            .drop_column("factor_step")
            .to_owned();
        manager.alter_table(change).await
    }
}
