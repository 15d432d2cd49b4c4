//! A project's SSH keys and trusted host keys on its page, and the forms to change them.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use askama::{Template, filters::HtmlSafe};
use chrono::Utc;
use serde::Deserialize;
use slipway_core::{
    ctx::Ctx,
    db,
    error::Result,
    id::HostKeyId,
    ssh::{entity::host_key, service},
    target,
};

use super::{
    frame::see_other,
    moment::Moment,
    table::Pages,
    visitor::{Sent, Visitor},
};
use crate::error::Problem;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .post("/projects/{project}/ssh-key", generate)
        .post("/projects/{project}/ssh-key/delete", delete)
        .post("/projects/{project}/host-keys", trust)
        .post("/projects/{project}/host-keys/delete", distrust);
}

/// The keys of a project, with forms for those who may change them.
#[derive(Clone, Debug, Template)]
#[template(path = "parts/ssh.html")]
pub(super) struct SshPanel {
    slug: String,
    keys: Vec<Key>,
    hosts: Vec<host_key::Model>,
    has_own: bool,
    token: String,
    may_configure: bool,
}

// Its template escapes what it shows.
impl HtmlSafe for SshPanel {}

/// The public half of a key pair.
#[derive(Clone, Debug)]
struct Key {
    /// The slug of its target; none for the whole project.
    target: Option<String>,
    public_key: String,
    fingerprint: String,
    since: Moment,
}

impl SshPanel {
    /// The panel of a project that the visitor may see.
    pub(super) async fn new(
        ctx: &Ctx,
        visitor: &Visitor,
        slug: &str,
        targets: &[target::entity::Model],
        may_configure: bool,
    ) -> Result<Self> {
        let now = Utc::now();
        let keys: Vec<Key> = service::list(ctx, &visitor.actor, slug)
            .await?
            .into_iter()
            .map(|row| Key {
                target: targets
                    .iter()
                    .find(|target| Some(target.id) == row.target_id)
                    .map(|target| target.slug.clone()),
                since: Moment::new(row.created_at, now),
                public_key: row.public_key,
                fingerprint: row.fingerprint,
            })
            .collect();
        Ok(Self {
            slug: slug.to_owned(),
            has_own: keys.iter().any(|key| key.target.is_none()),
            keys,
            hosts: service::host_keys(ctx, &visitor.actor, slug).await?,
            token: visitor.token.clone(),
            may_configure,
        })
    }
}

/// Which key is meant.
#[derive(Debug, Deserialize)]
struct KeyForm {
    /// The target's slug; empty for the whole project.
    #[serde(default)]
    target: String,
}

impl KeyForm {
    fn target(&self) -> Option<&str> {
        Some(self.target.as_str()).filter(|target| !target.is_empty())
    }
}

fn back(slug: &str) -> HttpResponse {
    see_other(format!("/projects/{slug}#ssh"))
}

async fn generate(
    ctx: Data<Ctx>,
    slug: Path<String>,
    sent: Sent<KeyForm>,
) -> Result<HttpResponse, Problem> {
    let (actor, target) = (&sent.visitor.actor, sent.fields.target());
    service::generate(&ctx, actor, &slug, target, db::now()).await?;
    Ok(back(&slug))
}

async fn delete(
    ctx: Data<Ctx>,
    slug: Path<String>,
    sent: Sent<KeyForm>,
) -> Result<HttpResponse, Problem> {
    let (actor, target) = (&sent.visitor.actor, sent.fields.target());
    service::delete(&ctx, actor, &slug, target).await?;
    Ok(back(&slug))
}

#[derive(Debug, Deserialize)]
struct LinesForm {
    #[serde(default)]
    lines: String,
}

async fn trust(
    ctx: Data<Ctx>,
    slug: Path<String>,
    sent: Sent<LinesForm>,
) -> Result<HttpResponse, Problem> {
    let (actor, lines) = (&sent.visitor.actor, &sent.fields.lines);
    service::trust(&ctx, actor, &slug, lines, db::now()).await?;
    Ok(back(&slug))
}

#[derive(Debug, Deserialize)]
struct HostForm {
    #[serde(default)]
    id: String,
}

async fn distrust(
    ctx: Data<Ctx>,
    slug: Path<String>,
    sent: Sent<HostForm>,
) -> Result<HttpResponse, Problem> {
    // No host key has the id 0.
    let id = sent.fields.id.parse().unwrap_or(HostKeyId(0));
    service::distrust(&ctx, &sent.visitor.actor, &slug, id).await?;
    Ok(back(&slug))
}
