//! Proving who one is: password, session cookie, API token. There is no actor yet: system-only.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait};
use secrecy::SecretString;

use super::{
    entity::{session, user},
    factor,
    kind::Means,
    second_step::{self, Challenge, Proof},
    session as session_id,
    store::{self, KnownToken, factors},
    throttle, token,
};
use crate::{
    access::{Actor, Credential, Limits, SystemRole, TokenScope},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    settings::LocalSignIn,
};

/// How long a session lasts without use.
pub const SESSION_IDLE: Duration = Duration::minutes(30);
/// How long a session lasts at most.
pub const SESSION_MAX: Duration = Duration::hours(12);
/// How often the last use of a session or token is written down.
const TOUCH_EVERY: Duration = Duration::minutes(1);

/// The form of an e-mail address that two spellings of it share.
#[must_use]
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Where a sign-in came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The peer's address.
    pub address: String,
    /// What the browser calls itself.
    pub user_agent: String,
}

/// A fresh session: the cookie's value is known only here.
#[derive(Debug)]
pub struct SignedIn {
    /// The cookie's value.
    pub cookie: SecretString,
    /// Who signed in.
    pub actor: Actor,
}

/// What came of a right password.
#[derive(Debug)]
pub enum Passed {
    /// A session.
    SignedIn(SignedIn),
    /// The account has a second factor, which is asked for next.
    NeedsFactor(Challenge),
}

/// A sign-in that has been proved.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) user: user::Model,
    pub(super) means: Means,
    pub(super) proof: Option<Proof>,
    pub(super) origin: Origin,
}

/// Signs in. A wrong address and a wrong password take the same time and the same words.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Throttled`] after too many wrong passwords, or
/// [`Error::Busy`] while too many others sign in.
pub async fn sign_in(
    ctx: &Ctx,
    email: &str,
    password: SecretString,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<Passed> {
    let key = email_key(email);
    ctx.addresses.attempt(&origin.address, Instant::now())?;
    throttle::attempt(ctx, &throttled_as(&key), &origin.address, now).await?;
    let user = store::find_user_by_email(ctx.db.reader(), &key).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let matches = ctx.passwords.verify(password, hash).await?;
    let may = |user: &user::Model| user.disabled_at.is_none() && may_use_password(ctx, user);
    let user = user.filter(|user| matches && may(user));
    let user = user.ok_or(Error::Unauthenticated)?;
    ctx.addresses.succeeded(&origin.address);
    throttle::succeeded(ctx, &throttled_as(&key)).await?;
    pass(ctx, user, Means::Password, origin, now).await
}

/// What wrong passwords are counted by. Each kind of attempt has words of its own, so that no address
/// that somebody types can stand for another kind.
#[must_use]
pub fn throttled_as(email_key: &str) -> String {
    format!("password of {email_key}")
}

/// Whether the settings let this account sign in here, and not only at the identity provider.
fn may_use_password(ctx: &Ctx, user: &user::Model) -> bool {
    let rule = ctx.settings.oidc.as_ref().map(|oidc| oidc.local_sign_in);
    rule != Some(LocalSignIn::AdminsOnly) || user.role == SystemRole::Admin
}

/// Goes on with somebody who has proved the first step.
pub(super) async fn pass(
    ctx: &Ctx,
    user: user::Model,
    means: Means,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<Passed> {
    if user.factor_at.is_some() {
        let challenge = second_step::ask(ctx, &user, means, now).await?;
        return Ok(Passed::NeedsFactor(challenge));
    }
    let beginning = Beginning {
        user,
        means,
        proof: None,
        origin,
    };
    Ok(Passed::SignedIn(begin(ctx, &beginning, now).await?))
}

/// Begins a session of somebody who has proved who they are.
pub(super) async fn begin(
    ctx: &Ctx,
    beginning: &Beginning,
    now: DateTime<Utc>,
) -> Result<SignedIn> {
    let tx = ctx.db.begin().await?;
    let signed_in = begin_in(ctx, &tx, beginning, now).await?;
    tx.commit().await?;
    Ok(signed_in)
}

/// The same in a transaction; uses the second factor's proof up.
pub(super) async fn begin_in(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    beginning: &Beginning,
    now: DateTime<Utc>,
) -> Result<SignedIn> {
    let Beginning {
        user,
        means,
        proof,
        origin,
    } = beginning;
    hold_unchanged(tx, user, *means).await?;
    let new = session_id::generate()?;
    let session = store::insert_session(
        tx,
        session::ActiveModel {
            user_id: Set(user.id),
            token_hash: Set(new.hash),
            address: Set(origin.address.clone()),
            user_agent: Set(origin.user_agent.chars().take(200).collect()),
            created_at: Set(now),
            seen_at: Set(now),
            expires_at: Set(now + SESSION_MAX),
            ..session::ActiveModel::default()
        },
    )
    .await?;
    store::prune_sessions(tx, now).await?;
    let credential = Credential::Session(session);
    let actor = actor(user.clone(), credential, origin.address.clone());
    let entry = Entry::by(&actor, Action::SignIn, now);
    if let Some(proof) = proof {
        second_step::consume(ctx, tx, user, (proof, entry.clone())).await?;
    }
    let entry = entry
        .on(ObjectKind::Session, session.0, &actor.email)
        .after(&serde_json::json!({
            "user_agent": origin.user_agent,
            "means": means,
            "second_factor": proof.as_ref().map(Proof::name),
        }));
    ctx.audit.record(tx, &entry).await?;
    Ok(SignedIn {
        cookie: new.plain,
        actor,
    })
}

/// Holds an account that was proved, and refuses it when what was proved does not hold any more: while
/// a password was compared, somebody may have changed it, or switched a second factor on.
pub(super) async fn hold_unchanged(
    tx: &impl ConnectionTrait,
    user: &user::Model,
    means: Means,
) -> Result<()> {
    factors::lock(tx, user.id).await?;
    let current = store::find_user(tx, user.id).await?;
    let is_unchanged = current.is_some_and(|current| {
        let is_same_password = current.password_hash == user.password_hash;
        current.disabled_at.is_none()
            && current.factor_at == user.factor_at
            && (means != Means::Password || is_same_password)
    });
    is_unchanged.then_some(()).ok_or(Error::Unauthenticated)
}

fn actor(user: user::Model, credential: Credential, address: String) -> Actor {
    Actor {
        limits: None,
        address,
        user: user.id,
        email: user.email,
        name: user.name,
        role: user.role,
        credential,
    }
}

/// Who a session cookie belongs to.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is unknown, ended, too old, or its account is disabled;
/// [`Error::FactorRequired`] when the account has to switch a second factor on first.
pub async fn by_session(ctx: &Ctx, cookie: &str, now: DateTime<Utc>) -> Result<Actor> {
    let (user, session) = owner(ctx, cookie, now).await?;
    if factor::is_lacking(ctx.settings.security.require_second_factor, &user) {
        return Err(Error::FactorRequired);
    }
    Ok(actor(user, session, String::new()))
}

/// The same for the little that somebody may do who has to switch a second factor on first.
///
/// # Errors
/// [`Error::Unauthenticated`].
pub async fn by_session_to_enrol(ctx: &Ctx, cookie: &str, now: DateTime<Utc>) -> Result<Actor> {
    let (user, session) = owner(ctx, cookie, now).await?;
    Ok(actor(user, session, String::new()))
}

async fn owner(ctx: &Ctx, cookie: &str, now: DateTime<Utc>) -> Result<(user::Model, Credential)> {
    let hash = session_id::parse_and_hash(cookie).ok_or(Error::Unauthenticated)?;
    let found = store::find_session(ctx.db.reader(), &hash).await?;
    let (session, user) = found.ok_or(Error::Unauthenticated)?;
    let is_live = session.expires_at > now && session.seen_at + SESSION_IDLE > now;
    if !is_live || user.disabled_at.is_some() {
        return Err(Error::Unauthenticated);
    }
    if session.seen_at + TOUCH_EVERY < now {
        store::touch_session(ctx.db.writer(), session.id, now).await?;
    }
    Ok((user, Credential::Session(session.id)))
}

/// The limits of a token as they are stored. What cannot be read gives nothing.
#[must_use]
pub fn limits(scopes: &str, projects: Option<&str>) -> Limits {
    let scopes = scopes.split(' ').filter_map(TokenScope::from_name);
    let projects = projects.map(|text| serde_json::from_str(text).unwrap_or_default());
    Limits {
        scopes: scopes.collect(),
        projects,
    }
}

/// An API token that came with a request, not looked up yet.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// What is stored of the token.
    pub hash: String,
    /// Where the request came from.
    pub address: String,
}

impl Bearer {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it cannot be one.
    pub fn new(plain: &str, address: String) -> Result<Self> {
        let hash = token::parse_and_hash(plain).ok_or(Error::Unauthenticated)?;
        Ok(Self { hash, address })
    }
}

/// Whether it need not be written down again that a token is used.
pub(crate) fn is_use_noted(known: &KnownToken, now: DateTime<Utc>) -> bool {
    known.used_at.is_some_and(|used| used + TOUCH_EVERY >= now)
}

/// Who an API token belongs to.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is unknown, expired, or its account is disabled.
pub async fn by_token(ctx: &Ctx, bearer: &Bearer, now: DateTime<Utc>) -> Result<Actor> {
    let known = ctx.tokens.ask(bearer.hash.clone()).await?;
    token_owner(ctx, bearer, known, now).await
}

/// The same for a token that has been looked up.
pub(crate) async fn token_owner(
    ctx: &Ctx,
    bearer: &Bearer,
    known: Option<KnownToken>,
    now: DateTime<Utc>,
) -> Result<Actor> {
    let known = known.ok_or(Error::Unauthenticated)?;
    let expired = known.expires_at.is_some_and(|end| end <= now);
    if expired || known.disabled_at.is_some() {
        return Err(Error::Unauthenticated);
    }
    if !is_use_noted(&known, now) {
        store::touch_token(ctx.db.writer(), known.id, now).await?;
    }
    let limits = limits(&known.scopes, known.projects.as_deref());
    Ok(Actor {
        limits: Some(limits)
            .filter(|limits| !limits.is_none())
            .map(Arc::new),
        address: bearer.address.clone(),
        user: known.user_id,
        email: known.email,
        name: known.name,
        role: known.role,
        credential: Credential::Token(known.id),
    })
}
