//! Who belongs to which project, and as what.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut memberships = table(manager, "memberships");
        memberships
            .col(integer("project_id"))
            .col(integer("user_id"))
            .col(short("role", 16))
            .col(moment("created_at"))
            .foreign_key(&mut belongs_to("memberships", "project_id", "projects"))
            .foreign_key(&mut belongs_to("memberships", "user_id", "users"));
        manager.create_table(memberships).await?;
        index(manager, "memberships", &["project_id", "user_id"], true).await?;
        index(manager, "memberships", &["user_id", "project_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("memberships").if_exists().to_owned())
            .await
    }
}
