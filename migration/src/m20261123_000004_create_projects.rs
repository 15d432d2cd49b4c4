//! Projects.

use sea_orm_migration::prelude::*;

use crate::schema::{index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut projects = table(manager, "projects");
        projects
            .col(short("slug", 63))
            .col(short("name", 100))
            .col(optional(short("repository", 1000)))
            .col(short("default_branch", 255))
            .col(short("queue_policy", 16))
            .col(optional(integer("retry_attempts")))
            .col(optional(short("retry_delays", 200)))
            .col(optional(long(manager, "pipeline_source")))
            .col(moment("created_at"))
            .col(moment("updated_at"));
        manager.create_table(projects).await?;
        index(manager, "projects", &["slug"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("projects").if_exists().to_owned())
            .await
    }
}
