//! The second step of signing in: what proves it, and that each proof counts once. Whoever comes
//! here has proved the first step, but there is no actor yet: system-only.

use std::time::Instant;

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    entity::{challenge, user},
    factor::{self, Typed},
    kind::Means,
    session as random,
    sign_in::{self, Beginning, Origin, SignedIn},
    store::{self, factors},
    throttle,
};
use crate::{
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    id::UserId,
    vault::sealed::{self, Place},
};

/// How long the second step may take.
pub const LASTS: Duration = Duration::minutes(5);
/// Codes that may be tried for one first step.
pub const ATTEMPTS: i64 = 5;

/// What a sign-in is continued with, known only here.
#[derive(Debug)]
pub struct Challenge {
    /// Proves the first step.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// What showed that somebody has the factor. It is not used up yet.
#[derive(Debug)]
pub(super) enum Proof {
    Step(i64),
    Recovery(String),
}

impl Proof {
    /// How the audit trail calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Step(_) => "authenticator",
            Self::Recovery(_) => "recovery code",
        }
    }
}

/// Where the seed of an account lies: the one in use, or one that is not confirmed yet.
pub(super) fn place(user: UserId, is_confirmed: bool) -> Place<'static> {
    Place {
        purpose: sealed::FACTOR,
        project: None,
        scope: 0,
        owner: user.0,
        name: if is_confirmed { "active" } else { "pending" },
    }
}

/// Asks for the second step after the first.
pub(super) async fn ask(
    ctx: &Ctx,
    user: &user::Model,
    means: Means,
    now: DateTime<Utc>,
) -> Result<Challenge> {
    let (new, expires_at) = (random::generate()?, now + LASTS);
    factors::prune_challenges(ctx.db.writer(), now).await?;
    let tx = ctx.db.begin().await?;
    sign_in::hold_unchanged(&tx, user, means).await?;
    let values = challenge::ActiveModel {
        user_id: Set(user.id),
        token_hash: Set(new.hash),
        means: Set(means),
        attempts: Set(0),
        expires_at: Set(expires_at),
        ..challenge::ActiveModel::default()
    };
    factors::insert_challenge(&tx, values).await?;
    tx.commit().await?;
    Ok(Challenge {
        token: new.plain,
        expires_at,
    })
}

/// Finishes a sign-in with a code of the authenticator, or a recovery code.
///
/// # Errors
/// [`Error::Unauthenticated`] when there is no such sign-in (any more), [`Error::Invalid`] when the
/// code is wrong or was used, [`Error::Throttled`] after too many wrong ones.
pub async fn finish(
    ctx: &Ctx,
    token: &str,
    code: &SecretString,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<SignedIn> {
    ctx.addresses.attempt(&origin.address, Instant::now())?;
    let hash = random::parse_and_hash(token).ok_or(Error::Unauthenticated)?;
    let found = factors::find_challenge(ctx.db.reader(), &hash).await?;
    let found = found.filter(|row| row.expires_at > now && row.attempts < ATTEMPTS);
    let challenge = found.ok_or(Error::Unauthenticated)?;
    let user = store::find_user(ctx.db.reader(), challenge.user_id).await?;
    let user = user.filter(|user| user.disabled_at.is_none() && user.factor_at.is_some());
    let user = user.ok_or(Error::Unauthenticated)?;
    throttle::attempt(ctx, &throttled_as(&user), &origin.address, now).await?;
    if !factors::count_attempt(ctx.db.writer(), challenge.id, ATTEMPTS).await? {
        return Err(Error::Unauthenticated);
    }
    let proof = compare(ctx, &user, code, now).await?;
    let beginning = Beginning {
        user,
        means: challenge.means,
        proof: Some(proof),
        origin,
    };
    let signed_in = crate::db::retried(|| complete(ctx, challenge.id, &beginning, now)).await?;
    ctx.addresses.succeeded(&beginning.origin.address);
    throttle::succeeded(ctx, &throttled_as(&beginning.user)).await?;
    Ok(signed_in)
}

async fn complete(
    ctx: &Ctx,
    challenge: i64,
    beginning: &Beginning,
    now: DateTime<Utc>,
) -> Result<SignedIn> {
    let tx = ctx.db.begin().await?;
    if !factors::take_challenge(&tx, challenge).await? {
        return Err(Error::Unauthenticated);
    }
    let signed_in = sign_in::begin_in(ctx, &tx, beginning, now).await?;
    tx.commit().await?;
    Ok(signed_in)
}

/// Codes are throttled apart from passwords: a right password must not give more tries at a code.
pub(super) fn throttled_as(user: &user::Model) -> String {
    format!("second factor of {}", user.email_key)
}

/// Looks at a code of somebody who is signed in, whose tries are counted too.
pub(super) async fn check(
    ctx: &Ctx,
    user: &user::Model,
    code: &SecretString,
    from: &str,
    now: DateTime<Utc>,
) -> Result<Proof> {
    throttle::attempt(ctx, &throttled_as(user), from, now).await?;
    compare(ctx, user, code, now).await
}

async fn compare(
    ctx: &Ctx,
    user: &user::Model,
    code: &SecretString,
    now: DateTime<Utc>,
) -> Result<Proof> {
    match Typed::read(code) {
        None => Err(wrong()),
        Some(Typed::Recovery(_)) => {
            let hash = factor::recovery_hash(user.id, code).ok_or_else(wrong)?;
            let is_one = factors::has_code(ctx.db.reader(), user.id, &hash).await?;
            is_one.then_some(Proof::Recovery(hash)).ok_or_else(wrong)
        }
        Some(Typed::Digits(digits)) => {
            let place = place(user.id, true);
            let seed = sealed::latest(ctx.db.reader(), &ctx.keys, &place).await?;
            let seed = seed.ok_or_else(|| crate::db::broken("a second factor has no seed"))?;
            let step = factor::step_of(seed.expose(), digits.expose_secret(), now)?;
            let step = step.filter(|step| *step > user.factor_step);
            step.map(Proof::Step).ok_or_else(wrong)
        }
    }
}

/// The same words for a wrong code and for one that was used.
pub(super) fn wrong() -> Error {
    Error::invalid("code", "is wrong, or was used already")
}

/// Uses a proof up, in the transaction of what it is for. Of two who come with it one is refused.
pub(super) async fn consume(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: &user::Model,
    (proof, entry): (&Proof, Entry),
) -> Result<()> {
    let hash = match proof {
        Proof::Step(step) => {
            let is_first = factors::use_step(tx, user.id, *step).await?;
            return is_first.then_some(()).ok_or_else(wrong);
        }
        Proof::Recovery(hash) => hash,
    };
    if !factors::use_code(tx, user.id, hash).await? {
        return Err(wrong());
    }
    let left = factors::count_codes(tx, user.id).await?;
    let entry = entry
        .doing(Action::RecoveryCodeUse)
        .on(ObjectKind::User, user.id.0, &user.email)
        .after(&serde_json::json!({ "codes_left": left }));
    ctx.audit.record(tx, &entry).await
}
