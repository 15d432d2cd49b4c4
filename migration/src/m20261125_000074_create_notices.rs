//! Events that somebody is told of, as they are told.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut notices = table(manager, "notices");
        // A deployment that is gone leaves what was told of it; a project takes it along.
        notices
            .col(short("uid", 100))
            .col(short("event", 32))
            .col(optional(integer("project_id")))
            .col(optional(integer("target_id")))
            .col(optional(integer("deployment_id")))
            .col(long(manager, "body"))
            .col(integer("created_us"))
            .foreign_key(&mut belongs_to("notices", "project_id", "projects"));
        manager.create_table(notices).await?;
        index(manager, "notices", &["uid"], true).await?;
        index(manager, "notices", &["deployment_id"], false).await?;
        index(manager, "notices", &["created_us"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("notices").if_exists().to_owned())
            .await
    }
}
