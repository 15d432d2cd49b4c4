//! People and programs that ask for deployments, and repeat what was not answered.

use std::{sync::Arc, time::Duration};

use slipway_core::{
    db,
    deployment::{
        detail::Detail,
        service::{self, DeployInput},
        status::Status,
    },
    error::{Error, Result},
    id::DeploymentId,
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    fleet::Fleet,
    scene::{self, Place},
    world::World,
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a request that was refused is made again.
const REFUSALS: usize = 12;

/// Counts a client's request until it is over.
struct Open(Arc<World>);

impl Open {
    fn new(world: &Arc<World>) -> Self {
        world.state().open_requests += 1;
        Self(Arc::clone(world))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open_requests -= 1;
    }
}

/// One call to an API server; nothing when no answer came.
async fn call<F>(
    fleet: &Fleet,
    request: impl FnOnce(slipway_core::ctx::Ctx) -> F,
) -> Option<Result<Detail>>
where
    F: Future<Output = Result<Detail>> + Send + 'static,
{
    let (world, api) = (&fleet.world, fleet.api());
    let (answer, answered) = oneshot::channel();
    let request = request(api.ctx.clone());
    api.process.spawn(async move {
        let _gone = answer.send(request.await);
    });
    let answered = timeout(PATIENCE, answered).await.ok()?.ok()?;
    if world.goes_wrong(50) {
        world.count("lost answers of the API");
        return None;
    }
    Some(answered)
}

/// Asks for a deployment until that is accepted or refused for good, and sometimes cancels it.
pub(crate) async fn deploy(fleet: Arc<Fleet>, place: &'static Place, key: String) {
    let world = Arc::clone(&fleet.world);
    let _open = Open::new(&world);
    let Some(id) = ask(&fleet, place, &key).await else {
        return;
    };
    if world.dice.chance(120) {
        world.pause(world.dice.millis(0, 20_000)).await;
        cancel(&fleet, id).await;
    }
}

async fn ask(fleet: &Arc<Fleet>, place: &'static Place, key: &str) -> Option<DeploymentId> {
    let world = &fleet.world;
    let mut refusals = 0;
    loop {
        let own = key.to_owned();
        let answer = call(fleet, |ctx| async move {
            let input = DeployInput {
                target: place.slug.to_owned(),
                ref_name: None,
                note: None,
                key: Some(own.parse().unwrap()),
            };
            service::request(&ctx, &scene::admin(), place.project, input).await
        })
        .await;
        match answer {
            Some(Ok(detail)) => {
                let id = detail.row.id;
                world.note("accepted", 0, id.0, place.id.0);
                let before = world.state().accepted.insert(key.to_owned(), id);
                match before {
                    None => world.count("deployments"),
                    Some(before) if before != id => world.violated(format!(
                        "the key {key} was answered with deployment {before} and with {id}"
                    )),
                    Some(_) => {}
                }
                // Sometimes a client that has its answer asks once more.
                if !world.goes_wrong(100) {
                    return Some(id);
                }
            }
            Some(Err(Error::QueueFull { .. } | Error::Conflict { .. })) => {
                world.count("refused requests");
                refusals += 1;
                if refusals > REFUSALS {
                    return None;
                }
                world.pause(world.dice.millis(1000, 15_000)).await;
            }
            Some(Err(_)) | None => {}
        }
        world.pause(world.dice.millis(200, 3000)).await;
    }
}

async fn cancel(fleet: &Arc<Fleet>, id: DeploymentId) {
    let world = &fleet.world;
    loop {
        let answer = call(fleet, |ctx| async move {
            service::cancel(&ctx, &scene::admin(), id, db::now()).await
        })
        .await;
        match answer {
            Some(Ok(detail)) => {
                world.count("cancels");
                world.note("cancel answered", 0, id.0, 0);
                if detail.row.status == Status::Cancelled {
                    let now = tokio::time::Instant::now();
                    world.state().cancelled.entry(id).or_insert(now);
                }
                return;
            }
            Some(Err(Error::Conflict { .. })) => return,
            Some(Err(_)) | None => world.pause(world.dice.millis(200, 3000)).await,
        }
    }
}
