//! What the tests share: a way out with an allow-list, and something to tell.

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use slipway_core::{
    id::DeploymentId,
    notify::{Event, Notice, Parcel, Provider, Registry, Values, Verdict, notice},
    settings::Notifications,
};
use slipway_notify::{outgoing::Outgoing, registry_over};
use slipway_testkit::{Authority, SmtpServer, SmtpTls};

pub(crate) const KEY: &str = "msg_2f9c81d0";

/// A way out that may also go to these.
pub(crate) fn outgoing(allow: &[&str]) -> Outgoing {
    outgoing_with(allow, None)
}

/// The same with an authority of one's own.
pub(crate) fn outgoing_with(allow: &[&str], ca_file: Option<PathBuf>) -> Outgoing {
    let allow = allow.iter().map(|entry| (*entry).to_owned()).collect();
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
    send_notice(service, provider, channel, &failed()).await
}

pub(crate) async fn send_notice(
    service: &dyn Provider,
    provider: &Values,
    channel: &Values,
    notice: &Notice,
) -> Verdict {
    let parcel = Parcel {
        provider,
        channel,
        notice,
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

/// Something to tell of each event.
pub(crate) fn notice(event: Event) -> Notice {
    let mut notice = Notice { event, ..failed() };
    let is_over = matches!(
        event,
        Event::Succeeded | Event::Failed | Event::RolledBack | Event::Recovered
    );
    if event != Event::Failed && event != Event::TargetUnreachable {
        notice.failure = None;
    }
    if let Some(facts) = notice.deployment.as_mut().filter(|_| !is_over) {
        facts.duration_ms = None;
        facts.attempt = 1;
    }
    match event {
        Event::Cancelled => {
            notice.actor = Some("grace@example.com".to_owned());
            notice.text = Some("wrong branch".to_owned());
        }
        Event::Locked | Event::Unlocked => {
            notice.deployment = None;
            notice.target = None;
            notice.actor = Some("grace@example.com".to_owned());
            notice.text = Some("Migration of the <orders> table & its index".to_owned());
        }
        Event::Stuck => notice.folded = 4,
        Event::KeyRotationDue | Event::Test => {
            notice.deployment = None;
            notice.target = None;
            notice.project = None;
            notice.url = None;
        }
        Event::Requested
        | Event::AwaitingApproval
        | Event::Started
        | Event::Succeeded
        | Event::Failed
        | Event::RolledBack
        | Event::Recovered
        | Event::TargetUnreachable => {}
    }
    notice
}

pub(crate) fn plain_mail_server() -> SmtpServer {
    let authority = Authority::new().expect("there are random bytes");
    SmtpServer::start(SmtpTls::Off, &authority, None)
}

pub(crate) fn plain_mail(server: &SmtpServer) -> Values {
    let port = server.port().to_string();
    values([
        ("host", "127.0.0.1"),
        ("port", port.as_str()),
        ("tls", "off"),
        ("from", "Slipway <slipway@example.com>"),
    ])
}

/// A mail without the random text between its parts.
pub(crate) fn without_boundary(content: &str) -> String {
    let boundary = content.split("boundary=\"").nth(1);
    let boundary = boundary.and_then(|rest| rest.split('"').next());
    content.replace(boundary.expect("it has parts"), "BOUNDARY")
}
