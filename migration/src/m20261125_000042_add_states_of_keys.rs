//! Which master key encrypts is decided in the database, for all processes at the same moment.

use sea_orm_migration::prelude::*;

use crate::schema::{moment, optional, short};

/// Adds what a key version is used for.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            ("state", short("state", 16).default("ready").to_owned()),
            ("activated_at", optional(moment("activated_at"))),
            ("retired_at", optional(moment("retired_at"))),
        ];
        for (name, column) in columns {
            if !manager.has_column("vault_keys", name).await? {
                let mut keys = Table::alter().table("vault_keys").to_owned();
                keys.add_column(column);
                manager.alter_table(keys).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["state", "activated_at", "retired_at"] {
            let mut keys = Table::alter().table("vault_keys").to_owned();
            keys.drop_column(name);
            manager.alter_table(keys).await?;
        }
        Ok(())
    }
}
