//! The host keys of SSH servers that a project trusts.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = table(manager, "host_keys");
        keys.col(integer("project_id"))
            .col(short("host", 255))
            .col(short("algorithm", 64))
            .col(long(manager, "public_key"))
            .col(short("fingerprint", 64))
            .col(optional(integer("created_by")))
            .col(moment("created_at"))
            .foreign_key(&mut belongs_to("host_keys", "project_id", "projects"));
        manager.create_table(keys).await?;
        let unique = &["project_id", "host", "fingerprint"];
        index(manager, "host_keys", unique, true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("host_keys").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
