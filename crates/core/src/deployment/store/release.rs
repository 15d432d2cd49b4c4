//! The releases that a target keeps, as the database knows them.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use crate::{
    deployment::{
        entity::{
            deployment,
            release::{ActiveModel, Column, Entity, Model},
        },
        release::ReleaseState,
        status::Status,
    },
    error::Result,
    id::{DeploymentId, TargetId},
};

/// The run that writes about a target's releases.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// The target.
    pub target: TargetId,
    /// The deployment that runs.
    pub deployment: DeploymentId,
    /// Its run's fence.
    pub fence: i64,
}

/// Whether the run is still the current one, until the transaction ends.
async fn still_holds(tx: &impl ConnectionTrait, run: Holder) -> Result<bool> {
    let found = deployment::Entity::find_by_id(run.deployment)
        .select_only()
        .column(deployment::Column::Id)
        .filter(deployment::Column::Fence.eq(run.fence))
        .filter(deployment::Column::Status.eq(Status::Running))
        // SQLite has one writer and needs no lock.
        .lock_exclusive()
        .into_tuple::<DeploymentId>()
        .one(tx)
        .await?;
    Ok(found.is_some())
}

/// Notes that this deployment's release is the live one; the one before is kept. False when the run
/// is not the current one any more; then nothing was written. Must run in a transaction.
///
/// # Errors
/// When the database fails.
pub async fn set_live(
    tx: &impl ConnectionTrait,
    run: Holder,
    commit_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool> {
    if !still_holds(tx, run).await? {
        return Ok(false);
    }
    move_state(tx, run.target, ReleaseState::Live, ReleaseState::Kept).await?;
    let row = ActiveModel {
        target_id: Set(run.target),
        deployment_id: Set(run.deployment),
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
    Ok(true)
}

/// Notes that the run's release was taken back and which one is live instead. False when the run is
/// not the current one any more; then nothing was written. Must run in a transaction.
///
/// # Errors
/// When the database fails.
pub async fn set_restored(
    tx: &impl ConnectionTrait,
    run: Holder,
    restored: Option<DeploymentId>,
) -> Result<bool> {
    if !still_holds(tx, run).await? {
        return Ok(false);
    }
    set_state(tx, run.target, run.deployment, ReleaseState::Failed).await?;
    if let Some(restored) = restored {
        set_state(tx, run.target, restored, ReleaseState::Live).await?;
    }
    Ok(true)
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
