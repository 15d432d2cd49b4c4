//! Which events of a project anybody is told of, beside the project itself: what everything that
//! happens reads anyway.

use sea_orm_migration::prelude::*;

use crate::schema::integer;

/// Adds the column.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("projects", "told").await? {
            return Ok(());
        }
        let told = integer("told").default(0).to_owned();
        let change = Table::alter().table("projects").add_column(told).to_owned();
        manager.alter_table(change).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let change = Table::alter()
            .table("projects")
            .drop_column("told")
            .to_owned();
        manager.alter_table(change).await
    }
}
