//! What the tests share: a way out with an allow-list, and something to tell.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use slipway_core::{
    id::DeploymentId,
    notify::{Event, Notice, Parcel, Provider, Registry, Values, Verdict, notice},
    settings::Notifications,
};
use slipway_notify::{outgoing::Outgoing, registry_over};

pub(crate) const KEY: &str = "msg_2f9c81d0";

/// A way out that may also go to these.
pub(crate) fn outgoing(allow: &[&str]) -> Outgoing {
    let allow = allow.iter().map(|entry| (*entry).to_owned()).collect();
    let ca_file = None;
    Outgoing::new(&Notifications {
        allow,
        ca_file,
        ..Notifications::default()
    })
    .expect("the entries are good ones")
}

/// A service that may also send to this machine.
pub(crate) fn service(kind: &str) -> Arc<dyn Provider> {
    of(&registry_over(&Arc::new(outgoing(&["127.0.0.0/8"]))), kind)
}

pub(crate) fn of(registry: &Registry, kind: &str) -> Arc<dyn Provider> {
    Arc::clone(registry.get(kind).expect("there is such a service"))
}

pub(crate) fn values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Values {
    pairs.into_iter().collect()
}

/// Sends a notice of a failure.
pub(crate) async fn send(service: &dyn Provider, provider: &Values, channel: &Values) -> Verdict {
    let notice = failed();
    let parcel = Parcel {
        provider,
        channel,
        notice: &notice,
        key: KEY,
    };
    service.send(parcel).await
}

pub(crate) fn moment() -> DateTime<Utc> {
    "2026-11-25T21:05:09Z".parse().expect("it is a moment")
}

/// A deployment that failed.
pub(crate) fn failed() -> Notice {
    Notice {
        event: Event::Failed,
        at: moment(),
        project: Some("Shop".to_owned()),
        target: Some("production".to_owned()),
        actor: None,
        text: None,
        deployment: Some(notice::Facts {
            id: DeploymentId(4711),
            reference: Some("main".to_owned()),
            commit: Some("9f2c81d0a4b35e6778899aabbccddeeff0011223".to_owned()),
            subject: Some("Charge cards <once> & for all".to_owned()),
            author: Some("Ada Lovelace".to_owned()),
            requested_by: "grace@example.com".to_owned(),
            note: Some("hotfix for *checkout*".to_owned()),
            attempt: 3,
            duration_ms: Some(83_400),
        }),
        failure: Some(notice::Failure {
            code: "step_failed".to_owned(),
            sentence: "the step `migrate` ended with status 2".to_owned(),
            step: Some("migrate".to_owned()),
            lines: vec![
                "running 3 migrations".to_owned(),
                "error: relation \"orders\" <does> not exist & never did".to_owned(),
                "token [REDACTED] was refused".to_owned(),
            ],
        }),
        url: Some("https://deploy.example.com/deployments/4711".to_owned()),
        folded: 0,
    }
}
