//! The chain over the audit entries: a row seals some hundred of them and the row before it.

use sea_orm_migration::prelude::*;

use crate::schema::{blob, bytes, integer, moment, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut seals = table(manager, "audit_seals");
        seals
            .col(moment("at"))
            .col(integer("entries"))
            .col(blob(manager, "members"))
            .col(bytes("hash", 32));
        manager.create_table(seals).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("audit_seals").if_exists().to_owned())
            .await
    }
}
