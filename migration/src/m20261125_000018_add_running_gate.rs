//! A second gate, for those that start: it keeps the number of running deployments exact.

use sea_orm_migration::prelude::*;

/// Adds its row.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let row = Query::insert()
            .into_table("queue_gate")
            .columns(["id", "admitted"])
            .values_panic([2_i64.into(), 0_i64.into()])
            .on_conflict(OnConflict::column("id").do_nothing_on(["id"]).to_owned())
            .to_owned();
        manager.execute(row).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let row = Query::delete()
            .from_table("queue_gate")
            .and_where(Expr::col("id").eq(2_i64))
            .to_owned();
        manager.execute(row).await
    }
}
