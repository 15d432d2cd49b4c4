//! Everything at once on few targets: requests, claims, ends, cancels, retries and lost workers.
//!
//! No single order is checked, only what must hold in every order.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{
        entity::deployment::Model,
        reason::{Code, Reason},
        run::{Ended, RunEnd, finish},
        service::{cancel, request},
        status::Status,
        store::{
            claim::{Claim, Claimant, claim},
            ending::Last,
            open::{OpenRow, open_rows},
        },
    },
    error::Error,
    id::DeploymentId,
    ports::Entry,
    project::policy::{QueuePolicy, RetryPolicy},
    recovery::{reaper::reap, reconciler},
    target,
};

use crate::rig::{LEASE, Rig, Site, deploy_input, minutes_later, token};

on_both! {
    a_storm_ends_with_every_deployment_ended_and_no_two_runs_at_once,
}

const WORKERS: u64 = 4;
const REQUESTS: u64 = 60;

/// Every run's row as it was claimed.
type Runs = Arc<std::sync::Mutex<Vec<Model>>>;

async fn a_storm_ends_with_every_deployment_ended_and_no_two_runs_at_once(rig: Rig) {
    let mut sites = vec![rig.site_with("newest", QueuePolicy::KeepNewest).await];
    sites.push(rig.site("all").await);
    let sites = Arc::new(sites);
    let runs = Runs::default();
    let open = Arc::new(AtomicU64::new(1));
    let mut tasks = Vec::new();
    for _ in 0..WORKERS {
        let (ctx, runs, open) = (rig.ctx.clone(), Arc::clone(&runs), Arc::clone(&open));
        tasks.push(tokio::spawn(work(ctx, runs, open)));
    }
    let (ctx, of) = (rig.ctx.clone(), Arc::clone(&sites));
    let mut asking = vec![tokio::spawn(ask(ctx, of, 0))];
    let (ctx, of) = (rig.ctx.clone(), Arc::clone(&sites));
    asking.push(tokio::spawn(ask(ctx, of, 1)));
    for task in asking {
        task.await.unwrap();
    }
    open.store(0, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    for site in sites.iter() {
        let rows = rig.all(site).await;
        assert_eq!(rows.len() as u64, REQUESTS);
        let left: Vec<_> = rows
            .iter()
            .filter(|row| !row.status.is_terminal())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let found = target::store::by_id(rig.ctx.db.writer(), site.target.id).await;
        assert_eq!(found.unwrap().unwrap().holder_id, None);
        check(&runs.lock().unwrap(), site);
    }
}

/// Each run of a target had a fence of its own, and no newer deployment ran before an older one of
/// the same target had ended.
fn check(runs: &[Model], site: &Site) {
    let mut of: Vec<&Model> = runs
        .iter()
        .filter(|row| row.target_id == site.target.id)
        .collect();
    of.sort_by_key(|row| row.fence);
    assert!(of.is_sorted_by(|one, next| one.fence < next.fence));
    assert!(of.is_sorted_by(|one, next| one.id <= next.id), "{of:?}");
}

/// Half of one's requests, and a cancel now and then.
async fn ask(ctx: Ctx, sites: Arc<Vec<Site>>, half: u64) {
    for number in 0..REQUESTS / 2 {
        for site in sites.iter() {
            let input = deploy_input("live");
            let asked = request(&ctx, &site.owner, &site.project.slug, input).await;
            let id = asked.unwrap().row.id;
            if number % 5 == half {
                match cancel(&ctx, &site.owner, id, db::now()).await {
                    Ok(_) | Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }
}

/// Takes what comes until nobody asks any more and nothing is left.
async fn work(ctx: Ctx, runs: Runs, open: Arc<AtomicU64>) {
    let mut turn = 0_u64;
    loop {
        let asking = open.load(Ordering::SeqCst) > 0;
        let rows = open_entries(&ctx).await;
        if rows.is_empty() && !asking {
            return;
        }
        for entry in rows {
            turn += 1;
            run_once(&ctx, entry.id, &runs, turn).await;
        }
        reap(&ctx, db::now()).await.unwrap();
        let grace = chrono::Duration::zero();
        reconciler::run_once(&ctx, grace, minutes_later(1))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
}

async fn open_entries(ctx: &Ctx) -> Vec<Entry> {
    let rows = open_rows(ctx.db.writer(), DeploymentId(0), 500)
        .await
        .unwrap();
    rows.iter()
        .filter(|row| row.status == Status::Queued)
        .map(OpenRow::entry)
        .collect()
}

async fn run_once(ctx: &Ctx, id: DeploymentId, runs: &Runs, turn: u64) {
    let token = token();
    // Some workers are lost at once: their lease is over as it begins.
    let lease = if turn.is_multiple_of(7) {
        std::time::Duration::ZERO
    } else {
        LEASE
    };
    let by = Claimant {
        owner: "worker",
        token: &token,
        lease,
        max_running: 100,
    };
    let Claim::Won(row) = claim(&ctx.db, id, &by, db::now()).await.unwrap() else {
        return;
    };
    runs.lock().unwrap().push((*row).clone());
    let open = open_rows(ctx.db.writer(), DeploymentId(0), 1000).await;
    let running = open
        .unwrap()
        .into_iter()
        .filter(|other| other.target_id == row.target_id && other.status == Status::Running);
    let running: Vec<OpenRow> = running.collect();
    assert!(running.len() <= 1, "{running:?}");
    if lease.is_zero() {
        return;
    }
    let end = match turn % 5 {
        0 => RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1")),
        1 => RunEnd::HandedBack,
        2 => RunEnd::Cancelled,
        _ => RunEnd::Succeeded,
    };
    let retry = RetryPolicy {
        attempts: 3,
        delays_ms: vec![0],
    };
    let last = Last::default();
    let ended = Ended { end, retry, last };
    finish(ctx, &row, &ended, db::now()).await.unwrap();
}
