//! The audit trail's key stands with the other sealed values, where a new master key finds it.

use sea_orm_migration::{prelude::*, sea_orm::Statement};

use crate::schema::{blob, bytes, integer, optional, short};

const MOVED: [&str; 4] = ["algorithm", "key_version", "nonce", "ciphertext"];

/// Moves the key.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Dropped one by one, the cipher text last: while the first is there the copy can be repeated.
        if manager.has_column("audit_chain", "algorithm").await? {
            run(
                manager,
                "INSERT INTO sealed_values (purpose, scope, owner_id, name, version, algorithm, \
                 key_version, nonce, ciphertext, row_version, created_at) \
                 SELECT 'slipway/audit/key/v1', 0, id, 'audit', 1, algorithm, key_version, nonce, \
                 ciphertext, 1, CURRENT_TIMESTAMP FROM audit_chain \
                 WHERE NOT EXISTS (SELECT 1 FROM sealed_values \
                 WHERE sealed_values.purpose = 'slipway/audit/key/v1')",
            )
            .await?;
        }
        for column in MOVED {
            if manager.has_column("audit_chain", column).await? {
                let mut chain = Table::alter().table("audit_chain").to_owned();
                chain.drop_column(column);
                manager.alter_table(chain).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            optional(short("algorithm", 32)),
            optional(integer("key_version")),
            optional(bytes("nonce", 12)),
            optional(blob(manager, "ciphertext")),
        ];
        for column in columns {
            let mut chain = Table::alter().table("audit_chain").to_owned();
            chain.add_column(column);
            manager.alter_table(chain).await?;
        }
        for column in MOVED {
            let copy = format!(
                "UPDATE audit_chain SET {column} = (SELECT sealed_values.{column} \
                 FROM sealed_values WHERE sealed_values.purpose = 'slipway/audit/key/v1')"
            );
            run(manager, &copy).await?;
        }
        run(
            manager,
            "DELETE FROM sealed_values WHERE purpose = 'slipway/audit/key/v1'",
        )
        .await
    }
}

async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    connection.execute_raw(statement).await.map(|_| ())
}
