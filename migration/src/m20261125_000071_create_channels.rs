//! Places within a provider that messages go to. A row is also the lease of whoever sends there.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut channels = table(manager, "channels");
        channels
            .col(integer("provider_id"))
            .col(short("name", 100))
            .col(long(manager, "settings"))
            .col(ColumnDef::new("disabled").boolean().not_null())
            .col(integer("failures"))
            .col(optional(integer("failed_us")))
            .col(optional(short("lease_token", 64)))
            .col(integer("lease_until"))
            .col(optional(integer("created_by")))
            .col(moment("created_at"))
            .col(moment("updated_at"))
            .foreign_key(&mut belongs_to("channels", "provider_id", "providers"));
        manager.create_table(channels).await?;
        index(manager, "channels", &["provider_id", "name"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("channels").if_exists().to_owned())
            .await
    }
}
