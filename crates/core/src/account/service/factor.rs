//! Second factors: one's own, and, for an Admin, other people's to remove.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use secrecy::SecretString;

use super::passwords;
use crate::{
    access::{Actor, Credential, Permission},
    account::{
        entity::user,
        factor::{self, Enrolment, Typed},
        kind::UserKind,
        second_step::{self, place},
        store::{self, factors},
        throttle,
    },
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::retried,
    error::{Error, Result},
    id::UserId,
    vault::sealed::{self, Input},
};

/// What there is to know of one's own second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorState {
    /// Since when it is asked for.
    pub since: Option<DateTime<Utc>>,
    /// Recovery codes that were not used yet.
    pub codes_left: u64,
    /// Whether this installation asks the account for one.
    pub is_required: bool,
    /// Whether the account has a password, which changes of the factor ask for.
    pub has_password: bool,
}

/// What proves that it is really the owner who changes their factor.
#[derive(Debug)]
pub struct Proofs {
    /// The account's password, unless it has none.
    pub password: SecretString,
    /// A code of the authenticator, or a recovery code.
    pub code: SecretString,
}

async fn own(ctx: &Ctx, actor: &Actor) -> Result<user::Model> {
    let user = store::find_user(ctx.db.reader(), actor.user).await?;
    let user = user.ok_or(Error::NotFound("user"))?;
    if user.kind == UserKind::Service {
        let message = "a service never signs in, so it has no second factor";
        return Err(Error::conflict("no_password", message));
    }
    Ok(user)
}

fn is_off() -> Error {
    Error::conflict("no_factor", "the account has no second factor")
}

fn is_on() -> Error {
    Error::conflict("factor_on", "the account has a second factor already")
}

/// The actor's own second factor.
///
/// # Errors
/// When the database fails.
pub async fn state(ctx: &Ctx, actor: &Actor) -> Result<FactorState> {
    let user = store::find_user(ctx.db.reader(), actor.user).await?;
    let user = user.ok_or(Error::NotFound("user"))?;
    Ok(FactorState {
        since: user.factor_at,
        codes_left: factors::count_codes(ctx.db.reader(), user.id).await?,
        is_required: factor::is_required(ctx.settings.security.require_second_factor, &user),
        has_password: !user.password_hash.is_empty(),
    })
}

async fn prove_password(
    ctx: &Ctx,
    actor: &Actor,
    user: &user::Model,
    password: SecretString,
    now: DateTime<Utc>,
) -> Result<()> {
    // Somebody of the identity provider has none; what they hold is their session.
    if user.password_hash.is_empty() {
        return Ok(());
    }
    if passwords::is_right(ctx, user, password, &actor.address, now).await? {
        Ok(())
    } else {
        Err(Error::invalid("password", "is not your password"))
    }
}

/// Makes a seed, shown this once.
///
/// Nothing changes until a code of it is confirmed; a new one takes the place of one that was not. It
/// needs the password, so that nobody else's browser is locked out
/// by whoever finds it open.
///
/// # Errors
/// [`Error::Invalid`] when the password is wrong, a conflict when there is a factor already,
/// [`Error::Throttled`], [`Error::TokenLimited`].
pub async fn start(
    ctx: &Ctx,
    actor: &Actor,
    password: SecretString,
    now: DateTime<Utc>,
) -> Result<Enrolment> {
    actor.require_unlimited()?;
    let user = own(ctx, actor).await?;
    if user.factor_at.is_some() {
        return Err(is_on());
    }
    prove_password(ctx, actor, &user, password, now).await?;
    let seed = factor::new_seed()?;
    retried(|| keep_seed(ctx, user.id, (seed.as_slice(), false), now)).await?;
    Enrolment::new(seed.as_slice(), &user.email)
}

async fn keep_seed(
    ctx: &Ctx,
    user: UserId,
    (seed, is_confirmed): (&[u8], bool),
    now: DateTime<Utc>,
) -> Result<()> {
    let tx = ctx.db.begin().await?;
    factors::lock(&tx, user).await?;
    put_seed(ctx, &tx, user, (seed, is_confirmed), now).await?;
    tx.commit().await?;
    Ok(())
}

async fn put_seed(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: UserId,
    (seed, is_confirmed): (&[u8], bool),
    now: DateTime<Utc>,
) -> Result<()> {
    let input = Input {
        place: place(user, is_confirmed),
        version: 1,
        plain: seed,
        by: Some(user),
    };
    sealed::replace(tx, &ctx.keys, input, now).await?;
    Ok(())
}

/// Switches the factor on with a first code, and answers recovery codes, shown this once. The actor's
/// other sessions end: they were begun without it.
///
/// # Errors
/// [`Error::Invalid`] when the code is wrong, a conflict when nothing was started or there is a
/// factor already, [`Error::Throttled`], [`Error::TokenLimited`].
pub async fn confirm(
    ctx: &Ctx,
    actor: &Actor,
    code: &SecretString,
    now: DateTime<Utc>,
) -> Result<Vec<SecretString>> {
    actor.require_unlimited()?;
    let user = own(ctx, actor).await?;
    if user.factor_at.is_some() {
        return Err(is_on());
    }
    let pending = sealed::latest(ctx.db.reader(), &ctx.keys, &place(user.id, false)).await?;
    let seed = pending.ok_or_else(|| {
        let message = "ask for a secret first";
        Error::conflict("not_started", message)
    })?;
    let throttled = second_step::throttled_as(&user);
    throttle::attempt(ctx, &throttled, &actor.address, now).await?;
    let Some(Typed::Digits(digits)) = Typed::read(code) else {
        return Err(second_step::wrong());
    };
    let digits = secrecy::ExposeSecret::expose_secret(&digits);
    let step = factor::step_of(seed.expose(), digits, now)?;
    let step = step.ok_or_else(second_step::wrong)?;
    let codes = factor::recovery_codes()?;
    retried(|| switch_on(ctx, actor, (&user, seed.expose(), step), &codes, now)).await?;
    throttle::succeeded(ctx, &throttled).await?;
    Ok(codes)
}

async fn switch_on(
    ctx: &Ctx,
    actor: &Actor,
    (user, seed, step): (&user::Model, &[u8], i64),
    codes: &[SecretString],
    now: DateTime<Utc>,
) -> Result<()> {
    let tx = ctx.db.begin().await?;
    factors::lock(&tx, user.id).await?;
    if !factors::enable(&tx, user.id, step, now).await? {
        return Err(is_on());
    }
    sealed::remove(&tx, sealed::FACTOR, user.id.0).await?;
    put_seed(ctx, &tx, user.id, (seed, true), now).await?;
    factors::replace_codes(&tx, user.id, hashes(user.id, codes)).await?;
    match actor.credential {
        Credential::Session(own) => store::delete_other_sessions(&tx, user.id, own).await?,
        Credential::Token(_) | Credential::Console => store::delete_sessions(&tx, user.id).await?,
    }
    let entry = Entry::by(actor, Action::FactorEnable, now);
    let entry = entry.on(ObjectKind::User, user.id.0, &user.email);
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

fn hashes(user: UserId, codes: &[SecretString]) -> Vec<String> {
    let hash = |code| factor::recovery_hash(user, code);
    codes.iter().filter_map(hash).collect()
}

/// Checks both proofs of somebody who changes their own factor.
async fn prove(
    ctx: &Ctx,
    actor: &Actor,
    proofs: Proofs,
    now: DateTime<Utc>,
) -> Result<(user::Model, second_step::Proof)> {
    actor.require_unlimited()?;
    let user = own(ctx, actor).await?;
    if user.factor_at.is_none() {
        return Err(is_off());
    }
    prove_password(ctx, actor, &user, proofs.password, now).await?;
    let proof = second_step::check(ctx, &user, &proofs.code, &actor.address, now).await?;
    Ok((user, proof))
}

/// Replaces the recovery codes; the new ones are shown this once.
///
/// # Errors
/// [`Error::Invalid`] when password or code is wrong, a conflict when there is no factor,
/// [`Error::Throttled`], [`Error::TokenLimited`].
pub async fn renew_codes(
    ctx: &Ctx,
    actor: &Actor,
    proofs: Proofs,
    now: DateTime<Utc>,
) -> Result<Vec<SecretString>> {
    let (user, proof) = prove(ctx, actor, proofs, now).await?;
    let codes = factor::recovery_codes()?;
    let entry = Entry::by(actor, Action::RecoveryCodesRenew, now);
    let entry = entry.on(ObjectKind::User, user.id.0, &user.email);
    retried(async || {
        let tx = ctx.db.begin().await?;
        second_step::consume(ctx, &tx, &user, (&proof, entry.clone())).await?;
        factors::replace_codes(&tx, user.id, hashes(user.id, &codes)).await?;
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(())
    })
    .await?;
    throttle::succeeded(ctx, &second_step::throttled_as(&user)).await?;
    Ok(codes)
}

/// Switches the actor's own factor off.
///
/// # Errors
/// [`Error::Invalid`] when password or code is wrong, a conflict when there is no factor or this
/// installation asks for one, [`Error::Throttled`], [`Error::TokenLimited`].
pub async fn disable(ctx: &Ctx, actor: &Actor, proofs: Proofs, now: DateTime<Utc>) -> Result<()> {
    let user = own(ctx, actor).await?;
    if factor::is_required(ctx.settings.security.require_second_factor, &user) {
        let message = "this installation asks your account for a second factor";
        return Err(Error::conflict("factor_required", message));
    }
    let (user, proof) = prove(ctx, actor, proofs, now).await?;
    let entry = Entry::by(actor, Action::FactorDisable, now);
    retried(async || {
        let tx = ctx.db.begin().await?;
        second_step::consume(ctx, &tx, &user, (&proof, entry.clone())).await?;
        switch_off(ctx, &tx, &user, &entry).await?;
        tx.commit().await?;
        Ok(())
    })
    .await?;
    throttle::succeeded(ctx, &second_step::throttled_as(&user)).await
}

/// Switches an account's factor off and ends what was begun with it; system-only, its callers have
/// asked.
pub(in crate::account) async fn switch_off(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: &user::Model,
    entry: &Entry,
) -> Result<()> {
    if !factors::disable(tx, user.id).await? {
        return Err(is_off());
    }
    sealed::remove(tx, sealed::FACTOR, user.id.0).await?;
    factors::delete_challenges(tx, user.id).await?;
    let entry = entry.clone().on(ObjectKind::User, user.id.0, &user.email);
    ctx.audit.record(tx, &entry).await
}

/// Removes the factor of somebody who has lost it, and ends their sessions.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict for one's own, which needs password and
/// code, and where there is none.
pub async fn remove(ctx: &Ctx, actor: &Actor, id: UserId, now: DateTime<Utc>) -> Result<()> {
    actor.require(Permission::Administer, None)?;
    actor.require_unlimited()?;
    let user = store::find_user(ctx.db.reader(), id).await?;
    let user = user.ok_or(Error::NotFound("user"))?;
    if id == actor.user {
        let message = "your own is switched off on your account's page, with password and code";
        return Err(Error::conflict("own_factor", message));
    }
    let entry = Entry::by(actor, Action::FactorRemove, now);
    retried(|| removed(ctx, &user, &entry)).await
}

/// Removes an account's factor and ends its sessions; system-only, its callers have asked.
pub(in crate::account) async fn removed(
    ctx: &Ctx,
    user: &user::Model,
    entry: &Entry,
) -> Result<()> {
    let tx = ctx.db.begin().await?;
    switch_off(ctx, &tx, user, entry).await?;
    store::delete_sessions(&tx, user.id).await?;
    tx.commit().await?;
    Ok(())
}
