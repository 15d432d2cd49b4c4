//! What people do with the audit trail: they read it. Nobody writes it by hand.

pub use super::store::Filter;
use super::{entity::Model, store};
use crate::{
    access::{Actor, Permission},
    ctx::Ctx,
    error::Result,
    id::AuditId,
};

/// Entries, newest first, below `before`.
///
/// # Errors
/// [`crate::error::Error::Forbidden`].
pub async fn list(
    ctx: &Ctx,
    actor: &Actor,
    filter: &Filter,
    before: Option<AuditId>,
    limit: u64,
) -> Result<Vec<Model>> {
    actor.require(Permission::Observe, None)?;
    store::list(ctx.db.reader(), filter, before, limit).await
}

/// Entries, oldest first, above `after`: the next part of an export.
///
/// # Errors
/// [`crate::error::Error::Forbidden`].
pub async fn export(
    ctx: &Ctx,
    actor: &Actor,
    filter: &Filter,
    after: AuditId,
    limit: u64,
) -> Result<Vec<Model>> {
    actor.require(Permission::Observe, None)?;
    store::list_on(ctx.db.reader(), filter, after, limit).await
}

/// The same for whoever holds the machine; system-only.
///
/// # Errors
/// When the database fails.
pub async fn export_all(ctx: &Ctx, after: AuditId, limit: u64) -> Result<Vec<Model>> {
    store::list_on(ctx.db.reader(), &Filter::default(), after, limit).await
}
