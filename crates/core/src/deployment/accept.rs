//! Deciding and accepting a request, whoever made it and however it was looked up.

use std::sync::Arc;

use super::{
    admission::{Admitted, NewDeployment},
    detail::{Detail, ProjectName, Requester, TargetName, detail_of, place_of_new},
    entity::deployment::Model,
    request::{DeployInput, wanted},
    status::Status,
    store::{premise::Premise, scene::Scene},
};
use crate::{
    access::{Actor, Permission},
    ctx::Ctx,
    error::{Error, Result},
    fail,
    ports::{Authority, Enqueued, Entry, Event, Holder},
};

/// A request that may be accepted.
pub(super) struct Decided {
    scene: Scene,
    wanted: NewDeployment,
    target: TargetName,
}

impl Decided {
    /// The same, to be accepted only while all of this holds.
    pub(super) fn resting_on(self, premise: Arc<Premise>) -> Self {
        let wanted = NewDeployment {
            premise: Some(premise),
            ..self.wanted
        };
        Self { wanted, ..self }
    }
}

/// Whether the actor may have what is asked for, where project and target have been looked up.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`], or a conflict.
pub(super) fn decide(actor: &Actor, scene: Option<Scene>, input: DeployInput) -> Result<Decided> {
    let scene = scene.filter(|it| actor.may(Permission::ViewProject, Some((it.id, it.role))));
    let scene = scene.ok_or(Error::NotFound("project"))?;
    actor.require(Permission::Deploy, Some((scene.id, scene.role)))?;
    let (wanted, target) = wanted(actor, &scene, input)?;
    Ok(Decided {
        scene,
        wanted,
        target,
    })
}

/// Accepts a request and tells the queue; nothing, and nothing was done, when what it rests on has
/// to be looked up again.
///
/// # Errors
/// [`Error::QueueUnavailable`], [`Error::QueueFull`], or a conflict with the project's policy.
pub(super) async fn accept(ctx: &Ctx, actor: &Actor, decided: Decided) -> Result<Option<Detail>> {
    let Decided {
        scene,
        wanted,
        mut target,
    } = decided;
    let Some(admitted) = admit(ctx, wanted).await? else {
        return Ok(None);
    };
    let project = ProjectName {
        id: scene.id,
        slug: scene.slug.clone(),
        name: scene.name.clone(),
    };
    let row = admitted.row;
    let detail = if admitted.is_new {
        let added = if row.status == Status::Queued {
            push(ctx, &row).await
        } else {
            None
        };
        let holder = added.and_then(|(_, holder)| holder);
        target.holder_id = holder.map(Holder::id);
        Ok(Detail {
            steps: Vec::new(),
            queue: place_of_new(ctx, &row, added, &scene).await?,
            row,
            project,
            target,
            requested_by: Some(Requester {
                id: actor.user,
                name: actor.name.clone(),
            }),
        })
    } else {
        detail_of(ctx, row, project, target).await
    };
    fail::point("admission.before_answer");
    detail.map(Some)
}

/// Takes a checked request through the door; telling the queue of it is left.
pub(super) async fn admit(ctx: &Ctx, wanted: NewDeployment) -> Result<Option<Admitted>> {
    if !ctx.health.is_healthy() {
        return Err(Error::QueueUnavailable);
    }
    let Some(admitted) = ctx.admission.request_if(wanted).await? else {
        return Ok(None);
    };
    for entry in &admitted.superseded {
        ctx.process.counters.ended(Status::Superseded);
        forget(ctx, *entry).await;
        ctx.bus.publish(Event::Changed(entry.id)).await;
    }
    Ok(Some(admitted))
}

/// Tells the queue of a new deployment; answers its place in its target's line and what holds that,
/// if the queue says so. A queue that fails now does not fail the request: the row exists, and the reconciler
/// pushes it.
pub(super) async fn push(ctx: &Ctx, row: &Model) -> Option<(u64, Option<Holder>)> {
    fail::point("admission.before_push");
    let pushed = ctx.telling.add(row.entry()).await;
    fail::point("admission.after_push");
    match pushed {
        Ok(Enqueued::Added { place, holder }) => Some((place, holder)),
        Ok(Enqueued::Duplicate | Enqueued::Full) => None,
        Err(error) => {
            if !matches!(error, Error::Busy) {
                ctx.health.note_failure();
            }
            tracing::warn!(
                deployment.id = row.id.0,
                error = %error,
                "the queue did not take a deployment; the reconciler will push it"
            );
            None
        }
    }
}

/// Takes an ended deployment out of the index; if that fails the reconciler does it.
pub(super) async fn forget(ctx: &Ctx, entry: Entry) {
    if let Err(error) = ctx.queue.finish(entry, &Authority::Database).await {
        tracing::warn!(deployment.id = entry.id.0, error = %error, "the queue kept an ended entry");
    }
}
