//! Every encrypted value of the installation, whatever it is for, so that a key can be taken out of
//! use without anybody remembering where it was used.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, blob, bytes, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut values = table(manager, "sealed_values");
        values
            .col(short("purpose", 64))
            .col(optional(integer("project_id")))
            .col(integer("scope"))
            .col(integer("owner_id"))
            .col(short("name", 128))
            .col(integer("version"))
            .col(short("algorithm", 32))
            .col(optional(integer("key_version")))
            .col(optional(bytes("nonce", 12)))
            .col(blob(manager, "ciphertext"))
            .col(integer("row_version"))
            .col(optional(integer("created_by")))
            .col(moment("created_at"))
            .col(optional(moment("destroyed_at")))
            .foreign_key(&mut belongs_to("sealed_values", "project_id", "projects"));
        manager.create_table(values).await?;
        let place = &["purpose", "owner_id", "name", "version"];
        index(manager, "sealed_values", place, true).await?;
        index(manager, "sealed_values", &["key_version", "nonce"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("sealed_values").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
