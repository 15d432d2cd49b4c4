//! Who asks for a page, and forms that must come from a page made for them.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::Payload,
    http::StatusCode,
    web::{Data, Form},
};
use serde::{Deserialize, de::DeserializeOwned};
use slipway_core::{access::Actor, db};

use crate::{auth::identify, error::Problem, seal::Seal};

/// Somebody who is signed in and looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) actor: Actor,
    pub(super) token: String,
}

impl Visitor {
    /// The visitor of a request.
    ///
    /// # Errors
    /// Nobody is signed in, or a browser was sent here by another site.
    pub(super) async fn identify(request: &HttpRequest) -> Result<Self, Problem> {
        let actor = identify(request).await?;
        let token = seal(request)?.form_token(actor.credential);
        let visitor = Self { actor, token };
        // Should the handler fail, the page about it is for the same visitor.
        request.extensions_mut().insert(visitor.clone());
        Ok(visitor)
    }
}

fn seal(request: &HttpRequest) -> Result<&Seal, Problem> {
    let seal = request.app_data::<Data<Seal>>();
    Ok(seal.ok_or_else(|| db::broken("the server was built without its seal"))?)
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::identify(&request).await })
    }
}

/// A form that somebody sent from one of our pages. There is no way to its fields but through the
/// proof, so no handler can forget to check it.
#[derive(Debug)]
pub(super) struct Sent<T> {
    pub(super) visitor: Visitor,
    pub(super) fields: T,
}

/// A form without fields of its own: a button.
#[derive(Debug, Deserialize)]
pub(super) struct Button {}

#[derive(Debug, Deserialize)]
struct Proved<T> {
    #[serde(default)]
    token: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned + 'static> FromRequest for Sent<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = Form::<Proved<T>>::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let visitor = Visitor::identify(&request).await?;
            let Form(Proved { token, fields }) = form.await?;
            if !seal(&request)?.is_form_token(visitor.actor.credential, &token) {
                return Err(expired().into());
            }
            Ok(Self { visitor, fields })
        })
    }
}

fn expired() -> Problem {
    let detail = "this form is not from your current sign-in; go back, reload the page and send \
                  it again";
    Problem::request(StatusCode::FORBIDDEN, "form_expired", detail)
}
