//! Which request made which deployment, so that a repeated request makes no second one.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = table(manager, "idempotency_keys");
        keys.col(integer("project_id"))
            .col(integer("user_id"))
            .col(short("key", 255))
            .col(short("request_hash", 64))
            .col(integer("deployment_id"))
            .col(moment("created_at"))
            .foreign_key(&mut belongs_to(
                "idempotency_keys",
                "deployment_id",
                "deployments",
            ));
        manager.create_table(keys).await?;
        index(
            manager,
            "idempotency_keys",
            &["project_id", "user_id", "key"],
            true,
        )
        .await?;
        index(manager, "idempotency_keys", &["deployment_id"], false).await?;
        index(manager, "idempotency_keys", &["created_at"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(
                Table::drop()
                    .table("idempotency_keys")
                    .if_exists()
                    .to_owned(),
            )
            .await
    }
}
