//! Signed-in browsers; only a hash of the cookie is kept.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut sessions = table(manager, "sessions");
        sessions
            .col(integer("user_id"))
            .col(short("token_hash", 64))
            .col(short("address", 64))
            .col(short("user_agent", 200))
            .col(moment("created_at"))
            .col(moment("seen_at"))
            .col(moment("expires_at"))
            .foreign_key(&mut belongs_to("sessions", "user_id", "users"));
        manager.create_table(sessions).await?;
        index(manager, "sessions", &["token_hash"], true).await?;
        index(manager, "sessions", &["user_id"], false).await?;
        index(manager, "sessions", &["expires_at"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("sessions").if_exists().to_owned())
            .await
    }
}
