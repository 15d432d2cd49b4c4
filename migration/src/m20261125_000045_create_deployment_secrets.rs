//! Which version of which secret each run of a deployment was given.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let name = "deployment_secrets";
        let mut uses = table(manager, name);
        uses.col(integer("deployment_id"))
            .col(integer("fence"))
            .col(integer("attempt"))
            .col(integer("scope"))
            .col(short("name", 128))
            .col(integer("version"))
            .col(moment("used_at"))
            .foreign_key(&mut belongs_to(name, "deployment_id", "deployments"));
        manager.create_table(uses).await?;
        index(manager, name, &["deployment_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop()
            .table("deployment_secrets")
            .if_exists()
            .to_owned();
        manager.drop_table(drop).await
    }
}
