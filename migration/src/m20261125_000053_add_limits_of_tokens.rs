//! What a token is good for: scopes, and perhaps only some projects. Older tokens keep every right
//! of their owner.

use sea_orm_migration::prelude::*;

use crate::schema::{long, optional, short};

/// Adds the columns.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let scopes = short("scopes", 64).default("admin").to_owned();
        for column in [scopes, optional(long(manager, "projects"))] {
            if manager
                .has_column("api_tokens", &column.get_column_name())
                .await?
            {
                continue;
            }
            let change = Table::alter()
                .table("api_tokens")
                .add_column(column)
                .to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["scopes", "projects"] {
            let change = Table::alter()
                .table("api_tokens")
                .drop_column(column)
                .to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}
