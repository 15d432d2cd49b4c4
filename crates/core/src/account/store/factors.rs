//! Second factors, recovery codes and unfinished sign-ins; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _,
    PaginatorTrait as _, QueryFilter as _, sea_query::Expr,
};

use crate::{
    account::entity::{challenge, recovery_code, user},
    error::Result,
    id::UserId,
};

/// Holds an account's row until the transaction ends, so that changes of its factor queue up.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &impl ConnectionTrait, id: UserId) -> Result<()> {
    user::Entity::update_many()
        .col_expr(
            user::Column::FactorStep,
            Expr::col(user::Column::FactorStep),
        )
        .filter(user::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Switches the factor on; false when it is on already.
///
/// # Errors
/// When the database fails.
pub async fn enable(
    tx: &impl ConnectionTrait,
    id: UserId,
    step: i64,
    now: DateTime<Utc>,
) -> Result<bool> {
    let values = user::ActiveModel {
        factor_at: Set(Some(now)),
        factor_step: Set(step),
        ..user::ActiveModel::default()
    };
    let written = user::Entity::update_many()
        .set(values)
        .filter(user::Column::Id.eq(id))
        .filter(user::Column::FactorAt.is_null())
        .exec(tx)
        .await?;
    Ok(written.rows_affected == 1)
}

/// Switches the factor off, and forgets the recovery codes; false when it is off already.
///
/// # Errors
/// When the database fails.
pub async fn disable(tx: &impl ConnectionTrait, id: UserId) -> Result<bool> {
    let values = user::ActiveModel {
        factor_at: Set(None),
        ..user::ActiveModel::default()
    };
    let written = user::Entity::update_many()
        .set(values)
        .filter(user::Column::Id.eq(id))
        .filter(user::Column::FactorAt.is_not_null())
        .exec(tx)
        .await?;
    delete_codes(tx, id).await?;
    Ok(written.rows_affected == 1)
}

/// Uses the code of a time step up; false when it, or a later one, was used.
///
/// # Errors
/// When the database fails.
pub async fn use_step(tx: &impl ConnectionTrait, id: UserId, step: i64) -> Result<bool> {
    let values = user::ActiveModel {
        factor_step: Set(step),
        ..user::ActiveModel::default()
    };
    let used = user::Entity::update_many()
        .set(values)
        .filter(user::Column::Id.eq(id))
        .filter(user::Column::FactorAt.is_not_null())
        .filter(user::Column::FactorStep.lt(step))
        .exec(tx)
        .await?;
    Ok(used.rows_affected == 1)
}

/// Keeps recovery codes in the place of former ones.
///
/// # Errors
/// When the database fails.
pub async fn replace_codes(
    tx: &impl ConnectionTrait,
    id: UserId,
    hashes: Vec<String>,
) -> Result<()> {
    delete_codes(tx, id).await?;
    let row = |code_hash| recovery_code::ActiveModel {
        user_id: Set(id),
        code_hash: Set(code_hash),
        ..recovery_code::ActiveModel::default()
    };
    recovery_code::Entity::insert_many(hashes.into_iter().map(row))
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

async fn delete_codes(tx: &impl ConnectionTrait, id: UserId) -> Result<()> {
    recovery_code::Entity::delete_many()
        .filter(recovery_code::Column::UserId.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

fn code(id: UserId, hash: &str) -> sea_orm::Condition {
    sea_orm::Condition::all()
        .add(recovery_code::Column::UserId.eq(id))
        .add(recovery_code::Column::CodeHash.eq(hash))
}

/// Whether the account has this recovery code.
///
/// # Errors
/// When the database fails.
pub async fn has_code(conn: &impl ConnectionTrait, id: UserId, hash: &str) -> Result<bool> {
    let found = recovery_code::Entity::find().filter(code(id, hash));
    Ok(found.count(conn).await? == 1)
}

/// Uses a recovery code up; false when somebody else has.
///
/// # Errors
/// When the database fails.
pub async fn use_code(tx: &impl ConnectionTrait, id: UserId, hash: &str) -> Result<bool> {
    let deleted = recovery_code::Entity::delete_many()
        .filter(code(id, hash))
        .exec(tx)
        .await?;
    Ok(deleted.rows_affected == 1)
}

/// How many recovery codes an account has left.
///
/// # Errors
/// When the database fails.
pub async fn count_codes(conn: &impl ConnectionTrait, id: UserId) -> Result<u64> {
    Ok(recovery_code::Entity::find()
        .filter(recovery_code::Column::UserId.eq(id))
        .count(conn)
        .await?)
}

/// Keeps an unfinished sign-in.
///
/// # Errors
/// When the database fails.
pub async fn insert_challenge(
    conn: &impl ConnectionTrait,
    values: challenge::ActiveModel,
) -> Result<()> {
    challenge::Entity::insert(values)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// The unfinished sign-in of this hash.
///
/// # Errors
/// When the database fails.
pub async fn find_challenge(
    conn: &impl ConnectionTrait,
    hash: &str,
) -> Result<Option<challenge::Model>> {
    Ok(challenge::Entity::find()
        .filter(challenge::Column::TokenHash.eq(hash))
        .one(conn)
        .await?)
}

/// Counts an attempt; false when there were as many as may be.
///
/// # Errors
/// When the database fails.
pub async fn count_attempt(conn: &impl ConnectionTrait, id: i64, most: i64) -> Result<bool> {
    let attempts = challenge::Column::Attempts;
    let counted = challenge::Entity::update_many()
        .col_expr(attempts, Expr::col(attempts).add(1))
        .filter(challenge::Column::Id.eq(id))
        .filter(attempts.lt(most))
        .exec(conn)
        .await?;
    Ok(counted.rows_affected == 1)
}

/// Ends an unfinished sign-in; false when somebody else has.
///
/// # Errors
/// When the database fails.
pub async fn take_challenge(tx: &impl ConnectionTrait, id: i64) -> Result<bool> {
    let deleted = challenge::Entity::delete_by_id(id).exec(tx).await?;
    Ok(deleted.rows_affected == 1)
}

/// Ends an account's unfinished sign-ins.
///
/// # Errors
/// When the database fails.
pub async fn delete_challenges(tx: &impl ConnectionTrait, id: UserId) -> Result<()> {
    challenge::Entity::delete_many()
        .filter(challenge::Column::UserId.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes unfinished sign-ins that nobody can finish any more.
///
/// # Errors
/// When the database fails.
pub async fn prune_challenges(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64> {
    let removed = challenge::Entity::delete_many()
        .filter(challenge::Column::ExpiresAt.lte(now))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}
