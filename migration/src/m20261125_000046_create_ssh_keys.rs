//! The public halves of SSH key pairs; the private ones are sealed values.

use sea_orm_migration::prelude::*;

use crate::schema::{belongs_to, index, integer, moment, optional, short, table};

/// Creates the table.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut keys = table(manager, "ssh_keys");
        keys.col(integer("project_id"))
            .col(optional(integer("target_id")))
            .col(integer("scope"))
            .col(integer("version"))
            .col(short("public_key", 255))
            .col(short("fingerprint", 64))
            .col(optional(integer("created_by")))
            .col(moment("created_at"))
            .foreign_key(&mut belongs_to("ssh_keys", "project_id", "projects"))
            .foreign_key(&mut belongs_to("ssh_keys", "target_id", "targets"));
        manager.create_table(keys).await?;
        index(manager, "ssh_keys", &["project_id", "scope"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table("ssh_keys").if_exists().to_owned();
        manager.drop_table(drop).await
    }
}
