//! Which events of a project are told, and which of them not.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut subscriptions = table(manager, "subscriptions");
        subscriptions
            .col(integer("project_id"))
            .col(integer("events"))
            .col(long(manager, "targets"))
            .col(long(manager, "branches"))
            .col(ColumnDef::new("changes_only").boolean().not_null())
            .col(optional(moment("muted_until")))
            .col(optional(short("muted_reason", 1000)))
            .col(optional(integer("muted_by")))
            .col(optional(integer("created_by")))
            .col(moment("created_at"))
            .col(moment("updated_at"))
            .foreign_key(&mut belongs_to("subscriptions", "project_id", "projects"));
        manager.create_table(subscriptions).await?;
        index(manager, "subscriptions", &["project_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("subscriptions").if_exists().to_owned())
            .await
    }
}
