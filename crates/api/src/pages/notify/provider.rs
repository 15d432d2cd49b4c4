//! One provider: what it is made of. For Admins.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    db,
    error::Error,
    id::ProviderId,
    notify::provider::{
        Provider, Values,
        service::{self, Detail, NewProvider, ProviderChange},
    },
};

use super::{
    super::{
        frame::{Frame, Section, html, see_other},
        table::Pages,
        visitor::{Button, Sent, Visitor},
    },
    HOME,
    form::{self, Fields, Input},
};
use crate::error::Problem;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/notifications/providers/new", new)
        .post("/notifications/providers", create)
        .get("/notifications/providers/{id}", edit)
        .post("/notifications/providers/{id}", change)
        .post("/notifications/providers/{id}/delete", delete);
}

#[derive(Template)]
#[template(path = "notify/provider.html")]
struct ProviderPage {
    frame: Frame,
    /// None for one that is being made.
    id: Option<ProviderId>,
    kind: String,
    service: &'static str,
    name: String,
    is_on: bool,
    inputs: Vec<Input>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    kind: String,
}

fn of<'a>(ctx: &'a Ctx, kind: &str) -> Result<&'a dyn Provider, Problem> {
    let service = ctx.providers.get(kind).map(AsRef::as_ref);
    Ok(service.ok_or(Error::NotFound("kind of provider"))?)
}

async fn new(
    ctx: Data<Ctx>,
    visitor: Visitor,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    visitor.actor.require(Permission::Administer, None)?;
    blank(&ctx, &visitor, &wanted.kind, None)
}

fn blank(
    ctx: &Ctx,
    visitor: &Visitor,
    kind: &str,
    refused: Option<(&Fields, &Problem)>,
) -> Result<HttpResponse, Problem> {
    let service = of(ctx, kind)?;
    let typed = refused.map(|(typed, _)| typed);
    let page = ProviderPage {
        frame: Frame::of(visitor, Section::Notifications),
        id: None,
        kind: kind.to_owned(),
        service: service.label(),
        name: typed.map_or(String::new(), |typed| form::text(typed, "name").to_owned()),
        is_on: true,
        inputs: form::inputs(service.provider_fields(), &Values::default(), &[], typed),
        error: refused.map(|(_, problem)| problem.detail().to_owned()),
    };
    let answer = refused.map(|(_, problem)| problem.builder());
    html(answer.unwrap_or_else(HttpResponse::Ok), &page)
}

async fn create(ctx: Data<Ctx>, sent: Sent<Fields>) -> Result<HttpResponse, Problem> {
    let (visitor, fields) = (&sent.visitor, &sent.fields);
    visitor.actor.require(Permission::Administer, None)?;
    let kind = form::text(fields, "kind");
    let made = match form::name(fields) {
        Ok(name) => {
            let input = NewProvider {
                name,
                kind: kind.to_owned(),
                settings: form::values(of(&ctx, kind)?.provider_fields(), fields),
            };
            service::create(&ctx, &visitor.actor, input, db::now()).await
        }
        Err(error) => Err(error),
    };
    match made.map_err(Problem::from) {
        Ok(_) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => {
            blank(&ctx, visitor, kind, Some((fields, &problem)))
        }
        Err(problem) => Err(problem),
    }
}

async fn edit(
    ctx: Data<Ctx>,
    visitor: Visitor,
    id: Path<ProviderId>,
) -> Result<HttpResponse, Problem> {
    let known = service::get(&ctx, &visitor.actor, id.into_inner()).await?;
    filled(&ctx, &visitor, &known, None)
}

fn filled(
    ctx: &Ctx,
    visitor: &Visitor,
    known: &Detail,
    refused: Option<(&Fields, &Problem)>,
) -> Result<HttpResponse, Problem> {
    let service = of(ctx, &known.row.kind)?;
    let typed = refused.map(|(typed, _)| typed);
    let fields = service.provider_fields();
    let page = ProviderPage {
        frame: Frame::of(visitor, Section::Notifications),
        id: Some(known.row.id),
        kind: known.row.kind.clone(),
        service: service.label(),
        name: known.row.name.clone(),
        is_on: !known.row.disabled,
        inputs: form::inputs(fields, &known.settings, &known.secrets, typed),
        error: refused.map(|(_, problem)| problem.detail().to_owned()),
    };
    let answer = refused.map(|(_, problem)| problem.builder());
    html(answer.unwrap_or_else(HttpResponse::Ok), &page)
}

async fn change(
    ctx: Data<Ctx>,
    sent: Sent<Fields>,
    id: Path<ProviderId>,
) -> Result<HttpResponse, Problem> {
    let (visitor, fields) = (&sent.visitor, &sent.fields);
    let known = service::get(&ctx, &visitor.actor, id.into_inner()).await?;
    let changed = match form::name(fields) {
        Ok(name) => {
            let of_service = of(&ctx, &known.row.kind)?.provider_fields();
            let change = ProviderChange {
                name: Some(name),
                disabled: Some(!fields.contains_key("on")),
                settings: Some(form::values(of_service, fields)),
            };
            service::update(&ctx, &visitor.actor, known.row.id, change, db::now()).await
        }
        Err(error) => Err(error),
    };
    match changed.map_err(Problem::from) {
        Ok(_) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => {
            filled(&ctx, visitor, &known, Some((fields, &problem)))
        }
        Err(problem) => Err(problem),
    }
}

async fn delete(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<ProviderId>,
) -> Result<HttpResponse, Problem> {
    let (actor, id) = (&sent.visitor.actor, id.into_inner());
    match service::delete(&ctx, actor, id)
        .await
        .map_err(Problem::from)
    {
        Ok(()) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => {
            let known = service::get(&ctx, actor, id).await?;
            filled(
                &ctx,
                &sent.visitor,
                &known,
                Some((&Fields::new(), &problem)),
            )
        }
        Err(problem) => Err(problem),
    }
}
