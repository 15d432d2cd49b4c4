//! A secret names its current version; what is encrypted stands with the other sealed values.

use sea_orm_migration::{prelude::*, sea_orm::Statement};

use crate::schema::{blob, bytes, index, integer, optional, short};

const MOVED: [&str; 4] = ["algorithm", "key_version", "nonce", "ciphertext"];

/// Moves the encrypted part of each secret.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column("secrets", "value_id").await? {
            let mut secrets = Table::alter().table("secrets").to_owned();
            secrets.add_column(integer("value_id").default(0_i64).to_owned());
            manager.alter_table(secrets).await?;
        }
        // Dropped one by one, the cipher text last: while it is there the copy can be repeated.
        if manager.has_column("secrets", "algorithm").await? {
            run(
                manager,
                "INSERT INTO sealed_values (purpose, project_id, scope, owner_id, name, version, \
                 algorithm, key_version, nonce, ciphertext, row_version, created_at) \
                 SELECT 'slipway/secret/v1', project_id, scope, id, name, version, algorithm, \
                 key_version, nonce, ciphertext, 1, updated_at FROM secrets \
                 WHERE version > 0 AND NOT EXISTS (SELECT 1 FROM sealed_values \
                 WHERE sealed_values.purpose = 'slipway/secret/v1' \
                 AND sealed_values.owner_id = secrets.id)",
            )
            .await?;
        }
        run(
            manager,
            "UPDATE secrets SET value_id = (SELECT sealed_values.id FROM sealed_values \
             WHERE sealed_values.purpose = 'slipway/secret/v1' \
             AND sealed_values.owner_id = secrets.id \
             AND sealed_values.name = secrets.name AND sealed_values.version = secrets.version) \
             WHERE value_id = 0 AND EXISTS (SELECT 1 FROM sealed_values \
             WHERE sealed_values.purpose = 'slipway/secret/v1' \
             AND sealed_values.owner_id = secrets.id \
             AND sealed_values.name = secrets.name AND sealed_values.version = secrets.version)",
        )
        .await?;
        if manager
            .has_index("secrets", "ix_secrets_key_version_nonce")
            .await?
        {
            let drop = Index::drop()
                .name("ix_secrets_key_version_nonce")
                .table("secrets")
                .to_owned();
            manager.drop_index(drop).await?;
        }
        for column in MOVED {
            if manager.has_column("secrets", column).await? {
                let mut secrets = Table::alter().table("secrets").to_owned();
                secrets.drop_column(column);
                manager.alter_table(secrets).await?;
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
            let mut secrets = Table::alter().table("secrets").to_owned();
            secrets.add_column(column);
            manager.alter_table(secrets).await?;
        }
        for column in MOVED {
            let copy = format!(
                "UPDATE secrets SET {column} = (SELECT sealed_values.{column} FROM sealed_values \
                 WHERE sealed_values.id = secrets.value_id)"
            );
            run(manager, &copy).await?;
        }
        run(
            manager,
            "DELETE FROM sealed_values WHERE purpose = 'slipway/secret/v1'",
        )
        .await?;
        index(manager, "secrets", &["key_version", "nonce"], true).await?;
        let mut secrets = Table::alter().table("secrets").to_owned();
        secrets.drop_column("value_id");
        manager.alter_table(secrets).await
    }
}

async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    connection.execute_raw(statement).await.map(|_| ())
}
