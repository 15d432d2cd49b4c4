//! Who changed what, one row a change. No row refers to another table: it outlives what it is about.

use sea_orm_migration::prelude::*;

use crate::schema::{bytes, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut entries = table(manager, "audit_entries");
        entries
            .col(moment("at"))
            .col(optional(integer("actor_id")))
            .col(short("actor", 320))
            .col(short("role", 16))
            .col(short("address", 64))
            .col(short("credential", 16))
            .col(optional(integer("credential_id")))
            .col(short("action", 48))
            .col(short("object_kind", 24))
            .col(optional(integer("object_id")))
            .col(short("object", 320))
            .col(optional(integer("project_id")))
            .col(optional(long(manager, "before")))
            .col(optional(long(manager, "after")))
            .col(bytes("nonce", 16))
            .col(bytes("mac", 32))
            .col(optional(integer("seal")));
        manager.create_table(entries).await?;
        index(manager, "audit_entries", &["seal"], false).await?;
        index(manager, "audit_entries", &["actor_id"], false).await?;
        index(manager, "audit_entries", &["project_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("audit_entries").if_exists().to_owned())
            .await
    }
}
