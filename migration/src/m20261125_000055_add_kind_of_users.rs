//! Accounts of people and of services; a service has no password and never signs in.

use sea_orm_migration::prelude::*;

use crate::schema::short;

/// Adds the column.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("users", "kind").await? {
            return Ok(());
        }
        let kind = short("kind", 16).default("person").to_owned();
        let change = Table::alter().table("users").add_column(kind).to_owned();
        manager.alter_table(change).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let change = Table::alter().table("users").drop_column("kind").to_owned();
        manager.alter_table(change).await
    }
}
