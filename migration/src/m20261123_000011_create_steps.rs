//! What each run of a deployment did, step by step.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut steps = table(manager, "steps");
        steps
            .col(integer("deployment_id"))
            .col(integer("fence"))
            .col(integer("attempt"))
            .col(integer("position"))
            .col(short("phase", 16))
            .col(short("name", 64))
            .col(short("host", 255))
            .col(short("status", 16))
            .col(optional(integer("exit_code")))
            .col(optional(integer("signal")))
            .col(optional(moment("started_at")))
            .col(optional(moment("finished_at")))
            .foreign_key(&mut belongs_to("steps", "deployment_id", "deployments"));
        manager.create_table(steps).await?;
        index(
            manager,
            "steps",
            &["deployment_id", "fence", "position"],
            true,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("steps").if_exists().to_owned())
            .await
    }
}
