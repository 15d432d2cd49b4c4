//! One channel: where it leads to, and a message to try it. For those who operate Slipway.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use slipway_core::{
    ctx::Ctx,
    db,
    error::Error,
    id::{ChannelId, ProviderId},
    notify::{
        channel::service::{self, ChannelChange, Detail, NewChannel, Trial},
        delivery::state::State,
        provider::{
            Field, Values,
            service::{Choice, choices},
        },
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
    label,
};
use crate::error::Problem;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/notifications/channels/new", new)
        .post("/notifications/channels", create)
        .get("/notifications/channels/{id}", edit)
        .post("/notifications/channels/{id}", change)
        .post("/notifications/channels/{id}/test", test)
        .post("/notifications/channels/{id}/delete", delete);
}

#[derive(Template)]
#[template(path = "notify/channel.html")]
struct ChannelPage {
    frame: Frame,
    /// None for one that is being made.
    id: Option<ChannelId>,
    /// The providers that it can be one of; only while it is being made.
    providers: Vec<Choice>,
    /// The one that it is of.
    provider: Option<(ProviderId, String)>,
    service: String,
    name: String,
    is_on: bool,
    inputs: Vec<Input>,
    tried: Option<Tried>,
    error: Option<String>,
}

/// What became of a message that was sent to try the channel.
struct Tried {
    is_good: bool,
    answer: String,
}

impl From<Trial> for Tried {
    fn from(trial: Trial) -> Self {
        Self {
            is_good: trial.state == State::Delivered,
            answer: trial.answer,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    provider: String,
}

fn fields(ctx: &Ctx, kind: &str) -> &'static [Field] {
    let service = ctx.providers.get(kind);
    service.map_or(&[][..], |service| service.channel_fields())
}

async fn new(
    ctx: Data<Ctx>,
    visitor: Visitor,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    blank(&ctx, &visitor, &wanted.provider, None).await
}

async fn blank(
    ctx: &Ctx,
    visitor: &Visitor,
    provider: &str,
    refused: Option<(&Fields, &Problem)>,
) -> Result<HttpResponse, Problem> {
    let providers = choices(ctx, &visitor.actor).await?;
    let chosen = provider.parse::<ProviderId>().ok();
    let chosen = providers.iter().find(|it| Some(it.id) == chosen);
    let typed = refused.map(|(typed, _)| typed);
    let page = ChannelPage {
        frame: Frame::of(visitor, Section::Notifications),
        id: None,
        provider: chosen.map(|it| (it.id, it.name.clone())),
        service: chosen.map_or(String::new(), |it| label(ctx, &it.kind)),
        name: typed.map_or(String::new(), |typed| form::text(typed, "name").to_owned()),
        is_on: true,
        inputs: chosen.map_or(Vec::new(), |it| {
            form::inputs(fields(ctx, &it.kind), &Values::default(), &[], typed)
        }),
        tried: None,
        error: refused.map(|(_, problem)| problem.detail().to_owned()),
        providers,
    };
    let answer = refused.map(|(_, problem)| problem.builder());
    html(answer.unwrap_or_else(HttpResponse::Ok), &page)
}

async fn create(ctx: Data<Ctx>, sent: Sent<Fields>) -> Result<HttpResponse, Problem> {
    let (visitor, typed) = (&sent.visitor, &sent.fields);
    let provider = form::text(typed, "provider");
    match make(&ctx, visitor, provider, typed)
        .await
        .map_err(Problem::from)
    {
        Ok(made) => Ok(see_other(format!("{HOME}/channels/{}", made.row.id))),
        Err(problem) if problem.is_about_input() => {
            blank(&ctx, visitor, provider, Some((typed, &problem))).await
        }
        Err(problem) => Err(problem),
    }
}

async fn make(
    ctx: &Ctx,
    visitor: &Visitor,
    provider: &str,
    typed: &Fields,
) -> Result<Detail, Error> {
    let actor = &visitor.actor;
    let of = choices(ctx, actor).await?;
    let of = of.iter().find(|it| it.id.to_string() == provider);
    let of = of.ok_or_else(|| Error::invalid("provider", "there is no such provider"))?;
    let input = NewChannel {
        provider: of.id,
        name: form::name(typed)?,
        settings: form::values(fields(ctx, &of.kind), typed),
    };
    service::create(ctx, actor, input, db::now()).await
}

async fn edit(
    ctx: Data<Ctx>,
    visitor: Visitor,
    id: Path<ChannelId>,
) -> Result<HttpResponse, Problem> {
    let known = service::get(&ctx, &visitor.actor, id.into_inner()).await?;
    filled(&ctx, &visitor, &known, None, None)
}

fn filled(
    ctx: &Ctx,
    visitor: &Visitor,
    known: &Detail,
    tried: Option<Tried>,
    refused: Option<(&Fields, &Problem)>,
) -> Result<HttpResponse, Problem> {
    let typed = refused.map(|(typed, _)| typed);
    let fields = fields(ctx, &known.kind);
    let page = ChannelPage {
        frame: Frame::of(visitor, Section::Notifications),
        id: Some(known.row.id),
        providers: Vec::new(),
        provider: Some((known.row.provider_id, known.provider.clone())),
        service: label(ctx, &known.kind),
        name: known.row.name.clone(),
        is_on: !known.row.disabled,
        inputs: form::inputs(fields, &known.settings, &known.secrets, typed),
        tried,
        error: refused.map(|(_, problem)| problem.detail().to_owned()),
    };
    let answer = refused.map(|(_, problem)| problem.builder());
    html(answer.unwrap_or_else(HttpResponse::Ok), &page)
}

async fn change(
    ctx: Data<Ctx>,
    sent: Sent<Fields>,
    id: Path<ChannelId>,
) -> Result<HttpResponse, Problem> {
    let (visitor, typed) = (&sent.visitor, &sent.fields);
    let known = service::get(&ctx, &visitor.actor, id.into_inner()).await?;
    let changed = match form::name(typed) {
        Ok(name) => {
            let change = ChannelChange {
                name: Some(name),
                disabled: Some(!typed.contains_key("on")),
                settings: Some(form::values(fields(&ctx, &known.kind), typed)),
            };
            service::update(&ctx, &visitor.actor, known.row.id, change, db::now()).await
        }
        Err(error) => Err(error),
    };
    match changed.map_err(Problem::from) {
        Ok(_) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => {
            filled(&ctx, visitor, &known, None, Some((typed, &problem)))
        }
        Err(problem) => Err(problem),
    }
}

async fn test(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<ChannelId>,
) -> Result<HttpResponse, Problem> {
    let (visitor, id) = (&sent.visitor, id.into_inner());
    let tried = service::test(&ctx, &visitor.actor, id, db::now()).await;
    let known = service::get(&ctx, &visitor.actor, id).await?;
    match tried.map_err(Problem::from) {
        Ok(trial) => filled(&ctx, visitor, &known, Some(trial.into()), None),
        Err(problem) if problem.is_about_input() => filled(
            &ctx,
            visitor,
            &known,
            None,
            Some((&Fields::new(), &problem)),
        ),
        Err(problem) => Err(problem),
    }
}

async fn delete(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<ChannelId>,
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
                None,
                Some((&Fields::new(), &problem)),
            )
        }
        Err(problem) => Err(problem),
    }
}
