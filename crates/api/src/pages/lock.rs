//! Locks on the pages: what is locked and why, and the forms to lock and to unlock.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use askama::{Template, filters::HtmlSafe};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use slipway_core::{
    ctx::Ctx,
    db,
    error::Error,
    field::Problems,
    lock::{
        covering::{Lock, Scope},
        service::{self, Address, LockInput},
    },
};

use super::{
    frame::see_other,
    moment::Moment,
    table::Pages,
    visitor::{Button, Sent, Visitor},
};
use crate::error::Problem;

/// A year.
const HOURS_MAX: u32 = 366 * 24;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .post("/queue/lock", lock_all)
        .post("/queue/unlock", unlock_all)
        .post("/projects/{project}/lock", lock_project)
        .post("/projects/{project}/unlock", unlock_project)
        .post("/projects/{project}/targets/{target}/lock", lock_target)
        .post("/projects/{project}/targets/{target}/unlock", unlock_target);
}

/// A lock, or the form to make one, or nothing for those who may not.
#[derive(Clone, Debug, Template)]
#[template(path = "parts/lock.html")]
pub(super) struct LockPanel {
    notice: Option<Notice>,
    /// What the forms' addresses begin with.
    base: String,
    what: &'static str,
    token: String,
    may_lock: bool,
}

// Its template escapes what it shows.
impl HtmlSafe for LockPanel {}

/// A lock in words.
#[derive(Clone, Debug)]
struct Notice {
    title: &'static str,
    reason: String,
    by: Option<String>,
    since: Moment,
    until: Option<Moment>,
}

impl LockPanel {
    /// The panel of a thing that `lock` is on, for somebody who may or may not lock it.
    pub(super) fn new(
        visitor: &Visitor,
        base: String,
        what: &'static str,
        lock: Option<&Lock>,
        may_lock: bool,
    ) -> Self {
        let now = Utc::now();
        let notice = lock.map(|lock| Notice {
            title: match lock.scope {
                Scope::Everything => "Everything is locked",
                Scope::Project(_) => "This project is locked",
                Scope::Target(..) => "This target is locked",
            },
            reason: lock.row.reason.clone(),
            by: lock.by.clone(),
            since: Moment::new(lock.row.created_at, now),
            until: lock.expires_at().map(|at| Moment::new(at, now)),
        });
        Self {
            notice,
            base,
            what,
            token: visitor.token.clone(),
            may_lock,
        }
    }
}

/// The form to lock something.
#[derive(Clone, Debug, Deserialize)]
struct LockForm {
    #[serde(default)]
    reason: String,
    /// How long it lasts, in hours; empty until somebody unlocks.
    #[serde(default)]
    hours: String,
}

impl LockForm {
    fn read(&self, now: DateTime<Utc>) -> Result<LockInput, Error> {
        let mut problems = Problems::default();
        let reason = problems.parse("reason", self.reason.trim());
        let hours = match self.hours.as_str() {
            "" => Ok(None),
            text => text
                .parse::<u32>()
                .ok()
                .filter(|hours| *hours <= HOURS_MAX)
                .map(Some)
                .ok_or_else(|| format!("must be a number up to {HOURS_MAX}")),
        };
        let hours = problems.take("hours", hours);
        problems.finish((|| {
            Some(LockInput {
                reason: reason?,
                expires_at: hours?.map(|hours| now + TimeDelta::hours(i64::from(hours))),
            })
        })())
    }
}

async fn lock(
    ctx: &Ctx,
    sent: &Sent<LockForm>,
    address: Address<'_>,
    page: String,
) -> Result<HttpResponse, Problem> {
    let now = db::now();
    let input = sent.fields.read(now)?;
    service::put(ctx, &sent.visitor.actor, address, input, now).await?;
    Ok(see_other(page))
}

async fn unlock(
    ctx: &Ctx,
    sent: &Sent<Button>,
    address: Address<'_>,
    page: String,
) -> Result<HttpResponse, Problem> {
    service::lift(ctx, &sent.visitor.actor, address).await?;
    Ok(see_other(page))
}

async fn lock_all(ctx: Data<Ctx>, sent: Sent<LockForm>) -> Result<HttpResponse, Problem> {
    lock(&ctx, &sent, Address::Everything, "/queue".to_owned()).await
}

async fn unlock_all(ctx: Data<Ctx>, sent: Sent<Button>) -> Result<HttpResponse, Problem> {
    unlock(&ctx, &sent, Address::Everything, "/queue".to_owned()).await
}

async fn lock_project(
    ctx: Data<Ctx>,
    sent: Sent<LockForm>,
    project: Path<String>,
) -> Result<HttpResponse, Problem> {
    let page = format!("/projects/{project}");
    lock(&ctx, &sent, Address::Project(&project), page).await
}

async fn unlock_project(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    project: Path<String>,
) -> Result<HttpResponse, Problem> {
    let page = format!("/projects/{project}");
    unlock(&ctx, &sent, Address::Project(&project), page).await
}

async fn lock_target(
    ctx: Data<Ctx>,
    sent: Sent<LockForm>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (project, target) = path.into_inner();
    let page = format!("/projects/{project}#target-{target}");
    lock(&ctx, &sent, Address::Target(&project, &target), page).await
}

async fn unlock_target(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (project, target) = path.into_inner();
    let page = format!("/projects/{project}#target-{target}");
    unlock(&ctx, &sent, Address::Target(&project, &target), page).await
}
