//! How often anything has changed that requests to deploy are decided on. It stands in the row that
//! every admission writes anyway, so comparing it costs nothing.

use sea_orm_migration::prelude::*;

use crate::schema::integer;

/// Adds the count.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("queue_gate", "revision").await? {
            return Ok(());
        }
        let mut gate = Table::alter().table("queue_gate").to_owned();
        gate.add_column(integer("revision").default(0_i64).to_owned());
        manager.alter_table(gate).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut gate = Table::alter().table("queue_gate").to_owned();
        gate.drop_column("revision");
        manager.alter_table(gate).await
    }
}
