//! Each claim, renewal and end had to write these two indexes. Running deployments are few, and are
//! found by their state or by their id; a lease's proof is then compared in the row itself.

use sea_orm_migration::prelude::*;

use crate::schema::index;

const INDEXES: [&[&str]; 2] = [&["status", "lease_until"], &["lease_token"]];

/// Drops the indexes.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for columns in INDEXES {
            let name = format!("ix_deployments_{}", columns.join("_"));
            if manager.has_index("deployments", &name).await? {
                let drop = Index::drop().name(name).table("deployments").to_owned();
                manager.drop_index(drop).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for columns in INDEXES {
            index(manager, "deployments", columns, false).await?;
        }
        Ok(())
    }
}
