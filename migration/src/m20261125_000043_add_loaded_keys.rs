//! Each process says which master keys it has: a key is not used before all of them have it.

use sea_orm_migration::prelude::*;

use crate::schema::{optional, short};

/// Adds the versions that a process has loaded.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("processes", "key_versions").await? {
            return Ok(());
        }
        let mut processes = Table::alter().table("processes").to_owned();
        processes.add_column(optional(short("key_versions", 1000)));
        manager.alter_table(processes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut processes = Table::alter().table("processes").to_owned();
        processes.drop_column("key_versions");
        manager.alter_table(processes).await
    }
}
