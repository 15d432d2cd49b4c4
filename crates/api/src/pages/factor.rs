//! One's own second factor: on, off, and its recovery codes.

use actix_web::{HttpResponse, web::Data};
use askama::Template;
use qrcodegen::{QrCode, QrCodeEcc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use slipway_core::{
    account::service::factor::{self, FactorState, Proofs},
    ctx::Ctx,
    db,
};

use super::{
    frame::{Frame, Section, html, see_other},
    moment::Moment,
    table::Pages,
    visitor::{Sent, Visitor},
};
use crate::error::Problem;

pub(super) const HOME: &str = "/account/second-factor";
/// Modules that must stay white around a QR code.
const QUIET: i32 = 4;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/account/second-factor", show)
        .post("/account/second-factor", start)
        .post("/account/second-factor/confirm", confirm)
        .post("/account/second-factor/codes", renew)
        .post("/account/second-factor/disable", disable);
}

#[derive(Template)]
#[template(path = "factor.html")]
struct FactorPage {
    frame: Frame,
    since: Option<Moment>,
    codes_left: u64,
    is_required: bool,
    has_password: bool,
    shown: Shown,
    error: Option<String>,
}

/// What is shown this once, if anything.
enum Shown {
    Nothing,
    /// A secret that waits for its first code.
    Secret {
        text: String,
        code: Picture,
    },
    /// A secret was shown, and the first code of it was wrong.
    Waiting,
    Codes(Vec<String>),
}

/// A QR code as the path of an SVG.
struct Picture {
    size: i32,
    path: String,
}

impl Picture {
    fn new(text: &SecretString) -> Result<Self, Problem> {
        let code = QrCode::encode_text(text.expose_secret(), QrCodeEcc::Medium)
            .map_err(|error| db::broken(format!("drawing a QR code: {error}")))?;
        let mut path = String::new();
        for y in 0..code.size() {
            for x in 0..code.size() {
                if code.get_module(x, y) {
                    path.push_str(&format!("M{},{}h1v1h-1z", x + QUIET, y + QUIET));
                }
            }
        }
        Ok(Self {
            size: code.size() + 2 * QUIET,
            path,
        })
    }
}

async fn show(ctx: Data<Ctx>, visitor: Visitor) -> Result<HttpResponse, Problem> {
    page(&ctx, &visitor, Shown::Nothing, None).await
}

async fn page(
    ctx: &Ctx,
    visitor: &Visitor,
    shown: Shown,
    refused: Option<Problem>,
) -> Result<HttpResponse, Problem> {
    let FactorState {
        since,
        codes_left,
        is_required,
        has_password,
    } = factor::state(ctx, &visitor.actor).await?;
    let answer = refused
        .as_ref()
        .map_or_else(HttpResponse::Ok, Problem::builder);
    let page = FactorPage {
        frame: Frame::of(visitor, Section::Account),
        since: since.map(|at| Moment::new(at, db::now())),
        codes_left,
        is_required,
        has_password,
        shown,
        error: refused.map(|problem| problem.detail().to_owned()),
    };
    html(answer, &page)
}

/// Shows the page again with what was wrong.
async fn refused(
    ctx: &Ctx,
    visitor: &Visitor,
    shown: Shown,
    problem: Problem,
) -> Result<HttpResponse, Problem> {
    if problem.is_about_input() {
        page(ctx, visitor, shown, Some(problem)).await
    } else {
        Err(problem)
    }
}

fn texts(codes: &[SecretString]) -> Shown {
    let text = |code: &SecretString| code.expose_secret().to_owned();
    Shown::Codes(codes.iter().map(text).collect())
}

#[derive(Debug, Deserialize)]
struct StartForm {
    #[serde(default)]
    password: SecretString,
}

async fn start(ctx: Data<Ctx>, sent: Sent<StartForm>) -> Result<HttpResponse, Problem> {
    let Sent { visitor, fields } = sent;
    match factor::start(&ctx, &visitor.actor, fields.password, db::now()).await {
        Ok(made) => {
            let shown = Shown::Secret {
                text: grouped(made.secret.expose_secret()),
                code: Picture::new(&made.uri)?,
            };
            page(&ctx, &visitor, shown, None).await
        }
        Err(error) => refused(&ctx, &visitor, Shown::Nothing, error.into()).await,
    }
}

/// Four letters at a time are easier to type.
fn grouped(secret: &str) -> String {
    let mut text = String::new();
    for (index, letter) in secret.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            text.push(' ');
        }
        text.push(letter);
    }
    text
}

#[derive(Debug, Deserialize)]
struct ConfirmForm {
    code: SecretString,
}

async fn confirm(ctx: Data<Ctx>, sent: Sent<ConfirmForm>) -> Result<HttpResponse, Problem> {
    let Sent { visitor, fields } = sent;
    match factor::confirm(&ctx, &visitor.actor, &fields.code, db::now()).await {
        Ok(codes) => page(&ctx, &visitor, texts(&codes), None).await,
        Err(error) => refused(&ctx, &visitor, Shown::Waiting, error.into()).await,
    }
}

#[derive(Debug, Deserialize)]
struct ProofForm {
    #[serde(default)]
    password: SecretString,
    code: SecretString,
}

impl From<ProofForm> for Proofs {
    fn from(form: ProofForm) -> Self {
        Self {
            password: form.password,
            code: form.code,
        }
    }
}

async fn renew(ctx: Data<Ctx>, sent: Sent<ProofForm>) -> Result<HttpResponse, Problem> {
    let Sent { visitor, fields } = sent;
    match factor::renew_codes(&ctx, &visitor.actor, fields.into(), db::now()).await {
        Ok(codes) => page(&ctx, &visitor, texts(&codes), None).await,
        Err(error) => refused(&ctx, &visitor, Shown::Nothing, error.into()).await,
    }
}

async fn disable(ctx: Data<Ctx>, sent: Sent<ProofForm>) -> Result<HttpResponse, Problem> {
    let Sent { visitor, fields } = sent;
    match factor::disable(&ctx, &visitor.actor, fields.into(), db::now()).await {
        Ok(()) => Ok(see_other(HOME)),
        Err(error) => refused(&ctx, &visitor, Shown::Nothing, error.into()).await,
    }
}
