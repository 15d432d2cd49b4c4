//! Plain values for steps. `scope` is the target's id, or 0 for the whole project: a unique index
//! would let two empty target ids pass.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, long, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut variables = table(manager, "variables");
        variables
            .col(integer("project_id"))
            .col(optional(integer("target_id")))
            .col(integer("scope"))
            .col(short("name", 128))
            .col(long(manager, "value"))
            .col(moment("created_at"))
            .col(moment("updated_at"))
            .foreign_key(&mut belongs_to("variables", "project_id", "projects"))
            .foreign_key(&mut belongs_to("variables", "target_id", "targets"));
        manager.create_table(variables).await?;
        index(manager, "variables", &["project_id", "scope", "name"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("variables").if_exists().to_owned())
            .await
    }
}
