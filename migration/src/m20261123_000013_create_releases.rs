//! Release folders on targets, and which one is live.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut releases = table(manager, "releases");
        releases
            .col(integer("target_id"))
            .col(integer("deployment_id"))
            .col(optional(short("commit_id", 64)))
            .col(short("state", 16))
            .col(moment("created_at"))
            .foreign_key(&mut belongs_to("releases", "target_id", "targets"))
            .foreign_key(&mut belongs_to("releases", "deployment_id", "deployments"));
        manager.create_table(releases).await?;
        index(manager, "releases", &["target_id", "deployment_id"], true).await?;
        index(manager, "releases", &["deployment_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("releases").if_exists().to_owned())
            .await
    }
}
