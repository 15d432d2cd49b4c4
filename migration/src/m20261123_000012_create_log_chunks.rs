//! Output of steps, many lines to a row: a row for each line would cap a step at some ten
//! thousand lines a second.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, optional, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut chunks = table(manager, "log_chunks");
        chunks
            .col(integer("deployment_id"))
            .col(integer("last_line"))
            .col(integer("first_line"))
            .col(integer("fence"))
            .col(optional(integer("step_id")))
            .col(integer("written_at"))
            .col(long(manager, "body"))
            .foreign_key(&mut belongs_to(
                "log_chunks",
                "deployment_id",
                "deployments",
            ));
        manager.create_table(chunks).await?;
        index(manager, "log_chunks", &["deployment_id", "last_line"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("log_chunks").if_exists().to_owned())
            .await
    }
}
