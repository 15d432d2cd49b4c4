//! Where a subscription is told.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut pairs = table(manager, "subscription_channels");
        pairs
            .col(integer("subscription_id"))
            .col(integer("channel_id"))
            .foreign_key(&mut belongs_to(
                "subscription_channels",
                "subscription_id",
                "subscriptions",
            ))
            .foreign_key(&mut belongs_to(
                "subscription_channels",
                "channel_id",
                "channels",
            ));
        manager.create_table(pairs).await?;
        let pair = ["subscription_id", "channel_id"];
        index(manager, "subscription_channels", &pair, true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(
                Table::drop()
                    .table("subscription_channels")
                    .if_exists()
                    .to_owned(),
            )
            .await
    }
}
