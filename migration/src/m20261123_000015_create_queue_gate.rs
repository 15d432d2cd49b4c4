//! The one row that admissions lock, so that the backlog limit is exact.

use sea_orm_migration::prelude::*;

use crate::schema::{integer, table};

/// Creates the table and its row.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut gate = table(manager, "queue_gate");
        gate.col(integer("admitted"));
        manager.create_table(gate).await?;
        let row = Query::insert()
            .into_table("queue_gate")
            .columns(["id", "admitted"])
            .values_panic([1_i64.into(), 0_i64.into()])
            .on_conflict(OnConflict::column("id").do_nothing_on(["id"]).to_owned())
            .to_owned();
        manager.execute(row).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("queue_gate").if_exists().to_owned())
            .await
    }
}
