//! The releases that a target keeps, as the database knows them.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::{Expr, OnConflict},
};

use crate::{
    deployment::{
        entity::release::{ActiveModel, Column, Entity, Model},
        release::ReleaseState,
    },
    error::Result,
    id::{DeploymentId, TargetId},
};

/// Notes that this deployment's release is the live one; the one before is kept.
///
/// # Errors
/// When the database fails.
pub async fn set_live(
    tx: &impl ConnectionTrait,
    target: TargetId,
    deployment: DeploymentId,
    commit_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    move_state(tx, target, ReleaseState::Live, ReleaseState::Kept).await?;
    let row = ActiveModel {
        target_id: Set(target),
        deployment_id: Set(deployment),
        commit_id: Set(commit_id.map(ToOwned::to_owned)),
        state: Set(ReleaseState::Live),
        created_at: Set(now),
        ..ActiveModel::default()
    };
    let again = OnConflict::columns([Column::TargetId, Column::DeploymentId])
        .update_column(Column::State)
        .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Notes that a release was taken back and which one is live instead.
///
/// # Errors
/// When the database fails.
pub async fn set_restored(
    tx: &impl ConnectionTrait,
    target: TargetId,
    failed: DeploymentId,
    restored: Option<DeploymentId>,
) -> Result<()> {
    set_state(tx, target, failed, ReleaseState::Failed).await?;
    if let Some(restored) = restored {
        set_state(tx, target, restored, ReleaseState::Live).await?;
    }
    Ok(())
}

/// Notes that these releases' folders are gone.
///
/// # Errors
/// When the database fails.
pub async fn set_pruned(
    tx: &impl ConnectionTrait,
    target: TargetId,
    pruned: &[DeploymentId],
) -> Result<()> {
    for deployment in pruned {
        set_state(tx, target, *deployment, ReleaseState::Pruned).await?;
    }
    Ok(())
}

async fn set_state(
    tx: &impl ConnectionTrait,
    target: TargetId,
    deployment: DeploymentId,
    state: ReleaseState,
) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(state))
        .filter(Column::TargetId.eq(target))
        .filter(Column::DeploymentId.eq(deployment))
        .exec(tx)
        .await?;
    Ok(())
}

async fn move_state(
    tx: &impl ConnectionTrait,
    target: TargetId,
    from: ReleaseState,
    to: ReleaseState,
) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(to))
        .filter(Column::TargetId.eq(target))
        .filter(Column::State.eq(from))
        .exec(tx)
        .await?;
    Ok(())
}

/// A target's releases that still exist, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, target: TargetId) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::TargetId.eq(target))
        .filter(Column::State.ne(ReleaseState::Pruned))
        .order_by_desc(Column::DeploymentId)
        .all(conn)
        .await?)
}
