//! Services that carry messages, with what this installation needs to use them. Secret values are in
//! `sealed_values`.

use sea_orm_migration::prelude::*;

use crate::schema::{index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut providers = table(manager, "providers");
        providers
            .col(short("name", 100))
            .col(short("kind", 32))
            .col(long(manager, "settings"))
            .col(ColumnDef::new("disabled").boolean().not_null())
            .col(integer("failures"))
            .col(optional(integer("succeeded_us")))
            .col(integer("openings"))
            .col(optional(integer("open_until_us")))
            .col(optional(integer("created_by")))
            .col(moment("created_at"))
            .col(moment("updated_at"));
        manager.create_table(providers).await?;
        index(manager, "providers", &["name"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("providers").if_exists().to_owned())
            .await
    }
}
