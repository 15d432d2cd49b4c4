//! People whom an identity provider vouches for: which account is theirs, and what they may.
//!
//! Who they are was proved to `api`, which speaks with the provider. There is no actor yet: system-only.
//!
//! An account belongs to whoever the provider names by issuer and subject; addresses change hands.
//! A first sign-in makes an account. One that is there already with the same address is taken only
//! if the settings say so, and never that of an Admin: whoever may name addresses at the provider
//! would otherwise become one here.

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait};
use secrecy::SecretString;

use super::{
    entity::{provider_start, user},
    kind::{Means, UserKind},
    service::{self, Invitee},
    session as random,
    sign_in::{self, Origin, Passed, email_key},
    store::{self, provider as rows},
};
use crate::{
    access::SystemRole,
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    deployment::store::revision,
    error::{Error, Result},
    field::{DisplayName, Email},
    settings::Oidc,
};

/// How long somebody may take at the provider.
pub const LASTS: Duration = Duration::minutes(10);

/// Whom the provider has vouched for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person's name there, which never changes.
    pub subject: String,
    /// The address, if the provider has made sure that it is theirs.
    pub verified_email: Option<String>,
    /// The name to show.
    pub name: Option<String>,
    /// The groups that they are in.
    pub groups: Vec<String>,
}

/// A sign-in that somebody has gone to the provider for.
#[derive(Debug)]
pub struct Started {
    /// What only their browser knows; everything that binds the steps comes of it.
    pub secret: SecretString,
}

/// Starts are counted apart from passwords: while the provider is away, or when a foreign page makes
/// browsers begin some, those who sign in here must not have to wait for it.
fn counted_as(origin: &Origin) -> String {
    format!("provider {}", origin.address)
}

/// Begins a sign-in at the provider, to come back to `next`.
///
/// # Errors
/// [`Error::Throttled`] when the address begins too many, or when the database fails.
pub async fn start(ctx: &Ctx, next: &str, origin: &Origin, now: DateTime<Utc>) -> Result<Started> {
    let instant = std::time::Instant::now();
    ctx.addresses.attempt(&counted_as(origin), instant)?;
    let new = random::generate()?;
    rows::prune(ctx.db.writer(), now).await?;
    let values = provider_start::ActiveModel {
        token_hash: Set(new.hash),
        next: Set(next.to_owned()),
        expires_at: Set(now + LASTS),
        ..provider_start::ActiveModel::default()
    };
    rows::insert_start(ctx.db.writer(), values).await?;
    Ok(Started { secret: new.plain })
}

/// Takes up a sign-in that came back from the provider, once, and answers where it leads.
///
/// # Errors
/// [`Error::Unauthenticated`] when this browser has begun none, or it was too long ago.
pub async fn take(ctx: &Ctx, secret: &str, now: DateTime<Utc>) -> Result<String> {
    let hash = random::parse_and_hash(secret).ok_or(Error::Unauthenticated)?;
    let found = rows::find_start(ctx.db.writer(), &hash).await?;
    let found = found.ok_or(Error::Unauthenticated)?;
    let is_mine = rows::take_start(ctx.db.writer(), found.id).await?;
    if is_mine && found.expires_at > now {
        Ok(found.next)
    } else {
        Err(Error::Unauthenticated)
    }
}

/// The role that groups give: the highest one of theirs, or the one for everybody.
#[must_use]
pub fn role_of(settings: &Oidc, groups: &[String]) -> Option<SystemRole> {
    let is_in = |wanted: &[String]| groups.iter().any(|group| wanted.contains(group));
    [
        (SystemRole::Admin, &settings.admin_groups),
        (SystemRole::Manager, &settings.manager_groups),
        (SystemRole::Developer, &settings.developer_groups),
        (SystemRole::Viewer, &settings.viewer_groups),
    ]
    .into_iter()
    .find(|(_, wanted)| is_in(wanted))
    .map(|(role, _)| role)
    .or(settings.default_role)
}

/// Signs somebody in whom the provider vouches for. Their role is what their groups give, from now
/// on; if it changed, their other sessions end.
///
/// # Errors
/// A conflict that says why they are not let in: no role, an address that nobody has verified, or
/// that is taken, or a disabled account.
pub async fn sign_in(
    ctx: &Ctx,
    settings: &Oidc,
    identity: &Identity,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<Passed> {
    let mut user = admitted(ctx, settings, identity, &origin, now).await;
    // Another request of the same person was first.
    if let Err(error) = &user
        && error.database().is_some_and(is_duplicate)
    {
        user = admitted(ctx, settings, identity, &origin, now).await;
    }
    let user = user?;
    ctx.addresses.succeeded(&counted_as(&origin));
    sign_in::pass(ctx, user, Means::Provider, origin, now).await
}

async fn admitted(
    ctx: &Ctx,
    settings: &Oidc,
    identity: &Identity,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<user::Model> {
    let entry = |action| Entry::by_system(action, now).from_address(&origin.address);
    let email = identity.verified_email.as_deref().ok_or_else(|| {
        let message = "the identity provider does not say that your address is verified";
        Error::conflict("email_unverified", message)
    })?;
    let role = role_of(settings, &identity.groups);
    crate::db::retried(async || {
        let tx = ctx.db.begin().await?;
        store::lock_admins(&tx).await?;
        let known = rows::find_owner(&tx, &identity.issuer, &identity.subject).await?;
        let Some(role) = role else {
            if let Some(user) = known {
                turned_away(ctx, &tx, &user, entry(Action::SessionRevoke)).await?;
                tx.commit().await?;
            }
            let message = "none of your groups has a role in Slipway; ask an Admin";
            return Err(Error::conflict("no_role", message));
        };
        let user = match known {
            Some(user) => user,
            None => {
                let person = (identity, email, role);
                let (user, is_new) = account(ctx, &tx, settings, person, &entry).await?;
                rows::insert_identity(&tx, identity, user.id, now).await?;
                let linked = entry(Action::IdentityLink)
                    .on(ObjectKind::User, user.id.0, &user.email)
                    .after(&serde_json::json!({
                        "issuer": identity.issuer,
                        "subject": identity.subject,
                        "new": is_new,
                    }));
                ctx.audit.record(&tx, &linked).await?;
                user
            }
        };
        if user.disabled_at.is_some() {
            let message = "your account is disabled";
            return Err(Error::conflict("disabled", message));
        }
        let user = with_role(ctx, &tx, user, role, entry(Action::UserUpdate)).await?;
        tx.commit().await?;
        Ok(user)
    })
    .await
}

/// Ends what somebody has open who has no role any more.
async fn turned_away(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: &user::Model,
    entry: Entry,
) -> Result<()> {
    store::delete_sessions(tx, user.id).await?;
    store::links::delete_of(tx, user.id).await?;
    let why = serde_json::json!({ "reason": "no group with a role" });
    let entry = entry
        .on(ObjectKind::User, user.id.0, &user.email)
        .after(&why);
    ctx.audit.record(tx, &entry).await
}

/// The account of somebody who comes for the first time, and whether it was made for them.
async fn account(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    settings: &Oidc,
    (identity, email, role): (&Identity, &str, SystemRole),
    entry: &impl Fn(Action) -> Entry,
) -> Result<(user::Model, bool)> {
    let unusable = |why: String| {
        let message = format!("the address that the identity provider names {why}");
        Error::conflict("email_unusable", message)
    };
    let email: Email = email.parse().map_err(unusable)?;
    let existing = store::find_user_by_email(tx, &email_key(&email.to_string())).await?;
    if let Some(user) = existing {
        // One that belongs to somebody at a provider is theirs, whoever has the address by now.
        let may_link = settings.link_by_email
            && user.role != SystemRole::Admin
            && user.kind == UserKind::Person
            && !rows::has_identity(tx, user.id).await?;
        if may_link {
            return Ok((
                taken_over(tx, user, entry(Action::UserUpdate).at()).await?,
                false,
            ));
        }
        let message = "there is a local account with your address; ask an Admin";
        return Err(Error::conflict("address_taken", message));
    }
    let name = identity.name.as_deref().and_then(|name| name.parse().ok());
    let shown = || email.to_string().chars().take(100).collect::<String>();
    let name: DisplayName = match name {
        Some(name) => name,
        None => shown().parse().map_err(unusable)?,
    };
    let invitee = Invitee {
        email,
        name,
        role,
        kind: UserKind::Person,
    };
    let made = service::insert(ctx, tx, (invitee, String::new()), entry(Action::UserCreate)).await;
    Ok((made?, true))
}

/// Makes a local account one of the provider's. Its password goes: it would outlast the groups that
/// the role comes from, and whoever set it need not be who comes now.
async fn taken_over(
    tx: &impl ConnectionTrait,
    user: user::Model,
    now: DateTime<Utc>,
) -> Result<user::Model> {
    store::set_password(tx, user.id, String::new(), now).await?;
    store::links::delete_of(tx, user.id).await?;
    store::delete_sessions(tx, user.id).await?;
    Ok(user::Model {
        password_hash: String::new(),
        updated_at: now,
        ..user
    })
}

/// Gives somebody the role of their groups. The last Admin who can sign in with a password stays one:
/// nobody could look after Slipway while the provider is away.
async fn with_role(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: user::Model,
    role: SystemRole,
    entry: Entry,
) -> Result<user::Model> {
    if user.role == role {
        return Ok(user);
    }
    let write = |role| user::ActiveModel {
        role: Set(role),
        updated_at: Set(entry.at()),
        ..user::ActiveModel::default()
    };
    let counted = revision::count(tx).await?;
    store::update_user(tx, &counted, user.id, write(role)).await?;
    if store::count_admins(tx).await? == 0 {
        tracing::warn!(user = %user.email, "the last Admin with a password keeps the role, whatever the groups say");
        store::update_user(tx, &counted, user.id, write(user.role)).await?;
        return Ok(user);
    }
    store::delete_sessions(tx, user.id).await?;
    store::links::delete_of(tx, user.id).await?;
    let changed = user::Model {
        role,
        updated_at: entry.at(),
        ..user.clone()
    };
    let entry = entry
        .on(ObjectKind::User, user.id.0, &user.email)
        .changed(&service::audited(&user), &service::audited(&changed));
    ctx.audit.record(tx, &entry).await?;
    Ok(changed)
}
