//! The usual way to accept deployments: nothing to compare with what is there, and far from the
//! limit. Everything else is `admission`'s.

use chrono::{DateTime, Utc};

use super::{
    accepted::{entries, insertions, models},
    admission::Door,
    gate::{self, Ids},
};
use crate::{
    audit::entry::Entry,
    db::{Bundle, Db, is_duplicate, is_orphan},
    deployment::{
        admission::{Admitted, NewDeployment},
        entity::{deployment::Model, idempotency_key as key},
    },
    error::{Error, Result},
    fail,
    notify::outbox::{self, deployment::Happening},
};

/// Accepts them with as few statements as it takes. Nothing when it turns out to be another case;
/// then nothing was accepted.
pub(super) async fn admit_plain(
    db: &Db,
    requests: &[&NewDeployment],
    door: &Door,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Admitted>>> {
    let count = requests.len();
    let (tx, ids) = db
        .begin_at_once(|tx| async move { gate::lock(&tx, count).await })
        .await?;
    if !door.bound.admits(ids, count, door.limit) {
        tx.roll_back().await;
        return Ok(None);
    }
    let batch = Wanted::new(requests, ids, now);
    let tx = if batch.told.is_empty() {
        tx
    } else {
        let told = &batch.told;
        let (tx, ()) = tx
            .also(|tx| async move { outbox::note(&tx, told).await })
            .await
            .map_err(target_gone)?;
        tx
    };
    let bundle = batch.bundle(db, door, Bundle::default())?;
    fail::point("admission.before_bundle");
    let inserted = tx.finish(&bundle).await;
    fail::point("admission.after_bundle");
    match inserted {
        Ok(_) => {
            door.mark.given(ids, ids.after(count));
            Ok(Some(batch.rows.into_iter().map(Admitted::new).collect()))
        }
        Err(error) if error.database().is_some_and(is_duplicate) => {
            // A key that was sent before, or rows that did not come through the gate.
            crate::db::retried(|| gate::catch_up(db.writer())).await?;
            Ok(None)
        }
        Err(error) => Err(target_gone(error)),
    }
}

/// The same with one trip to the database, while nobody else seems to go through the gate and nothing
/// that the requests rest on has changed. Nothing when it takes more than that.
pub(super) async fn admit_expected(
    db: &Db,
    requests: &[&NewDeployment],
    door: &Door,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Admitted>>> {
    let count = requests.len();
    let (Some(ids), Some(revision)) = (door.mark.next(), common(requests)) else {
        return Ok(None);
    };
    let batch = Wanted::new(requests, ids, now);
    if !batch.told.is_empty() || !door.bound.admits(ids, count, door.limit) {
        return Ok(None);
    }
    let Some(expected) = door.mark.expect(ids, count) else {
        return Ok(None);
    };
    let passing = gate::passing(db.backend(), (ids, count), revision);
    let passing = Bundle::default().write_exactly(1, passing);
    let bundle = batch.bundle(db, door, passing)?;
    fail::point("admission.before_trip");
    let inserted = db.at_once(&bundle).await;
    fail::point("admission.after_trip");
    match inserted {
        Ok(Some(_)) => {
            expected.met();
            Ok(Some(batch.rows.into_iter().map(Admitted::new).collect()))
        }
        // Somebody else went through the gate, or a key was sent before: then it takes a look.
        Ok(None) => Ok(None),
        Err(error) if error.database().is_some_and(is_duplicate) => Ok(None),
        // Something was deleted, which is not counted.
        Err(error) if error.database().is_some_and(is_orphan) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What all of these rest on that rest on anything; nothing when one knows less than another.
fn common(requests: &[&NewDeployment]) -> Option<Option<i64>> {
    let mut premises = requests.iter().filter_map(|it| it.premise.as_deref());
    let first = premises.next().map(|premise| premise.revision);
    let is_common = premises.all(|premise| Some(premise.revision) == first);
    is_common.then_some(first)
}

/// Requests and what they become with certain ids.
struct Wanted {
    rows: Vec<Model>,
    keys: Vec<key::Model>,
    entries: Vec<Entry>,
    told: Vec<Happening>,
}

impl Wanted {
    fn new(requests: &[&NewDeployment], ids: Ids, now: DateTime<Utc>) -> Self {
        let (rows, keys) = models(requests, ids, now);
        Self {
            entries: entries(requests, &rows),
            told: told(requests, &rows),
            rows,
            keys,
        }
    }

    /// What inserts them behind `first`.
    fn bundle(&self, db: &Db, door: &Door, first: Bundle) -> Result<Bundle> {
        let written = (&*self.rows, &*self.keys);
        insertions(first, (db.backend(), &door.trail), written, &self.entries)
    }
}

/// What of these anybody may be told of.
pub(super) fn told(requests: &[&NewDeployment], rows: &[Model]) -> Vec<Happening> {
    let each = requests.iter().zip(rows);
    each.filter_map(|(request, row)| {
        let happening = Happening::requested(row);
        outbox::is_heard(request.told, &happening).then_some(happening)
    })
    .collect()
}

/// The error of an insertion, told from that of a target which was deleted meanwhile.
pub(super) fn target_gone(error: impl Into<Error>) -> Error {
    let error = error.into();
    if error.database().is_some_and(is_orphan) {
        Error::NotFound("target")
    } else {
        error
    }
}
