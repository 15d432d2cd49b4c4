//! One project: its targets with a form to deploy to each, its deployments, its pipeline.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use askama::Template;
use chrono::Utc;
use serde::Deserialize;
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    deployment::{
        self,
        release::ReleaseState,
        service::{DeployInput, Detail, ListInput},
    },
    error::Error,
    field::{IdempotencyKey, Problems},
    lock::{self, covering::Scope},
    project::{entity::Model, service::open},
    target::{self, entity::TargetKind},
};

use super::{
    deployments::may_pass,
    frame::{Frame, Section, html, see_other},
    lock::LockPanel,
    moment::Moment,
    notify::subscription::SubscriptionPanel,
    projects::origin,
    row::{Commit, Row},
    ssh::SshPanel,
    table::Pages,
    trouble,
    visitor::{Sent, Visitor},
};
use crate::error::Problem;

/// Deployments that the page shows.
const RECENT: u64 = 15;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/projects/{project}", show)
        .post("/projects/{project}/deploy", deploy);
}

#[derive(Template)]
#[template(path = "projects/show.html")]
struct ShowPage {
    frame: Frame,
    project: Model,
    targets: Vec<TargetCard>,
    rows: Vec<Row>,
    show_project: bool,
    /// Why everything is locked.
    all_locked: Option<String>,
    lock: LockPanel,
    ssh: SshPanel,
    subscriptions: SubscriptionPanel,
    may_deploy: bool,
    may_configure: bool,
    /// Makes one deployment of a form that is sent twice.
    key: String,
    refused: Option<Refused>,
    origin: String,
}

struct TargetCard {
    slug: String,
    kind: &'static str,
    path: String,
    last: Option<Row>,
    live: Option<Live>,
    /// What the form's fields hold.
    ref_name: String,
    note: String,
    is_refused: bool,
    lock: LockPanel,
}

/// The release that a target serves.
struct Live {
    deployment: deployment::entity::release::Model,
    commit: Option<Commit>,
    since: Moment,
}

/// A form that was not accepted, and why.
struct Refused {
    fields: DeployForm,
    problem: Problem,
    title: &'static str,
}

#[derive(Clone, Debug, Deserialize)]
struct DeployForm {
    target: String,
    #[serde(rename = "ref", default)]
    ref_name: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    key: String,
}

async fn show(
    ctx: Data<Ctx>,
    visitor: Visitor,
    slug: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    page(&ctx, &visitor, &slug, &request, None).await
}

async fn page(
    ctx: &Ctx,
    visitor: &Visitor,
    slug: &str,
    request: &HttpRequest,
    refused: Option<Refused>,
) -> Result<HttpResponse, Problem> {
    let actor = &visitor.actor;
    let seen = open(ctx, actor, slug, Permission::ViewProject).await?;
    let recent = ListInput {
        project: Some(seen.row.slug.clone()),
        limit: RECENT,
        ..ListInput::default()
    };
    let recent = deployment::service::list(ctx, actor, &recent).await?;
    let locks = lock::service::active(ctx).await?;
    let at = Some((seen.row.id, seen.role));
    let may_lock = actor.may(Permission::GovernProject, at);
    let may_configure = actor.may(Permission::ConfigureProject, at);
    let all = target::service::list(ctx, actor, &seen.row.slug).await?;
    let ssh = SshPanel::new(ctx, visitor, &seen.row.slug, &all, may_configure).await?;
    let subscriptions =
        SubscriptionPanel::new(ctx, visitor, &seen.row.slug, &all, may_lock).await?;
    let mut targets = Vec::new();
    for target in all {
        let lock = LockPanel::new(
            visitor,
            format!("/projects/{}/targets/{}", seen.row.slug, target.slug),
            "this target",
            locks.of(Scope::Target(seen.row.id, target.id)),
            may_lock,
        );
        let place = (&seen.row, target, lock);
        targets.push(card(ctx, visitor, place, refused.as_ref()).await?);
    }
    let now = Utc::now();
    let answer = refused.as_ref().map(|refused| refused.problem.builder());
    let page = ShowPage {
        frame: Frame::of(visitor, Section::Projects),
        targets,
        rows: recent.iter().map(|detail| Row::new(detail, now)).collect(),
        show_project: false,
        all_locked: locks
            .of(Scope::Everything)
            .map(|lock| lock.row.reason.clone()),
        lock: LockPanel::new(
            visitor,
            format!("/projects/{}", seen.row.slug),
            "this project",
            locks.of(Scope::Project(seen.row.id)),
            may_lock,
        ),
        ssh,
        subscriptions,
        may_deploy: actor.may(Permission::Deploy, at),
        may_configure,
        key: fresh_key()?,
        refused,
        origin: origin(ctx, request),
        project: seen.row,
    };
    html(answer.unwrap_or_else(HttpResponse::Ok), &page)
}

fn fresh_key() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("form-{}", hex::encode(bytes)))
}

async fn card(
    ctx: &Ctx,
    visitor: &Visitor,
    place: (&Model, target::entity::Model, LockPanel),
    refused: Option<&Refused>,
) -> Result<TargetCard, Error> {
    let (project, target, lock) = place;
    let actor = &visitor.actor;
    let now = Utc::now();
    let newest = ListInput {
        project: Some(project.slug.clone()),
        target: Some(target.slug.clone()),
        limit: 1,
        ..ListInput::default()
    };
    let last = deployment::service::list(ctx, actor, &newest).await?.pop();
    let releases = target::service::releases(ctx, actor, &project.slug, &target.slug).await?;
    let live = releases
        .into_iter()
        .find(|release| release.state == ReleaseState::Live);
    let typed = refused.filter(|refused| refused.fields.target == target.slug);
    Ok(TargetCard {
        kind: match target.kind {
            TargetKind::Local => "local folder",
        },
        last: last.map(|detail| Row::new(&detail, now)),
        live: live.map(|release| Live {
            commit: release.commit_id.clone().map(Commit),
            since: Moment::new(release.created_at, now),
            deployment: release,
        }),
        ref_name: typed.map_or_else(
            || project.default_branch.clone(),
            |refused| refused.fields.ref_name.clone(),
        ),
        note: typed.map_or_else(String::new, |refused| refused.fields.note.clone()),
        is_refused: typed.is_some(),
        lock,
        slug: target.slug,
        path: target.path,
    })
}

async fn deploy(
    ctx: Data<Ctx>,
    sent: Sent<DeployForm>,
    slug: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let problem = match ask(&ctx, &sent, &slug).await {
        Ok(detail) => return Ok(see_other(format!("/deployments/{}", detail.row.id))),
        Err(error) => Problem::from(error),
    };
    if !may_pass(problem.status()) {
        return Err(problem);
    }
    let refused = Refused {
        title: trouble::title(problem.status()),
        fields: sent.fields,
        problem,
    };
    page(&ctx, &sent.visitor, &slug, &request, Some(refused)).await
}

async fn ask(ctx: &Ctx, sent: &Sent<DeployForm>, slug: &str) -> Result<Detail, Error> {
    let fields = &sent.fields;
    let mut problems = Problems::default();
    let ref_name = problems.parse_optional("ref", Some(fields.ref_name.trim()));
    let note = problems.parse_optional("note", Some(fields.note.trim()));
    let key = problems.parse_optional::<IdempotencyKey>("key", Some(&fields.key));
    let input = DeployInput {
        target: fields.target.clone(),
        ref_name,
        note,
        key,
    };
    // Whoever may not deploy learns that first, not what is wrong with the form.
    open(ctx, &sent.visitor.actor, slug, Permission::Deploy).await?;
    let input = problems.finish(Some(input))?;
    deployment::service::request(ctx, &sent.visitor.actor, slug, input).await
}
