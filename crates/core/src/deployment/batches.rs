//! What requests and runs read and write together when they do it at the same time.
//!
//! A busy process asks the database a few large questions instead of many small ones; a question
//! that comes alone is asked alone and at once. Everything here is system-only.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    brief::{self, Brief, Errand},
    detail::situation,
    queue_place::Situation,
    store::{
        ending::{self, Ending},
        log::{self, Chunk},
        read::Lines,
        scene::{self, Known, Question},
        snapshot::{Snapshot, set_snapshots},
        step::{self, Plan, StepEnd},
    },
};
use crate::{
    db::{self, Db},
    gather::{Gather, Limits},
    id::{DeploymentId, StepId},
    settings,
};

/// How many look-ups share one query, and how many wait for theirs.
pub const LOOK_UPS: Limits = Limits {
    batch: 64,
    waiting: 4096,
};

/// The same for what runs write.
const WRITES: Limits = Limits {
    batch: 64,
    waiting: 65_536,
};

/// One process's gatherings.
#[derive(Clone, Debug)]
pub struct Batches {
    /// Whose requests want to deploy where.
    pub scenes: Gather<Question, Known>,
    /// What the places of queued deployments follow from.
    pub situations: Gather<DeploymentId, Arc<Situation>>,
    /// The same but for the length of the line, for those whom the index has told that.
    pub arrivals: Gather<DeploymentId, Arc<Situation>>,
    /// What runs need to know.
    pub briefs: Gather<Errand, Option<Brief>>,
    /// What runs found out about their commits; false for a run that was replaced.
    pub snapshots: Gather<(DeploymentId, i64, Snapshot), bool>,
    /// What runs are going to do.
    pub plans: Gather<Plan, Vec<StepId>>,
    /// Steps that begin.
    pub begun: Gather<(StepId, DateTime<Utc>), ()>,
    /// Steps that end.
    pub ended: Gather<(StepId, StepEnd, DateTime<Utc>), ()>,
    /// Output; false when its run was replaced.
    pub chunks: Gather<Chunk, bool>,
    /// Runs that succeeded; false for one that was replaced.
    pub endings: Gather<Ending, bool>,
}

impl Batches {
    /// Those of a process with this database.
    #[must_use]
    pub fn new(db: &Db, queue: &settings::Queue) -> Self {
        Self {
            situations: situations(db, queue, Lines::Counted),
            arrivals: situations(db, queue, Lines::Uncounted),
            scenes: db::together(db, LOOK_UPS, |db, questions: Vec<Question>| async move {
                scene::find(&db, &questions).await
            }),
            briefs: db::together(db, LOOK_UPS, |db, errands: Vec<Errand>| async move {
                brief::find(&db, &errands).await
            }),
            snapshots: db::each_answered(db, WRITES, |db, seen| async move {
                set_snapshots(&db, seen).await
            }),
            plans: db::together(db, WRITES, |db, plans: Vec<Plan>| async move {
                step::plan(&db, &plans).await
            }),
            begun: db::together(
                db,
                WRITES,
                |db, begun: Vec<(StepId, DateTime<Utc>)>| async move {
                    let (ids, moments): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
                    let earliest = moments.iter().min().copied().unwrap_or_else(db::now);
                    step::begin(db.writer(), &ids, earliest).await?;
                    Ok(vec![(); ids.len()])
                },
            ),
            ended: db::together(
                db,
                WRITES,
                |db, ended: Vec<(StepId, StepEnd, DateTime<Utc>)>| async move {
                    let latest = ended.iter().map(|(.., moment)| *moment).max();
                    let ends: Vec<_> = ended.iter().map(|(id, end, _)| (*id, *end)).collect();
                    step::end(db.writer(), &ends, latest.unwrap_or_else(db::now)).await?;
                    Ok(vec![(); ends.len()])
                },
            ),
            chunks: db::each_answered(db, WRITES, |db, chunks| async move {
                log::append_all(&db, chunks).await
            }),
            endings: db::each_answered(db, WRITES, |db, endings| async move {
                ending::succeed_all(&db, endings).await
            }),
        }
    }
}

fn situations(
    db: &Db,
    queue: &settings::Queue,
    lines: Lines,
) -> Gather<DeploymentId, Arc<Situation>> {
    let queue = queue.clone();
    db::together(db, LOOK_UPS, move |db, queued: Vec<DeploymentId>| {
        let queue = queue.clone();
        async move {
            let seen = Arc::new(situation(&db, &queue, &queued, lines).await?);
            Ok(queued.iter().map(|_| Arc::clone(&seen)).collect())
        }
    })
}
