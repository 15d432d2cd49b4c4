//! Requests to deploy that come with an API token.
//!
//! Most requests are a machine's. Who it is and where it wants to deploy are looked up together; what
//! it may do is decided as for everybody else.

use super::{
    detail::Detail,
    request::DeployInput,
    service::request_in,
    store::scene::{Asker, Question},
};
use crate::{
    account::sign_in::{Bearer, token_owner},
    ctx::Ctx,
    db,
    error::Result,
};

/// Asks for a deployment as [`super::service::request`] does.
///
/// # Errors
/// [`crate::error::Error::Unauthenticated`], and what that answers.
pub async fn request(
    ctx: &Ctx,
    bearer: &Bearer,
    project: &str,
    input: DeployInput,
) -> Result<Detail> {
    let question = Question {
        asker: Asker::Token(bearer.hash.clone()),
        project: project.to_owned(),
        target: input.target.clone(),
    };
    let known = ctx.batches.scenes.ask(question).await?;
    let actor = token_owner(ctx, bearer, known.token, db::now()).await?;
    request_in(ctx, &actor, known.scene, input).await
}
