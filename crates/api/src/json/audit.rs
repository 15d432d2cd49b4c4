//! The audit trail, for those who operate Slipway.

use actix_web::{
    HttpResponse, get,
    web::{Bytes, Data, Query},
};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use slipway_core::{
    access::Actor,
    audit::{
        line::Line,
        service::{self, Filter},
    },
    ctx::Ctx,
    id::{AuditId, ProjectId, UserId},
};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{List, limit},
    seal::Seal,
};

const LIST: &str = "audit";
/// Entries that an export reads at once.
const ROWS: u64 = 500;

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(list).service(export);
}

/// Which entries to answer.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Only by the account with this id.
    pub actor: Option<UserId>,
    /// Only of the project with this id.
    pub project: Option<ProjectId>,
    /// Only this action, such as `project.update`, or all of one kind, such as `project`.
    pub action: Option<String>,
    /// Only about this kind of thing, such as `target`.
    pub object_kind: Option<String>,
    /// Only about the thing with this id.
    pub object_id: Option<i64>,
    /// Only with this text in the actor's address or the thing's name.
    pub text: Option<String>,
    /// Only from this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this moment.
    pub to: Option<DateTime<Utc>>,
    /// How many items, at most 200; 50 otherwise.
    pub limit: Option<u64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Wanted {
    fn filter(self) -> Filter {
        Filter {
            actor: self.actor,
            project: self.project,
            action: self.action,
            object_kind: self.object_kind,
            object_id: self.object_id,
            text: self.text,
            from: self.from,
            to: self.to,
        }
    }
}

/// Who changed what, newest first.
#[utoipa::path(tag = "audit", params(Wanted),
    responses((status = 200, body = List<Line>), (status = 401), (status = 403), (status = 422)))]
#[get("/audit")]
async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    SignedIn(actor): SignedIn,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted.into_inner();
    let limit = limit(wanted.limit)?;
    let before = seal.start(LIST, wanted.cursor.as_deref())?.map(AuditId);
    let rows = service::list(&ctx, &actor, &wanted.filter(), before, limit + 1).await?;
    let cursor = (&**seal, LIST, |row: &slipway_core::audit::entity::Model| {
        row.id.0
    });
    Ok(HttpResponse::Ok().json(List::page(rows, limit, cursor, Line::from)))
}

/// Who changed what, oldest first, as lines of JSON; `limit` and `cursor` mean nothing here.
#[utoipa::path(tag = "audit", params(Wanted),
    responses((status = 200, body = Line, content_type = "application/x-ndjson"), (status = 401),
    (status = 403)))]
#[get("/audit/export")]
async fn export(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let filter = wanted.into_inner().filter();
    // The first part decides whether they may.
    let first = service::export(&ctx, &actor, &filter, AuditId(0), ROWS).await?;
    let after = first.last().map(|row| row.id);
    let rest = stream::try_unfold(after, move |after| {
        next_part(ctx.clone(), actor.clone(), filter.clone(), after)
    });
    let first = stream::iter([Ok(lines(first))]);
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((
            "Content-Disposition",
            "attachment; filename=\"audit.jsonl\"",
        ))
        .streaming(first.chain(rest)))
}

type Part = Option<(Bytes, Option<AuditId>)>;

/// The next part, and where the one after it begins.
async fn next_part(
    ctx: Data<Ctx>,
    actor: Actor,
    filter: Filter,
    after: Option<AuditId>,
) -> Result<Part, Problem> {
    let Some(after) = after else {
        return Ok(None);
    };
    let rows = service::export(&ctx, &actor, &filter, after, ROWS).await?;
    let last = rows.last().map(|row| row.id);
    Ok(last.map(|last| (lines(rows), Some(last))))
}

fn lines(rows: Vec<slipway_core::audit::entity::Model>) -> Bytes {
    let mut text = String::new();
    for row in rows {
        // Numbers, texts and what was JSON before are JSON.
        text.push_str(&serde_json::to_string(&Line::from(row)).unwrap_or_default());
        text.push('\n');
    }
    text.into()
}
