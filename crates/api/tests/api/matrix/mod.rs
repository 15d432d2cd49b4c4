//! Every route, called by every kind of caller about their own things and other people's.
//!
//! The list of routes comes from the router. A route that is not in the table fails, so that nobody
//! adds one without saying who may call it.

mod notifications;
mod table;
mod world;

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use reqwest::{Method, Response};
use slipway_core::{access::SystemRole, audit, id::AuditId};

use self::{
    table::{Entry, Need, entries},
    world::{Class, Place, World},
};
use crate::app::{Client, TestApp};

/// Streams are left after their beginning.
const STREAM: &str = "/api/v1/deployments/{id}/events";

#[test]
fn every_route_is_in_the_table_and_every_line_is_a_route() {
    let routes: BTreeSet<(String, String)> =
        slipway_api::server::routes().unwrap().into_iter().collect();
    let listed: BTreeSet<(String, String)> = entries()
        .iter()
        .map(|entry| (entry.method.to_owned(), entry.path.to_owned()))
        .collect();
    let missing: Vec<_> = routes.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&routes).collect();
    assert!(missing.is_empty(), "not in the matrix: {missing:?}");
    assert!(stale.is_empty(), "no such route any more: {stale:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_caller_gets_what_the_table_says() {
    let app = TestApp::spawn_with(|settings| settings.queue.backlog_limit = 1_000_000).await;
    let entries = entries();
    let classes = Class::all();
    let mut verdicts = join_all(classes.iter().map(|class| walk(&app, *class, &entries))).await;
    verdicts.push(nobody(&app, &entries).await);
    let assertions: usize = verdicts.iter().map(|verdict| verdict.assertions).sum();
    println!(
        "{} routes, {} kinds of caller and nobody: {assertions} assertions",
        entries.len(),
        classes.len()
    );
    let failures: Vec<_> = verdicts
        .into_iter()
        .flat_map(|verdict| verdict.failures)
        .collect();
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(assertions > 2_000, "only {assertions}");
}

/// What was asserted of one kind of caller.
#[derive(Debug, Default)]
struct Verdict {
    assertions: usize,
    failures: Vec<String>,
}

impl Verdict {
    fn check(&mut self, holds: bool, told: impl FnOnce() -> String) {
        self.assertions += 1;
        if !holds {
            self.failures.push(told());
        }
    }
}

/// Somebody who is not signed in.
async fn nobody(app: &TestApp, entries: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let world = World::new(app, Class::all()[0]).await;
    let client = app.anonymous();
    for entry in entries {
        let path = filled(entry.path, &world.own, 1);
        let answer = send(&client, entry, &path, None, None).await;
        let holds = match (entry.need, is_page(entry.path)) {
            (Need::Nobody, _) => is_allowed(entry, &answer),
            (_, true) => is_to_sign_in(&answer),
            (_, false) => answer.status() == 401,
        };
        verdict.check(holds, || {
            format!("nobody: {} {path}: {}", entry.method, answer.status())
        });
    }
    verdict
}

/// One caller, at every route.
async fn walk(app: &TestApp, class: Class, entries: &[Entry]) -> Verdict {
    let mut world = World::new(app, class).await;
    let mut verdict = Verdict::default();
    for entry in entries {
        // A page is for browsers.
        if class.by_token && is_page(entry.path) && entry.need != Need::Nobody {
            continue;
        }
        // Wrong passwords are slow, and slowed down; nobody tries one.
        let is_sign_in = entry.need == Need::Nobody && entry.method == "POST";
        if !is_sign_in {
            for is_own in [true, false] {
                visit(&mut world, entry, is_own, &mut verdict).await;
            }
        }
        nested(&world, entry, &mut verdict).await;
        foreign_origin(&world, entry, &mut verdict).await;
    }
    without_trace(app, &world, &mut verdict).await;
    verdict
}

/// What they should be answered: 0 stands for success.
fn expected(class: Class, entry: &Entry, is_own: bool) -> u16 {
    let has =
        |right: table::Right, is_own| right.columns().as_bytes()[class.column(is_own)] == b'y';
    let is_admin = class.role == SystemRole::Admin;
    match entry.need {
        Need::Nobody | Need::SignedIn => 0,
        Need::OwnThing => {
            if is_own {
                0
            } else {
                404
            }
        }
        Need::Account => {
            if is_own || is_admin {
                0
            } else {
                404
            }
        }
        Need::AnyAccount if is_admin => 0,
        Need::AnyAccount => {
            if is_own {
                403
            } else {
                404
            }
        }
        Need::System(right) => {
            if has(right, false) {
                0
            } else {
                403
            }
        }
        Need::Project(_) if !has(table::Right::View, is_own) => 404,
        Need::Project(right) => {
            if has(right, is_own) {
                0
            } else {
                403
            }
        }
    }
}

async fn visit(world: &mut World<'_>, entry: &Entry, is_own: bool, verdict: &mut Verdict) {
    let place = if is_own { &world.own } else { &world.foreign };
    let id = match entry.need {
        Need::OwnThing => world.thing(entry.path, is_own).await,
        Need::Account | Need::AnyAccount if is_own => world.client.actor().user.0,
        Need::Account | Need::AnyAccount => place.member.0,
        Need::System(_) => place.member.0,
        Need::Nobody | Need::SignedIn | Need::Project(_) => place.deployment.0,
    };
    let id = place.notifications.id_of(entry.path).unwrap_or(id);
    let path = filled(entry.path, place, id);
    let answer = call(world, entry, &path, None).await;
    let status = answer.status();
    let told = format!("{:?}: {} {path}: {status}", world.class, entry.method);
    let expected = expected(world.class, entry, is_own);
    let holds = match expected {
        0 => is_allowed(entry, &answer),
        expected => status == expected,
    };
    verdict.check(holds, || format!("{told}, expected {expected}"));
    // Every caller brings a wrong password to several routes, and is not to be slowed down by that.
    if entry.answer == Some(422) {
        world.forget_failures().await;
    }
    // Nothing of a project that they may not see is told by the way.
    if entry.path != STREAM && !sees(world.class, false) {
        let text = answer.text().await.unwrap();
        let slug = &world.foreign.slug;
        let was_asked = path.contains(slug.as_str());
        let is_told = text.contains(slug.as_str());
        verdict.check(was_asked || !is_told, || format!("{told} tells of {slug}"));
    }
    if expected != 0 || entry.method == "GET" {
        return;
    }
    match entry.need {
        _ if entry.path.ends_with("/logout") => world.sign_in().await,
        // An Admin who stepped down is none any more, and signed out.
        Need::AnyAccount if is_own => {
            world.renew_role().await;
            world.sign_in().await;
        }
        Need::Project(_) => world.renew(is_own).await,
        Need::Nobody
        | Need::SignedIn
        | Need::OwnThing
        | Need::System(_)
        | Need::Account
        | Need::AnyAccount => {}
    }
}

fn sees(class: Class, is_own: bool) -> bool {
    table::Right::View.columns().as_bytes()[class.column(is_own)] == b'y'
}

/// A part of a foreign project below the address of their own: whether they may or not, they do not
/// reach it.
async fn nested(world: &World<'_>, entry: &Entry, verdict: &mut Verdict) {
    let of_target = entry.path.contains("{target}");
    let of_subscription = entry.path.contains("/subscriptions/{id}");
    if !entry.path.contains("{project}") || !(of_target || of_subscription) {
        return;
    }
    let subscription = world.foreign.notifications.subscription.to_string();
    let path = entry
        .path
        .replace("{project}", &world.own.slug)
        .replace("{target}", &world.foreign.target.to_string())
        .replace("{id}", &subscription);
    let status = call(world, entry, &path, None).await.status();
    let expected = match expected(world.class, entry, true) {
        0 => 404,
        status => status,
    };
    verdict.check(status == expected, || {
        let (class, method) = (world.class, entry.method);
        format!("{class:?}: {method} {path}: {status}, expected {expected}")
    });
}

/// A browser that was sent by another site changes nothing, whoever is signed in.
async fn foreign_origin(world: &World<'_>, entry: &Entry, verdict: &mut Verdict) {
    if entry.method == "GET" || world.class.by_token {
        return;
    }
    let path = filled(entry.path, &world.own, world.own.deployment.0);
    let answer = call(world, entry, &path, Some("https://evil.example")).await;
    verdict.check(answer.status() == 403, || {
        let (class, method) = (world.class, entry.method);
        format!(
            "{class:?} from elsewhere: {method} {path}: {}",
            answer.status()
        )
    });
    if is_page(entry.path) && entry.need != Need::Nobody {
        let form = world
            .client
            .form(&path, &borrowed(&table::form(entry.path)));
        let answer = form.send().await.unwrap();
        verdict.check(answer.status() == 403, || {
            let class = world.class;
            format!("{class:?} without its token: {path}: {}", answer.status())
        });
    }
}

/// A Viewer has changed nothing but what is their own.
async fn without_trace(app: &TestApp, world: &World<'_>, verdict: &mut Verdict) {
    if world.class.role != SystemRole::Viewer {
        return;
    }
    let filter = audit::service::Filter {
        actor: Some(world.client.actor().user),
        ..Default::default()
    };
    let entries = audit::service::export(&app.ctx, &app.admin, &filter, AuditId(0), 1_000).await;
    for row in entries.unwrap() {
        let is_own = ["session", "token"].contains(&row.object_kind.as_str())
            || row.object_id == Some(world.client.actor().user.0);
        verdict.check(is_own, || {
            format!("{:?} changed: {} {}", world.class, row.action, row.object)
        });
    }
}

fn is_allowed(entry: &Entry, answer: &Response) -> bool {
    let status = answer.status().as_u16();
    // Others lock and unlock everything meanwhile.
    if entry.path == "/api/v1/lock" && status == 200 {
        return true;
    }
    match entry.answer {
        Some(expected) => status == expected,
        None if entry.path == "/logout" => status == 303,
        None => matches!(status, 200..=204 | 303) && !is_to_sign_in(answer),
    }
}

fn is_to_sign_in(answer: &Response) -> bool {
    let place = answer.headers().get("Location");
    let place = place.map_or("", |place| place.to_str().unwrap());
    answer.status() == 303 && place.starts_with("/login")
}

fn is_page(path: &str) -> bool {
    !path.starts_with("/api/v1") && !path.starts_with("/health") && path != "/metrics"
}

fn filled(path: &str, place: &Place, id: i64) -> String {
    path.replace("{project}", &place.slug)
        .replace("{target}", "live")
        .replace("{name}", "NAME")
        .replace("{version}", "0")
        .replace("{user_id}", &place.member.to_string())
        .replace("{token_id}", "1")
        .replace("{id}", &id.to_string())
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

async fn call(world: &World<'_>, entry: &Entry, path: &str, origin: Option<&str>) -> Response {
    let token = world.class.by_token.then_some(world.token.as_str());
    if is_page(entry.path) && entry.method == "POST" {
        let mut fields = table::form(entry.path);
        fields.push(("token", world.form_token.clone()));
        let mut request = world.client.form(path, &borrowed(&fields));
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        return request.send().await.unwrap();
    }
    send(&world.client, entry, path, token, origin).await
}

async fn send(
    client: &Client,
    entry: &Entry,
    path: &str,
    token: Option<&str>,
    origin: Option<&str>,
) -> Response {
    let mut request = match token {
        Some(token) => client
            .bare(&entry.method.parse::<Method>().unwrap(), path)
            .bearer_auth(token),
        None => client.request(entry.method.parse().unwrap(), path),
    };
    request = request.timeout(Duration::from_secs(60));
    if let Some(origin) = origin {
        request = request.header("Origin", origin);
    }
    if entry.method != "GET" {
        request = if is_page(entry.path) {
            let fields = table::form(entry.path);
            let text = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            let kind = "application/x-www-form-urlencoded";
            request.header("Content-Type", kind).body(text)
        } else {
            request.json(&table::body(entry.method, entry.path))
        };
    }
    request.send().await.unwrap()
}
