//! What was sent where, what came back, and a button to send it once more.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    db,
    id::{DeliveryId, DeploymentId},
    notify::delivery::{
        service::{self, Detail, ListInput},
        state::State,
    },
    project::service::open,
};
use url::form_urlencoded;

use super::{
    super::{
        frame::{Frame, Section, html, see_other},
        moment::Moment,
        row::Badge,
        table::Pages,
        visitor::{Sent, Visitor},
    },
    HOME, told,
};
use crate::{error::Problem, seal::Seal};

/// Rows of the page.
const PAGE: usize = 50;
const LIST: &str = "deliveries-page";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/notifications/deliveries", show_all)
        .get("/projects/{project}/deliveries", show_of_project)
        .post("/notifications/deliveries/{id}/resend", resend);
}

#[derive(Template)]
#[template(path = "notify/deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    /// The only project, by slug.
    project: Option<String>,
    home: String,
    states: Vec<(&'static str, &'static str)>,
    state: String,
    rows: Vec<Row>,
    is_first: bool,
    first: String,
    next: Option<String>,
}

struct Row {
    id: DeliveryId,
    at: Moment,
    event: &'static str,
    about: String,
    deployment: Option<DeploymentId>,
    channel: String,
    badge: Badge,
    tries: i64,
    next: Option<Moment>,
    answer: String,
    may_resend: bool,
}

fn badge(state: State) -> Badge {
    match state {
        State::Pending => Badge::new("queued", "Waiting"),
        State::Sending => Badge::new("running", "Sending"),
        State::Delivered => Badge::new("succeeded", "Delivered"),
        State::Failed => Badge::new("failed", "Failed"),
        State::Folded => Badge::new("superseded", "Told with another"),
        State::Dropped => Badge::new("cancelled", "Dropped"),
    }
}

/// States by which the list can be narrowed, with the words for them.
const STATES: [(State, &str); 5] = [
    (State::Pending, "Waiting"),
    (State::Delivered, "Delivered"),
    (State::Failed, "Failed"),
    (State::Folded, "Told with another"),
    (State::Dropped, "Dropped"),
];

impl Row {
    fn new(detail: &Detail, now: DateTime<Utc>, may_resend: bool) -> Self {
        let notice = &detail.notice;
        let place = [notice.project.as_deref(), notice.target.as_deref()];
        let place: Vec<&str> = place.into_iter().flatten().collect();
        Self {
            id: detail.row.id,
            at: Moment::new(detail.created_at(), now),
            event: told(notice.event),
            about: place.join(" → "),
            deployment: notice.deployment.as_ref().map(|facts| facts.id),
            channel: format!("{} ({})", detail.channel.name, detail.channel.provider),
            badge: badge(detail.row.state),
            tries: detail.row.tries,
            // One that is overdue waits for those before it.
            next: detail
                .next_at()
                .filter(|at| *at > now)
                .map(|at| Moment::new(at, now)),
            answer: detail.row.answer.clone().unwrap_or_default(),
            may_resend: may_resend && detail.row.state.is_final() && !detail.channel.disabled,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    state: String,
    cursor: Option<String>,
}

async fn show_all(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    page(&ctx, &seal, &visitor, None, &wanted).await
}

async fn show_of_project(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    project: Path<String>,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    page(&ctx, &seal, &visitor, Some(project.into_inner()), &wanted).await
}

fn home(project: Option<&str>) -> String {
    match project {
        Some(project) => format!("/projects/{project}/deliveries"),
        None => format!("{HOME}/deliveries"),
    }
}

async fn page(
    ctx: &Ctx,
    seal: &Seal,
    visitor: &Visitor,
    project: Option<String>,
    wanted: &Wanted,
) -> Result<HttpResponse, Problem> {
    let before = seal.start(LIST, wanted.cursor.as_deref())?;
    let input = ListInput {
        project: project.clone(),
        state: State::from_name(&wanted.state),
        before: before.map(DeliveryId),
        limit: PAGE as u64 + 1,
        ..ListInput::default()
    };
    let mut found = service::list(ctx, &visitor.actor, &input).await?;
    let is_more = found.len() > PAGE;
    found.truncate(PAGE);
    let last = found.last().filter(|_| is_more);
    let next = last.map(|last| seal.cursor(LIST, last.row.id.0));
    let now = Utc::now();
    let (section, may_resend) = match &project {
        Some(slug) => {
            let seen = open(ctx, &visitor.actor, slug, Permission::ViewProject).await?;
            let at = Some((seen.row.id, seen.role));
            let may_resend = visitor.actor.may(Permission::GovernProject, at);
            (Section::Projects, may_resend)
        }
        None => (Section::Notifications, true),
    };
    let page = DeliveriesPage {
        frame: Frame::of(visitor, section),
        home: home(project.as_deref()),
        states: STATES
            .iter()
            .map(|(state, label)| (state.as_str(), *label))
            .collect(),
        rows: found
            .iter()
            .map(|detail| Row::new(detail, now, may_resend))
            .collect(),
        is_first: before.is_none(),
        first: query(&wanted.state, None),
        next: next.map(|cursor| query(&wanted.state, Some(&cursor))),
        state: wanted.state.clone(),
        project,
    };
    html(HttpResponse::Ok(), &page)
}

fn query(state: &str, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if !state.is_empty() {
        query.append_pair("state", state);
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    query.finish()
}

#[derive(Debug, Deserialize)]
struct ResendForm {
    /// The project whose page the button is on; empty for the page of all.
    #[serde(default)]
    project: String,
}

async fn resend(
    ctx: Data<Ctx>,
    sent: Sent<ResendForm>,
    id: Path<DeliveryId>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    service::resend(&ctx, &sent.visitor.actor, id, db::now()).await?;
    let project = Some(sent.fields.project.as_str()).filter(|slug| !slug.is_empty());
    let encoded = project.map(|slug| form_urlencoded::byte_serialize(slug.as_bytes()).collect());
    let encoded: Option<String> = encoded;
    Ok(see_other(format!(
        "{}#delivery-{id}",
        home(encoded.as_deref())
    )))
}
