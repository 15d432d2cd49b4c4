//! Requests to deploy that come with an API token.
//!
//! Most requests are a machine's, and come again and again. Who it is and where it wants to deploy
//! are looked up together, and remembered for some seconds: the next one is decided on that, and
//! accepted by a transaction that first makes sure that nothing has changed since, for anybody. If
//! something has, or if there is more to a request than that, it is looked up anew. So nothing is
//! ever refused from memory, and nothing is accepted that would not be accepted at that moment.

use std::time::Instant;

use super::{
    accept::{accept, decide},
    detail::Detail,
    request::DeployInput,
    store::{
        premise::Premise,
        scene::{Asker, Question},
    },
};
use crate::{
    account::sign_in::{Bearer, is_use_noted, token_owner},
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
    if ctx.admission.takes_premises()
        && let Some(premise) = ctx.premises.about(&question, Instant::now())
        && is_use_noted(&premise.token, db::now())
    {
        let actor = token_owner(ctx, bearer, Some(premise.token.clone()), db::now()).await;
        let decided = actor.and_then(|actor| {
            let decided = decide(&actor, Some(premise.scene.clone()), input.clone())?;
            Ok((actor, decided))
        });
        if let Ok((actor, decided)) = decided {
            let decided = decided.resting_on(premise);
            if let Some(detail) = accept(ctx, &actor, decided).await? {
                return Ok(detail);
            }
        }
        ctx.premises.forget(&question);
    }
    let asked_at = Instant::now();
    let known = ctx.batches.scenes.ask(question.clone()).await?;
    let premise = Premise::new(&known, asked_at);
    let actor = token_owner(ctx, bearer, known.token, db::now()).await?;
    let decided = decide(&actor, known.scene, input)?;
    let accepted = accept(ctx, &actor, decided).await?;
    if let Some(premise) = premise {
        ctx.premises.learn(question, premise);
    }
    accepted.ok_or_else(|| db::broken("a request that rests on nothing was not looked at"))
}
