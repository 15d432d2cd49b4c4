//! Places that deployments go to. A row is also its target's slot: `holder_id` runs now, and
//! `epoch` is the fence of the newest run.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut targets = table(manager, "targets");
        targets
            .col(integer("project_id"))
            .col(short("slug", 63))
            .col(short("kind", 16))
            .col(short("path", 1000))
            .col(long(manager, "strategy"))
            .col(optional(short("auto_deploy", 255)))
            .col(integer("epoch"))
            .col(optional(integer("holder_id")))
            .col(moment("created_at"))
            .col(moment("updated_at"))
            .foreign_key(&mut belongs_to("targets", "project_id", "projects"));
        manager.create_table(targets).await?;
        index(manager, "targets", &["project_id", "slug"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("targets").if_exists().to_owned())
            .await
    }
}
