//! A process aborts at each fail point in turn, and nothing that was accepted is lost, doubled or
//! charged for it.
//!
//! Each case starts one process that will abort, brings about what passes its point, and lets others
//! go on. A point that is not reached fails the test; a new point needs a line in `case`.

mod cases;
mod ground;

use std::{sync::Mutex, thread};

use slipway_core::fail::POINTS;
use tokio::runtime::Builder;

use ground::Ground;

/// Installations that work through the points side by side.
const GROUNDS: usize = 4;

/// What brings a process to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// An API process accepts a request, after so many others: the first one makes it count, the
    /// second one tells it where the gate stands.
    Request(usize),
    /// An API process cancels what waits, or what runs.
    CancelQueued,
    CancelRunning,
    /// A worker takes, runs and ends a deployment. The number is how often its last step may run:
    /// once, or again when the abort comes between its end and the note of that.
    Run(usize),
    /// The same, and again with one whose plan is written with its claim.
    Claim,
    /// A worker keeps a deployment that takes its time.
    LongRun,
    /// A worker's deployment fails and is to be tried again. The number is the attempt that works:
    /// the first one, if the failure was never written down.
    Failure(i64),
    /// A worker is told twice to stop.
    HandBack,
    /// A worker takes an entry although its deployment has ended, runs, or has to wait.
    TakesEnded,
    TakesRunning,
    TakesDelayed,
    /// A worker takes an entry although an older one goes first.
    TakesNewer,
    /// A process finds a deployment whose worker is dead.
    LostWorker,
    /// A process compares the index with the database.
    NotPushed,
    NotDelayed,
    NotHeld,
    NotRemoved,
    /// A process fills an index that has lost its data.
    Emptied,
}

fn case(point: &str) -> Case {
    match point {
        "cancel.before_index" => Case::CancelQueued,
        "cancel.before_publish" => Case::CancelRunning,
        "claim.before_commit" | "claim.after_commit" | "claim.after_keep" => Case::Claim,
        "claim.before_forget" => Case::TakesEnded,
        "claim.before_hold" => Case::TakesRunning,
        "claim.before_put_off" => Case::TakesDelayed,
        "claim.before_push_older" | "claim.before_step_back" => Case::TakesNewer,
        "admission.before_bundle" | "admission.after_bundle" => Case::Request(1),
        "admission.before_trip" | "admission.after_trip" => Case::Request(2),
        "run.before_step_ends" | "run.after_step_ended" | "finish.before_bundle" => Case::Run(2),
        "finish.before_commit" => Case::Failure(1),
        "finish.after_commit" | "finish.before_delay" => Case::Failure(2),
        "finish.before_return" => Case::HandBack,
        "reconciler.before_push" => Case::NotPushed,
        "reconciler.before_delay" => Case::NotDelayed,
        "reconciler.before_hold" => Case::NotHeld,
        "reconciler.before_removal" => Case::NotRemoved,
        _ => match point.split('.').next() {
            Some("admission") => Case::Request(0),
            Some("claim" | "run" | "finish") => Case::Run(1),
            Some("renew") => Case::LongRun,
            Some("reaper") => Case::LostWorker,
            Some("rebuild") => Case::Emptied,
            _ => panic!("no case brings a process to {point}"),
        },
    }
}

#[test]
fn abort_at_any_point_loses_nothing_and_costs_no_attempt() {
    // Those around a message end no deployment; they have a test of their own.
    let of_deployments = POINTS.iter().filter(|point| !point.starts_with("notify."));
    let points = Mutex::new(of_deployments.copied());
    let next = || points.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..GROUNDS {
            scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(work_through(next));
            });
        }
    });
}

async fn work_through(next: impl Fn() -> Option<&'static str>) {
    let mut ground = Ground::new().await;
    while let Some(point) = next() {
        ground.abort_at(point, case(point)).await;
    }
}
