//! The demo: a small repository, a project with a secret and a local target, and one deployment.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    account,
    ctx::Ctx,
    db,
    deployment::{self, service::DeployInput},
    error::Error,
    field::Problems,
    id::{DeploymentId, UserId},
    project::{self, policy::QueuePolicy, repository::RepositoryUrl, service::NewProject},
    target::{self, entity::TargetKind, service::NewTarget, strategy::Strategy},
    vault::{self, key::MasterKey, service::SecretInput},
};
use slipway_worker::exec::{self, Captured, Command, Limits, Outcome, Scope};

use crate::data::DataFolder;

const PROJECT: &str = "demo";
const TARGET: &str = "local";
const SECRET: &str = "DEMO_TOKEN";
const PAGE: &str = "<!doctype html>\n<title>Slipway demo</title>\n<h1>It works</h1>\n";
const BUILD: &str = "#!/bin/sh\n# Builds the site: every page gets the commit it was made from.\n\
                     set -eu\nmkdir -p public\nsed \"s/<h1>.*/&\\n<p>Commit $SLIPWAY_COMMIT<\\/p>/\" \
                     index.html > public/index.html\necho \"built $(ls public)\"\n";
const PIPELINE: &str = "\
# Built on the worker, in a fresh checkout of the exact commit.
build:
  - name: site
    run: sh build.sh
artifact: public
# Run in the new release folder before it is live.
release:
  - name: check
    run: test -s index.html
# Run once the release is live. The log shows [REDACTED] where the secret is printed.
after:
  - name: announce
    run: |
      echo \"Release $SLIPWAY_DEPLOYMENT of $SLIPWAY_PROJECT is live\"
      echo \"The token is $DEMO_TOKEN\"
";

/// Makes the demo and deploys it, unless it is there. Answers the deployment.
///
/// # Errors
/// When something of it cannot be made.
pub(super) async fn ensure(ctx: &Ctx, folder: &DataFolder) -> anyhow::Result<Option<DeploymentId>> {
    let actor = admin(ctx).await?;
    let view = slipway_core::access::Permission::ViewProject;
    match project::service::open(ctx, &actor, PROJECT, view).await {
        Ok(_) => return Ok(None),
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let repository = folder.demo().join("repository");
    make_repository(&repository)
        .await
        .context("making the demo's repository")?;
    make_project(ctx, &actor, &repository, &folder.demo().join("site")).await?;
    let wanted = DeployInput {
        target: TARGET.to_owned(),
        ref_name: None,
        note: None,
        key: None,
    };
    let made = deployment::service::request(ctx, &actor, PROJECT, wanted).await?;
    Ok(Some(made.row.id))
}

/// The oldest Admin: the demo is theirs.
async fn admin(ctx: &Ctx) -> anyhow::Result<Actor> {
    let users = account::store::list_users(ctx.db.reader(), UserId(0), 1000).await?;
    let admin = users
        .into_iter()
        .find(|user| user.role == SystemRole::Admin);
    let admin = admin.context("there is no Admin to own the demo")?;
    Ok(Actor {
        user: admin.id,
        email: admin.email,
        name: admin.name,
        role: admin.role,
        address: String::new(),
        limits: None,
        credential: Credential::Console,
    })
}

async fn make_project(
    ctx: &Ctx,
    actor: &Actor,
    repository: &Path,
    site: &Path,
) -> anyhow::Result<()> {
    let now = db::now();
    let mut problems = Problems::default();
    let address = RepositoryUrl::parse(
        &repository.to_string_lossy(),
        &ctx.settings.repositories.local_paths,
    );
    let repository = problems.take("repository", address);
    let (slug, name) = (
        problems.parse("slug", PROJECT),
        problems.parse("name", "Demo"),
    );
    let branch = problems.parse("default_branch", "main");
    let path = problems.parse("path", &site.to_string_lossy());
    let (place, secret) = (
        problems.parse("target", TARGET),
        problems.parse("secret", SECRET),
    );
    let parts = (|| Some((slug?, name?, branch?, path?, place?, secret?)))();
    let (slug, name, default_branch, path, place, secret) = problems.finish(parts)?;
    let new = NewProject {
        slug,
        name,
        repository,
        default_branch,
        queue_policy: QueuePolicy::default(),
        retry_attempts: None,
        retry_delays: None,
    };
    project::service::create(ctx, actor, new, now).await?;
    let new = NewTarget {
        slug: place,
        kind: TargetKind::Local,
        path,
        strategy: serde_json::to_string(&Strategy::default())?,
        auto_deploy: None,
    };
    target::service::create(ctx, actor, PROJECT, new, now).await?;
    let value = MasterKey::generate()?.to_hex();
    let input = SecretInput {
        name: secret,
        value,
        target: None,
    };
    vault::service::put(ctx, actor, PROJECT, input, now).await?;
    project::service::set_pipeline(ctx, actor, PROJECT, PIPELINE, now).await?;
    Ok(())
}

async fn make_repository(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    fs::create_dir_all(path)?;
    fs::write(path.join("index.html"), PAGE)?;
    fs::write(path.join("build.sh"), BUILD)?;
    git(path, &["init", "--quiet", "--initial-branch=main"]).await?;
    git(path, &["add", "."]).await?;
    git(
        path,
        &["commit", "--quiet", "--message", "Add a page and its build"],
    )
    .await
}

async fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let command = Command::new("git")
        .args(arguments.iter().copied())
        .dir(folder)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Slipway")
        .env("GIT_AUTHOR_EMAIL", "demo@localhost")
        .env("GIT_COMMITTER_NAME", "Slipway")
        .env("GIT_COMMITTER_EMAIL", "demo@localhost");
    let mut output = Captured::new(4096);
    let limits = Limits::new(Duration::from_secs(30));
    let outcome = exec::run(&command, &limits, &Scope::default(), &mut output).await;
    if outcome == Outcome::Exited(0) {
        return Ok(());
    }
    bail!(
        "git {arguments:?} is needed and ended with {outcome:?}: {}",
        output.text()
    )
}
