//! One's own account: name, password, sessions and tokens.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use askama::Template;
use chrono::{TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use slipway_core::{
    access::{Credential, Limits, TokenScope},
    account::{
        self,
        entity::{api_token, session},
        password::Password,
        service::{
            UserChange, factor, passwords,
            tokens::{self, NewToken},
        },
        sign_in,
    },
    ctx::Ctx,
    db,
    error::Error,
    field::Problems,
    id::{SessionId, TokenId},
};

use super::{
    frame::{Frame, Section, html, see_other},
    moment::Moment,
    table::Pages,
    visitor::{Button, Sent, Visitor},
};
use crate::{
    auth::{cookie, origin},
    error::Problem,
};

const HOME: &str = "/account";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/account", show)
        .post("/account/name", rename)
        .post("/account/password", change_password)
        .post("/account/tokens", make_token)
        .post("/account/tokens/{id}/revoke", revoke_token)
        .post("/account/sessions/{id}/end", end_session);
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    name: String,
    email: String,
    tokens: Vec<TokenRow>,
    sessions: Vec<SessionRow>,
    factor_since: Option<Moment>,
    /// A token's text, shown this once.
    made: Option<String>,
    error: Option<String>,
}

struct TokenRow {
    id: TokenId,
    name: String,
    hint: String,
    good_for: String,
    used: Option<Moment>,
    expires: Option<Moment>,
}

impl TokenRow {
    fn new(row: api_token::Model) -> Self {
        let now = Utc::now();
        let limits = sign_in::limits(&row.scopes, row.projects.as_deref());
        let scopes: Vec<&str> = limits.scopes.iter().map(|scope| scope.as_str()).collect();
        let only = limits
            .projects
            .map(|only| format!(", {} project(s) only", only.len()));
        Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            good_for: format!("{}{}", scopes.join(", "), only.unwrap_or_default()),
            used: row.used_at.map(|at| Moment::new(at, now)),
            expires: row.expires_at.map(|at| Moment::new(at, now)),
        }
    }
}

struct SessionRow {
    id: SessionId,
    address: String,
    agent: String,
    seen: Moment,
    is_current: bool,
}

impl SessionRow {
    fn new(row: session::Model, credential: Credential) -> Self {
        Self {
            is_current: credential == Credential::Session(row.id),
            id: row.id,
            address: row.address,
            agent: row.user_agent,
            seen: Moment::new(row.seen_at, Utc::now()),
        }
    }
}

async fn show(ctx: Data<Ctx>, visitor: Visitor) -> Result<HttpResponse, Problem> {
    page(&ctx, &visitor, None, None).await
}

async fn page(
    ctx: &Ctx,
    visitor: &Visitor,
    made: Option<String>,
    refused: Option<Problem>,
) -> Result<HttpResponse, Problem> {
    let actor = &visitor.actor;
    let sessions = account::service::sessions(ctx, actor).await?;
    let tokens = tokens::list(ctx, actor, None).await?;
    let factor = factor::state(ctx, actor).await?;
    let row = |session| SessionRow::new(session, actor.credential);
    let answer = refused
        .as_ref()
        .map_or_else(HttpResponse::Ok, Problem::builder);
    let page = AccountPage {
        frame: Frame::of(visitor, Section::Account),
        name: actor.name.clone(),
        email: actor.email.clone(),
        tokens: tokens.into_iter().map(TokenRow::new).collect(),
        sessions: sessions.into_iter().map(row).collect(),
        factor_since: factor.since.map(|at| Moment::new(at, Utc::now())),
        made,
        error: refused.map(|problem| problem.detail().to_owned()),
    };
    html(answer, &page)
}

/// Shows the page again with what was wrong, or goes on.
async fn done(
    ctx: &Ctx,
    visitor: &Visitor,
    outcome: Result<(), Problem>,
) -> Result<HttpResponse, Problem> {
    match outcome {
        Ok(()) => Ok(see_other(HOME)),
        Err(problem) if problem.is_about_input() => page(ctx, visitor, None, Some(problem)).await,
        Err(problem) => Err(problem),
    }
}

#[derive(Debug, Deserialize)]
struct NameForm {
    name: String,
}

async fn rename(ctx: Data<Ctx>, sent: Sent<NameForm>) -> Result<HttpResponse, Problem> {
    let outcome = renamed(&ctx, &sent).await;
    done(&ctx, &sent.visitor, outcome).await
}

async fn renamed(ctx: &Ctx, sent: &Sent<NameForm>) -> Result<(), Problem> {
    let mut problems = Problems::default();
    let name = problems.parse("name", &sent.fields.name);
    let change = UserChange {
        name: Some(problems.finish(name)?),
        ..UserChange::default()
    };
    let actor = &sent.visitor.actor;
    account::service::update_user(ctx, actor, actor.user, change, db::now()).await?;
    Ok(())
}

#[derive(Debug, Deserialize)]
struct PasswordForm {
    current: SecretString,
    password: SecretString,
}

async fn change_password(
    ctx: Data<Ctx>,
    request: HttpRequest,
    sent: Sent<PasswordForm>,
) -> Result<HttpResponse, Problem> {
    let Sent { visitor, fields } = sent;
    let new = Password::new(fields.password);
    let new = new.map_err(|error| Problem::from(Error::invalid("password", error.to_string())));
    let outcome = match new {
        Ok(new) => {
            let (change, origin) = ((fields.current, new), origin(&request));
            let changed = passwords::change(&ctx, &visitor.actor, change, origin, db::now()).await;
            changed.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let signed_in = match outcome {
        Ok(signed_in) => signed_in,
        Err(problem) => return done(&ctx, &visitor, Err(problem)).await,
    };
    let mut answer = see_other(HOME);
    if let Some(signed_in) = signed_in {
        answer
            .add_cookie(&cookie(&ctx, &signed_in.cookie))
            .map_err(|error| db::broken(error.to_string()))?;
    }
    Ok(answer)
}

#[derive(Debug, Deserialize)]
struct TokenForm {
    name: String,
    scope: String,
    days: String,
}

impl TokenForm {
    fn read(&self) -> Result<NewToken, Problem> {
        let mut problems = Problems::default();
        let name = problems.parse("name", &self.name);
        let scope = TokenScope::from_name(&self.scope);
        let scope = problems.take("scope", scope.ok_or_else(|| "is not a scope".to_owned()));
        let days = self
            .days
            .parse()
            .ok()
            .filter(|days| (1..=3_650).contains(days));
        let days = days.ok_or_else(|| "must be 1 to 3650".to_owned());
        let days: Option<i64> = problems.take("days", days);
        Ok(problems.finish((|| {
            Some(NewToken {
                name: name?,
                expires_at: Some(db::now() + TimeDelta::days(days?)),
                limits: Limits {
                    scopes: vec![scope?],
                    projects: None,
                },
            })
        })())?)
    }
}

async fn make_token(ctx: Data<Ctx>, sent: Sent<TokenForm>) -> Result<HttpResponse, Problem> {
    let (actor, new) = (&sent.visitor.actor, sent.fields.read());
    let made = match new {
        Ok(new) => tokens::create(&ctx, actor, None, new, db::now()).await?,
        Err(problem) => return done(&ctx, &sent.visitor, Err(problem)).await,
    };
    // Shown here and nowhere else, so there is no page to be sent on to.
    let text = made.1.expose_secret().to_owned();
    page(&ctx, &sent.visitor, Some(text), None).await
}

async fn revoke_token(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<TokenId>,
) -> Result<HttpResponse, Problem> {
    tokens::revoke(&ctx, &sent.visitor.actor, None, id.into_inner()).await?;
    Ok(see_other(HOME))
}

async fn end_session(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<SessionId>,
) -> Result<HttpResponse, Problem> {
    account::service::end_session(&ctx, &sent.visitor.actor, id.into_inner()).await?;
    Ok(see_other(HOME))
}
