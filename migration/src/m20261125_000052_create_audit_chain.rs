//! One row: the chain's encrypted key, and how far it goes.

use sea_orm_migration::prelude::*;

use crate::schema::{blob, bytes, integer, long, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut chain = table(manager, "audit_chain");
        chain
            .col(long(manager, "head"))
            .col(bytes("head_mac", 32))
            .col(short("algorithm", 32))
            .col(integer("key_version"))
            .col(bytes("nonce", 12))
            .col(blob(manager, "ciphertext"));
        manager.create_table(chain).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("audit_chain").if_exists().to_owned())
            .await
    }
}
