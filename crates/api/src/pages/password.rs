//! Setting a password by a link, and asking for such a link by mail.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Form},
};
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use slipway_core::{
    account::{password::Password, service::passwords},
    ctx::Ctx,
    db,
    error::Error,
};

use super::{
    frame::{Frame, html, see_other},
    table::Pages,
};
use crate::{
    auth::{check_origin, origin},
    error::Problem,
    json::auth::send_link,
    mail::Mailer,
};

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/password", form)
        .post("/password", set)
        .get("/forgot", ask)
        .post("/forgot", send);
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    frame: Frame,
    error: Option<&'a str>,
}

async fn form() -> Result<HttpResponse, Problem> {
    let page = PasswordPage {
        frame: Frame::public(),
        error: None,
    };
    html(HttpResponse::Ok(), &page)
}

#[derive(Debug, Deserialize)]
struct NewPassword {
    code: SecretString,
    password: SecretString,
}

async fn set(
    ctx: Data<Ctx>,
    request: HttpRequest,
    Form(new): Form<NewPassword>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Err(problem) = written(&ctx, &request, new).await else {
        return Ok(see_other("/login"));
    };
    if !problem.is_about_input() {
        return Err(problem);
    }
    let page = PasswordPage {
        frame: Frame::public(),
        error: Some(problem.detail()),
    };
    html(problem.builder(), &page)
}

async fn written(ctx: &Ctx, request: &HttpRequest, new: NewPassword) -> Result<(), Problem> {
    let password = Password::new(new.password);
    let password = password.map_err(|error| Error::invalid("password", error.to_string()))?;
    let code = new.code.expose_secret();
    passwords::set_by_link(ctx, code, password, &origin(request), db::now()).await?;
    Ok(())
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct ForgotPage {
    frame: Frame,
    was_sent: bool,
    has_mail: bool,
}

async fn ask(mailer: Data<Option<Mailer>>) -> Result<HttpResponse, Problem> {
    let page = ForgotPage {
        frame: Frame::public(),
        was_sent: false,
        has_mail: mailer.is_some(),
    };
    html(HttpResponse::Ok(), &page)
}

#[derive(Debug, Deserialize)]
struct Forgotten {
    email: String,
}

async fn send(
    ctx: Data<Ctx>,
    mailer: Data<Option<Mailer>>,
    request: HttpRequest,
    Form(asked): Form<Forgotten>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    send_link(&ctx, &mailer, asked.email, &request)?;
    let page = ForgotPage {
        frame: Frame::public(),
        was_sent: true,
        has_mail: true,
    };
    html(HttpResponse::Ok(), &page)
}
