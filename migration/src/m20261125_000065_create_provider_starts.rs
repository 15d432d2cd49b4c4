//! Sign-ins that have gone to the identity provider; only a hash of what binds them to a browser is
//! kept.

use sea_orm_migration::prelude::*;

use crate::schema::{index, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut starts = table(manager, "provider_starts");
        starts
            .col(short("token_hash", 64))
            .col(short("next", 2_000))
            .col(moment("expires_at"));
        manager.create_table(starts).await?;
        index(manager, "provider_starts", &["token_hash"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop()
            .table("provider_starts")
            .if_exists()
            .to_owned();
        manager.drop_table(drop).await
    }
}
