//! API tokens: one's own, and, for an Admin, those of services.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use secrecy::SecretString;

use crate::{
    access::{Actor, Limits, Permission, TokenScope},
    account::{
        entity::{api_token, user},
        kind::UserKind,
        sign_in, store, token,
    },
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    deployment::store::revision,
    error::{Error, Result},
    field::DisplayName,
    id::{TokenId, UserId},
    project,
};

/// A token as it is asked for.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for.
    pub name: DisplayName,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it is good for.
    pub limits: Limits,
}

impl NewToken {
    /// A token for everything that its owner may, for ever.
    #[must_use]
    pub fn unlimited(name: DisplayName) -> Self {
        Self {
            name,
            expires_at: None,
            limits: Limits::none(),
        }
    }
}

/// The account whose tokens are meant: one's own, or a service's.
async fn owner(ctx: &Ctx, actor: &Actor, of: Option<UserId>) -> Result<user::Model> {
    let id = of.unwrap_or(actor.user);
    if of.is_some() {
        actor.require(Permission::Administer, None)?;
    }
    let row = store::find_user(ctx.db.reader(), id).await?;
    let row = row.ok_or(Error::NotFound("user"))?;
    if of.is_some() && row.kind != UserKind::Service {
        let message = "people make their own tokens; only a service's are made for it";
        return Err(Error::conflict("not_a_service", message));
    }
    Ok(row)
}

/// The tokens of the actor, or of a service.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn list(ctx: &Ctx, actor: &Actor, of: Option<UserId>) -> Result<Vec<api_token::Model>> {
    let owner = owner(ctx, actor, of).await?;
    store::list_tokens(ctx.db.reader(), owner.id).await
}

/// Makes a token. Its text is known only here.
///
/// # Errors
/// [`Error::TokenLimited`] for a token with limits, [`Error::Invalid`], [`Error::NotFound`],
/// [`Error::Forbidden`].
pub async fn create(
    ctx: &Ctx,
    actor: &Actor,
    of: Option<UserId>,
    input: NewToken,
    now: DateTime<Utc>,
) -> Result<(api_token::Model, SecretString)> {
    actor.require_unlimited()?;
    let owner = owner(ctx, actor, of).await?;
    check(ctx, actor, &input, now).await?;
    let new = token::generate()?;
    let projects = input.limits.projects.as_ref();
    let values = api_token::ActiveModel {
        user_id: Set(owner.id),
        name: Set(input.name.to_string()),
        token_hash: Set(new.hash),
        hint: Set(new.hint),
        created_at: Set(now),
        expires_at: Set(input.expires_at),
        used_at: Set(None),
        scopes: Set(words(&input.limits.scopes)),
        projects: Set(projects.map(serde_json::to_string).transpose()?),
        ..api_token::ActiveModel::default()
    };
    let tx = ctx.db.begin().await?;
    let row = store::insert_token(&tx, values).await?;
    let entry = Entry::by(actor, Action::TokenCreate, now)
        .on(ObjectKind::Token, row.id.0, &row.name)
        .after(&audited(&row, &owner));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok((row, new.plain))
}

fn words(scopes: &[TokenScope]) -> String {
    let words: Vec<&str> = TokenScope::ALL
        .into_iter()
        .filter(|scope| scopes.contains(scope))
        .map(TokenScope::as_str)
        .collect();
    words.join(" ")
}

fn audited(row: &api_token::Model, owner: &user::Model) -> serde_json::Value {
    serde_json::json!({
        "owner": owner.email,
        "hint": row.hint,
        "expires_at": row.expires_at,
        "limits": sign_in::limits(&row.scopes, row.projects.as_deref()),
    })
}

async fn check(ctx: &Ctx, actor: &Actor, input: &NewToken, now: DateTime<Utc>) -> Result<()> {
    if input.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    if input.limits.scopes.is_empty() {
        return Err(Error::invalid("scopes", "must name at least one"));
    }
    let Some(only) = &input.limits.projects else {
        return Ok(());
    };
    if only.is_empty() || only.len() > 100 {
        return Err(Error::invalid(
            "projects",
            "must name 1 to 100, or be left out",
        ));
    }
    for (index, id) in only.iter().enumerate() {
        let view = Permission::ViewProject;
        if project::service::open_by_id(ctx, actor, *id, view)
            .await
            .is_err()
        {
            let field = format!("projects[{index}]");
            return Err(Error::invalid(field, "there is no such project"));
        }
    }
    Ok(())
}

/// Revokes a token of the actor, or of a service.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::TokenLimited`].
pub async fn revoke(ctx: &Ctx, actor: &Actor, of: Option<UserId>, id: TokenId) -> Result<()> {
    actor.require_unlimited()?;
    let owner = owner(ctx, actor, of).await?;
    let tx = ctx.db.begin().await?;
    let counted = revision::count(&tx).await?;
    if !store::delete_token(&tx, &counted, owner.id, id).await? {
        return Err(Error::NotFound("token"));
    }
    let entry = Entry::by(actor, Action::TokenRevoke, crate::db::now());
    let entry = entry.on(ObjectKind::Token, id.0, &owner.email);
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}
