//! Accounts, for Admins.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use askama::Template;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use slipway_core::{
    access::SystemRole,
    account::{
        self,
        entity::user,
        kind::UserKind,
        service::{
            Invitee, UserChange, factor,
            passwords::{self, Link},
        },
    },
    ctx::Ctx,
    db,
    error::Error,
    field::Problems,
    id::UserId,
};

use super::{
    frame::{Frame, Section, html, see_other},
    table::Pages,
    visitor::{Button, Sent, Visitor},
};
use crate::{error::Problem, json::users::link_url, seal::Seal};

/// Rows of the page.
const PAGE: usize = 50;
const LIST: &str = "users-page";
const HOME: &str = "/users";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/users", show)
        .post("/users", create)
        .post("/users/{id}", change)
        .post("/users/{id}/password-link", make_link)
        .post("/users/{id}/remove-factor", remove_factor);
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    rows: Vec<Row>,
    roles: [SystemRole; 4],
    is_first: bool,
    next: Option<String>,
    /// A link to hand over, shown this once, and for whom it is.
    link: Option<(String, String)>,
    error: Option<String>,
}

struct Row {
    id: UserId,
    name: String,
    email: String,
    role: SystemRole,
    state: String,
    is_disabled: bool,
    is_person: bool,
    /// Whether there is a second factor that is not the visitor's own.
    may_remove_factor: bool,
}

impl Row {
    fn new(row: user::Model, visitor: &Visitor) -> Self {
        let (is_disabled, is_person) = (row.disabled_at.is_some(), row.kind == UserKind::Person);
        let state = match (is_disabled, is_person) {
            (true, _) => "Disabled",
            (false, false) => "Service",
            (false, true) if row.password_hash.is_empty() => "No password",
            (false, true) => "Active",
        };
        let has_factor = row.factor_at.is_some();
        let factor = if has_factor { ", second factor" } else { "" };
        Self {
            id: row.id,
            state: format!("{state}{factor}"),
            name: row.name,
            email: row.email,
            role: row.role,
            is_disabled,
            is_person,
            may_remove_factor: has_factor && row.id != visitor.actor.user,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    cursor: Option<String>,
}

async fn show(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let after = seal.start(LIST, wanted.cursor.as_deref())?;
    page(&ctx, &seal, (&visitor, after), None, None).await
}

async fn page(
    ctx: &Ctx,
    seal: &Seal,
    (visitor, after): (&Visitor, Option<i64>),
    link: Option<(String, String)>,
    refused: Option<Problem>,
) -> Result<HttpResponse, Problem> {
    let (from, limit) = (UserId(after.unwrap_or_default()), PAGE as u64 + 1);
    let mut rows = account::service::list_users(ctx, &visitor.actor, from, limit).await?;
    let is_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().filter(|_| is_more);
    let next = last.map(|last| seal.cursor(LIST, last.id.0));
    let answer = refused
        .as_ref()
        .map_or_else(HttpResponse::Ok, Problem::builder);
    let page = UsersPage {
        frame: Frame::of(visitor, Section::Users),
        rows: rows.into_iter().map(|row| Row::new(row, visitor)).collect(),
        roles: SystemRole::ALL,
        is_first: after.is_none(),
        next,
        link,
        error: refused.map(|problem| problem.detail().to_owned()),
    };
    html(answer, &page)
}

fn shown(ctx: &Ctx, email: &str, link: &Link) -> (String, String) {
    let code = || format!("/password#{}", link.code.expose_secret());
    (email.to_owned(), link_url(ctx, link).unwrap_or_else(code))
}

#[derive(Debug, Deserialize)]
struct NewForm {
    email: String,
    name: String,
    role: String,
    kind: String,
}

impl NewForm {
    fn read(&self) -> Result<Invitee, Problem> {
        let mut problems = Problems::default();
        let email = problems.parse("email", &self.email);
        let name = problems.parse("name", &self.name);
        let role = SystemRole::from_name(&self.role);
        let role = problems.take("role", role.ok_or_else(|| "is not a role".to_owned()));
        let kind = UserKind::from_name(&self.kind);
        let kind = problems.take("kind", kind.ok_or_else(|| "is not a kind".to_owned()));
        Ok(problems.finish((|| {
            Some(Invitee {
                email: email?,
                name: name?,
                role: role?,
                kind: kind?,
            })
        })())?)
    }
}

async fn create(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    sent: Sent<NewForm>,
) -> Result<HttpResponse, Problem> {
    let visitor = &sent.visitor;
    let made = match sent.fields.read() {
        Ok(new) => {
            let made = account::service::invite_user(&ctx, &visitor.actor, new, db::now()).await;
            made.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok((_, None)) => Ok(see_other(HOME)),
        Ok((row, Some(link))) => {
            let link = Some(shown(&ctx, &row.email, &link));
            page(&ctx, &seal, (visitor, None), link, None).await
        }
        Err(problem) if problem.is_about_input() => {
            page(&ctx, &seal, (visitor, None), None, Some(problem)).await
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Debug, Deserialize)]
struct ChangeForm {
    /// A role, `disable` or `enable`.
    to: String,
}

async fn change(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    sent: Sent<ChangeForm>,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let mut change = UserChange::default();
    match sent.fields.to.as_str() {
        "disable" => change.disabled = Some(true),
        "enable" => change.disabled = Some(false),
        role => {
            let role = SystemRole::from_name(role);
            change.role = Some(role.ok_or_else(|| Error::invalid("to", "is not a role"))?);
        }
    }
    let actor = &sent.visitor.actor;
    let changed = account::service::update_user(&ctx, actor, id.into_inner(), change, db::now());
    match changed.await.map_err(Problem::from) {
        Ok(_) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => {
            page(&ctx, &seal, (&sent.visitor, None), None, Some(problem)).await
        }
        Err(problem) => Err(problem),
    }
}

async fn make_link(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    sent: Sent<Button>,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let (actor, id) = (&sent.visitor.actor, id.into_inner());
    let link = passwords::invite(&ctx, actor, id, db::now()).await?;
    let user = account::service::get_user(&ctx, actor, id).await?;
    let link = Some(shown(&ctx, &user.email, &link));
    page(&ctx, &seal, (&sent.visitor, None), link, None).await
}

async fn remove_factor(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    sent: Sent<Button>,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let removed = factor::remove(&ctx, &sent.visitor.actor, id.into_inner(), db::now()).await;
    match removed.map_err(Problem::from) {
        Ok(()) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => {
            page(&ctx, &seal, (&sent.visitor, None), None, Some(problem)).await
        }
        Err(problem) => Err(problem),
    }
}
