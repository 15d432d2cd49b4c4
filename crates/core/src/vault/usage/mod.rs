//! Which versions of secrets runs were given: for the deployment's page and for the audit trail.
//!
//! It is written before a step can see a value, for all runs that begin at the same time with one
//! transaction. It holds names and versions, never values. It asks nobody: system-only.

pub mod entity;
pub mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    audit::{
        entry::{Action, Entry, ObjectKind},
        trail::Trail,
    },
    db::{self, Db},
    deployment::entity::deployment,
    error::Result,
    gather::{Gather, Limits},
};

const LIMITS: Limits = Limits {
    batch: 32,
    waiting: 65_536,
};

/// A secret that a run was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The target's id, or 0 for a secret of the whole project.
    pub scope: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: i64,
}

/// What one run was given.
#[derive(Clone, Debug)]
pub struct Use {
    /// The run.
    pub run: deployment::Model,
    /// Its secrets.
    pub secrets: Vec<Used>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Those of runs that begin at the same time, written together.
#[must_use]
pub fn gathered(db: &Db, audit: &Trail) -> Gather<Use, ()> {
    let audit = audit.clone();
    db::together(db, LIMITS, move |db, uses: Vec<Use>| {
        let audit = audit.clone();
        async move {
            db::retried(|| record(&db, &audit, &uses)).await?;
            Ok(vec![(); uses.len()])
        }
    })
}

async fn record(db: &Db, audit: &Trail, uses: &[Use]) -> Result<()> {
    let rows = uses.iter().flat_map(|given| {
        given.secrets.iter().map(|used| entity::Model {
            id: 0,
            deployment_id: given.run.id,
            fence: given.run.fence,
            attempt: given.run.attempt,
            scope: used.scope,
            name: used.name.clone(),
            version: used.version,
            used_at: given.at,
        })
    });
    let rows = rows.collect();
    let entries: Vec<Entry> = uses.iter().map(used).collect();
    let tx = db.begin().await?;
    store::insert(&tx, rows).await?;
    audit.record_all(&tx, &entries).await?;
    tx.commit().await?;
    Ok(())
}

fn used(given: &Use) -> Entry {
    let secrets: Vec<_> = given
        .secrets
        .iter()
        .map(|used| json!({"name": used.name, "scope": used.scope, "version": used.version}))
        .collect();
    entry(Action::SecretUse, &given.run, given.at).after(&json!({
        "attempt": given.run.attempt,
        "worker": given.run.lease_owner,
        "secrets": secrets,
    }))
}

/// The entry for a run that met a secret which somebody had altered.
#[must_use]
pub fn altered(run: &deployment::Model, name: &str, version: i64, at: DateTime<Utc>) -> Entry {
    entry(Action::SecretAltered, run, at)
        .after(&json!({"attempt": run.attempt, "name": name, "version": version}))
}

fn entry(action: Action, run: &deployment::Model, at: DateTime<Utc>) -> Entry {
    Entry::by_system(action, at)
        .on(ObjectKind::Deployment, run.id.0, &run.id.to_string())
        .in_project(run.project_id)
}
