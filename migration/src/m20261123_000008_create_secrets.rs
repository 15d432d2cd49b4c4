//! Encrypted values for steps, each with its own nonce and key version.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, blob, bytes, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut secrets = table(manager, "secrets");
        secrets
            .col(integer("project_id"))
            .col(optional(integer("target_id")))
            .col(integer("scope"))
            .col(short("name", 128))
            .col(integer("version"))
            .col(short("algorithm", 32))
            .col(integer("key_version"))
            .col(bytes("nonce", 12))
            .col(blob(manager, "ciphertext"))
            .col(moment("created_at"))
            .col(moment("updated_at"))
            .foreign_key(&mut belongs_to("secrets", "project_id", "projects"))
            .foreign_key(&mut belongs_to("secrets", "target_id", "targets"));
        manager.create_table(secrets).await?;
        index(manager, "secrets", &["project_id", "scope", "name"], true).await?;
        index(manager, "secrets", &["key_version", "nonce"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("secrets").if_exists().to_owned())
            .await
    }
}
