//! One message for one channel: what has become of it.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut deliveries = table(manager, "deliveries");
        deliveries
            .col(integer("notice_id"))
            .col(integer("channel_id"))
            .col(short("state", 16))
            .col(integer("tries"))
            .col(integer("next_us"))
            .col(short("key", 64))
            .col(optional(short("fold", 255)))
            .col(optional(integer("folded_into")))
            .col(integer("folded"))
            .col(optional(short("answer", 2000)))
            .col(integer("created_us"))
            .col(optional(integer("ended_us")))
            .foreign_key(&mut belongs_to("deliveries", "notice_id", "notices"))
            .foreign_key(&mut belongs_to("deliveries", "channel_id", "channels"));
        manager.create_table(deliveries).await?;
        index(manager, "deliveries", &["notice_id", "channel_id"], true).await?;
        index(manager, "deliveries", &["state", "next_us"], false).await?;
        index(manager, "deliveries", &["channel_id", "state"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("deliveries").if_exists().to_owned())
            .await
    }
}
