//! The gate hands out the ids of deployments: whoever holds it knows them before it inserts.

use sea_orm_migration::{prelude::*, sea_orm::Statement};

use crate::schema::integer;

/// Adds the last id that was handed out.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column("queue_gate", "last_id").await? {
            let mut gate = Table::alter().table("queue_gate").to_owned();
            gate.add_column(integer("last_id").default(0_i64).to_owned());
            manager.alter_table(gate).await?;
        }
        let connection = manager.get_connection();
        let sql = "UPDATE queue_gate SET last_id = (SELECT COALESCE(MAX(id), 0) FROM deployments)";
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        connection.execute_raw(statement).await.map(|_| ())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut gate = Table::alter().table("queue_gate").to_owned();
        gate.drop_column("last_id");
        manager.alter_table(gate).await
    }
}
