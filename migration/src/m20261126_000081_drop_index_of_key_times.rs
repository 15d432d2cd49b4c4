//! Keys get their ids in the order in which they are written, so the oldest are found without an
//! index of their own, which every accepted request had to write.

use sea_orm_migration::prelude::*;

use crate::schema::index;

const NAME: &str = "ix_idempotency_keys_created_at";

/// Drops the index.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index("idempotency_keys", NAME).await? {
            let mut drop = Index::drop();
            drop.name(NAME).table("idempotency_keys");
            manager.drop_index(drop).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        index(manager, "idempotency_keys", &["created_at"], false).await
    }
}
