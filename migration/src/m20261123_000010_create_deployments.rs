//! Deployments: the truth about the queue. `not_before` and `lease_until` are microseconds since
//! 1970 on the database's own clock, because only that clock may judge a lease.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut deployments = table(manager, "deployments");
        deployments
            .col(integer("project_id"))
            .col(integer("target_id"))
            .col(short("status", 24))
            .col(optional(short("reason", 48)))
            .col(optional(short("reason_text", 1000)))
            .col(optional(short("ref_name", 255)))
            .col(optional(short("commit_id", 64)))
            .col(optional(short("commit_subject", 255)))
            .col(optional(short("commit_author", 255)))
            .col(short("trigger_kind", 16))
            .col(optional(short("note", 1000)))
            .col(optional(long(manager, "pipeline")))
            .col(integer("attempt"))
            .col(integer("interruptions"))
            .col(integer("fence"))
            .col(optional(short("lease_token", 32)))
            .col(optional(short("lease_owner", 128)))
            .col(optional(integer("lease_until")))
            .col(integer("not_before"))
            .col(optional(moment("cancel_requested_at")))
            .col(optional(integer("cancel_requested_by")))
            .col(optional(integer("requested_by")))
            .col(optional(integer("retry_of")))
            .col(optional(integer("superseded_by")))
            .col(moment("created_at"))
            .col(optional(moment("started_at")))
            .col(optional(moment("finished_at")))
            .foreign_key(&mut belongs_to("deployments", "project_id", "projects"))
            .foreign_key(&mut belongs_to("deployments", "target_id", "targets"));
        manager.create_table(deployments).await?;
        index(manager, "deployments", &["status", "id"], false).await?;
        index(manager, "deployments", &["status", "lease_until"], false).await?;
        index(
            manager,
            "deployments",
            &["target_id", "status", "id"],
            false,
        )
        .await?;
        index(manager, "deployments", &["target_id", "id"], false).await?;
        index(manager, "deployments", &["project_id", "id"], false).await?;
        index(manager, "deployments", &["lease_token"], false).await?;
        index(manager, "deployments", &["retry_of"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("deployments").if_exists().to_owned())
            .await
    }
}
