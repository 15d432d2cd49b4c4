//! People and services that sign in.

use sea_orm_migration::prelude::*;

use crate::schema::{index, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut users = table(manager, "users");
        users
            .col(short("email", 254))
            .col(short("email_key", 254))
            .col(short("name", 100))
            .col(short("role", 16))
            .col(short("password_hash", 200))
            .col(optional(moment("disabled_at")))
            .col(moment("created_at"))
            .col(moment("updated_at"));
        manager.create_table(users).await?;
        index(manager, "users", &["email_key"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("users").if_exists().to_owned())
            .await
    }
}
