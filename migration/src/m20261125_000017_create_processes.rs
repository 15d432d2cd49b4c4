//! The API and worker processes that run, each with what it does and has counted.

use sea_orm_migration::prelude::*;

use crate::schema::{index, integer, long, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut processes = table(manager, "processes");
        processes
            .col(short("name", 128))
            .col(short("kind", 16))
            .col(short("host", 100))
            .col(integer("pid"))
            .col(short("version", 32))
            .col(moment("started_at"))
            .col(integer("seen_us"))
            .col(integer("concurrency"))
            .col(ColumnDef::new("draining").boolean().not_null())
            .col(long(manager, "labels"))
            .col(long(manager, "counters"));
        manager.create_table(processes).await?;
        index(manager, "processes", &["name"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("processes").if_exists().to_owned())
            .await
    }
}
