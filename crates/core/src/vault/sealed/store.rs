//! Sealed values in the database; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::{
    Input, Place,
    entity::{ActiveModel, Column, Entity, Model},
};
use crate::{
    error::Result,
    id::{ProjectId, SealedId, TargetId},
    vault::cipher::Sealed,
};

/// Keeps an encrypted value.
///
/// # Errors
/// When this version of the place is taken, or the database fails.
pub async fn insert(
    tx: &impl ConnectionTrait,
    input: &Input<'_>,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<SealedId> {
    let place = &input.place;
    let row = ActiveModel {
        purpose: Set(place.purpose.to_owned()),
        project_id: Set(place.project),
        scope: Set(place.scope),
        owner_id: Set(place.owner),
        name: Set(place.name.to_owned()),
        version: Set(input.version),
        algorithm: Set(sealed.alg.as_str().to_owned()),
        key_version: Set(Some(i64::from(sealed.key_version))),
        nonce: Set(Some(sealed.nonce.to_vec())),
        ciphertext: Set(sealed.ciphertext.clone()),
        row_version: Set(1),
        created_by: Set(input.by),
        created_at: Set(now),
        ..ActiveModel::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// The newest value of a place.
///
/// # Errors
/// When the database fails.
pub async fn newest(conn: &impl ConnectionTrait, place: &Place<'_>) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::Purpose.eq(place.purpose))
        .filter(Column::OwnerId.eq(place.owner))
        .filter(Column::Name.eq(place.name))
        .order_by_desc(Column::Version)
        .one(conn)
        .await?)
}

/// Every value of an owner, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_owner(
    conn: &impl ConnectionTrait,
    purpose: &str,
    owner: i64,
) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Purpose.eq(purpose))
        .filter(Column::OwnerId.eq(owner))
        .order_by_desc(Column::Version)
        .all(conn)
        .await?)
}

/// The names of the values that these owners have, by owner and name.
///
/// # Errors
/// When the database fails.
pub async fn names(
    conn: &impl ConnectionTrait,
    purpose: &str,
    owners: impl Iterator<Item = i64>,
) -> Result<Vec<(i64, String)>> {
    Ok(Entity::find()
        .select_only()
        .columns([Column::OwnerId, Column::Name])
        .filter(Column::Purpose.eq(purpose))
        .filter(Column::OwnerId.is_in(owners))
        .order_by_asc(Column::OwnerId)
        .order_by_asc(Column::Name)
        .into_tuple()
        .all(conn)
        .await?)
}

/// Removes the values of a place that are older than this version.
///
/// # Errors
/// When the database fails.
pub async fn remove_before(
    tx: &impl ConnectionTrait,
    place: &Place<'_>,
    version: i64,
) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Purpose.eq(place.purpose))
        .filter(Column::OwnerId.eq(place.owner))
        .filter(Column::Name.eq(place.name))
        .filter(Column::Version.lt(version))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes all values of an owner.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &impl ConnectionTrait, purpose: &str, owner: i64) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Purpose.eq(purpose))
        .filter(Column::OwnerId.eq(owner))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes all values of a target.
///
/// # Errors
/// When the database fails.
pub async fn remove_scope(
    tx: &impl ConnectionTrait,
    project: ProjectId,
    target: TargetId,
) -> Result<()> {
    Entity::delete_many()
        .filter(Column::ProjectId.eq(project))
        .filter(Column::Scope.eq(target.0))
        .exec(tx)
        .await?;
    Ok(())
}

/// Forgets a value for ever, but not that there was one. False when there is nothing to forget.
///
/// # Errors
/// When the database fails.
pub async fn destroy(tx: &impl ConnectionTrait, id: SealedId, now: DateTime<Utc>) -> Result<bool> {
    let destroyed = Entity::update_many()
        .set(ActiveModel {
            key_version: Set(None),
            nonce: Set(None),
            ciphertext: Set(Vec::new()),
            destroyed_at: Set(Some(now)),
            ..ActiveModel::default()
        })
        .col_expr(Column::RowVersion, Expr::col(Column::RowVersion).add(1))
        .filter(Column::Id.eq(id))
        .filter(Column::DestroyedAt.is_null())
        .exec(tx)
        .await?;
    Ok(destroyed.rows_affected > 0)
}

/// Values that are not encrypted under this key version, in the order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn not_under(
    conn: &impl ConnectionTrait,
    key_version: i32,
    after: SealedId,
    limit: u64,
) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::KeyVersion.ne(i64::from(key_version)))
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// These rows.
///
/// # Errors
/// When the database fails.
pub async fn these(conn: &impl ConnectionTrait, ids: Vec<SealedId>) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids))
        .all(conn)
        .await?)
}

/// Writes another encryption of the same value, unless the row was written since it was read.
///
/// # Errors
/// When the database fails.
pub async fn reseal(tx: &impl ConnectionTrait, row: &Model, sealed: &Sealed) -> Result<bool> {
    let written = Entity::update_many()
        .set(ActiveModel {
            algorithm: Set(sealed.alg.as_str().to_owned()),
            key_version: Set(Some(i64::from(sealed.key_version))),
            nonce: Set(Some(sealed.nonce.to_vec())),
            ciphertext: Set(sealed.ciphertext.clone()),
            row_version: Set(row.row_version + 1),
            ..ActiveModel::default()
        })
        .filter(Column::Id.eq(row.id))
        .filter(Column::RowVersion.eq(row.row_version))
        .exec(tx)
        .await?;
    Ok(written.rows_affected > 0)
}

/// How many values each key version encrypts.
///
/// # Errors
/// When the database fails.
pub async fn counts(conn: &impl ConnectionTrait) -> Result<Vec<(i64, i64)>> {
    Ok(Entity::find()
        .select_only()
        .column(Column::KeyVersion)
        .column_as(Column::Id.count(), "count")
        .filter(Column::KeyVersion.is_not_null())
        .group_by(Column::KeyVersion)
        .order_by_asc(Column::KeyVersion)
        .into_tuple()
        .all(conn)
        .await?)
}

/// How many values this key version encrypts.
///
/// # Errors
/// When the database fails.
pub async fn count_under(conn: &impl ConnectionTrait, key_version: i32) -> Result<u64> {
    Ok(Entity::find()
        .filter(Column::KeyVersion.eq(i64::from(key_version)))
        .count(conn)
        .await?)
}

/// How many values any other key version encrypts.
///
/// # Errors
/// When the database fails.
pub async fn count_not_under(conn: &impl ConnectionTrait, key_version: i32) -> Result<u64> {
    Ok(Entity::find()
        .filter(Column::KeyVersion.ne(i64::from(key_version)))
        .count(conn)
        .await?)
}
