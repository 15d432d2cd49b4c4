//! Locks: what they cover starts nothing until they are lifted or have expired.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut locks = table(manager, "locks");
        // `covers` names the one thing that is locked, so that it has one lock at most; MySQL lets
        // a unique index hold any number of empty columns.
        locks
            .col(short("covers", 32))
            .col(optional(integer("project_id")))
            .col(optional(integer("target_id")))
            .col(short("reason", 1000))
            .col(optional(integer("locked_by")))
            .col(moment("created_at"))
            .col(optional(integer("expires_us")))
            .foreign_key(&mut belongs_to("locks", "project_id", "projects"))
            .foreign_key(&mut belongs_to("locks", "target_id", "targets"));
        manager.create_table(locks).await?;
        index(manager, "locks", &["covers"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("locks").if_exists().to_owned())
            .await
    }
}
