//! Column kinds that mean the same on every supported database.
//!
//! Text compares byte for byte (`utf8mb4_bin` is set on each table), times keep microseconds, and
//! an index is created once however often an interrupted migration is repeated.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

/// A new table in the one form that all of ours have.
pub(crate) fn table(manager: &SchemaManager<'_>, name: &'static str) -> TableCreateStatement {
    let mut table = Table::create().table(name).if_not_exists().to_owned();
    if manager.get_database_backend() == DatabaseBackend::MySql {
        table
            .engine("InnoDB")
            .character_set("utf8mb4")
            .collate("utf8mb4_bin");
    }
    table.col(
        ColumnDef::new("id")
            .big_integer()
            .not_null()
            .auto_increment()
            .primary_key(),
    );
    table
}

/// A 64-bit integer.
pub(crate) fn integer(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().to_owned()
}

/// A short text of at most `length` characters.
pub(crate) fn short(name: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(name)
        .string_len(length)
        .not_null()
        .to_owned()
}

/// A text of up to 4 GiB; plain `TEXT` ends at 64 KiB on MySQL.
pub(crate) fn long(manager: &SchemaManager<'_>, name: &'static str) -> ColumnDef {
    let is_mysql = manager.get_database_backend() == DatabaseBackend::MySql;
    let kind = if is_mysql { "longtext" } else { "text" };
    ColumnDef::new(name).custom(kind).not_null().to_owned()
}

/// A moment with microseconds, in UTC.
pub(crate) fn moment(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
        .custom("datetime(6)")
        .not_null()
        .to_owned()
}

/// Bytes of any length; `VARBINARY` shares MySQL's 64 KiB row limit.
pub(crate) fn blob(manager: &SchemaManager<'_>, name: &'static str) -> ColumnDef {
    let is_mysql = manager.get_database_backend() == DatabaseBackend::MySql;
    let kind = if is_mysql { "longblob" } else { "blob" };
    ColumnDef::new(name).custom(kind).not_null().to_owned()
}

/// Bytes of at most `length`.
pub(crate) fn bytes(name: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(name)
        .var_binary(length)
        .not_null()
        .to_owned()
}

/// The same column, but it may be empty.
pub(crate) fn optional(mut column: ColumnDef) -> ColumnDef {
    column.null().to_owned()
}

/// A reference whose row goes when its parent goes.
pub(crate) fn belongs_to(
    table: &'static str,
    column: &'static str,
    parent: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_{column}"))
        .from(table, column)
        .to(parent, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

/// An index, unless it is there already. MySQL has no `IF NOT EXISTS` for one.
pub(crate) async fn index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    columns: &[&'static str],
    unique: bool,
) -> Result<(), DbErr> {
    let name = format!("ix_{table}_{}", columns.join("_"));
    if manager.has_index(table, &name).await? {
        return Ok(());
    }
    let mut statement = Index::create().name(name).table(table).to_owned();
    for column in columns {
        statement.col(*column);
    }
    if unique {
        statement.unique();
    }
    manager.create_index(statement).await
}
