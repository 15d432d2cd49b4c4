//! One check value for each master key version: a wrong key is noticed at start, not at the first
//! deployment.

use sea_orm_migration::prelude::*;

use crate::schema::{bytes, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = table(manager, "vault_keys");
        keys.col(integer("key_version"))
            .col(short("algorithm", 32))
            .col(bytes("nonce", 12))
            .col(bytes("ciphertext", 200))
            .col(moment("created_at"));
        manager.create_table(keys).await?;
        index(manager, "vault_keys", &["key_version"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("vault_keys").if_exists().to_owned())
            .await
    }
}
