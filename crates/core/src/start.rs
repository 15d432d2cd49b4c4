//! What every process does first: settings, hardening, the log, the database and its keys.
//!
//! Queue and bus are handed in, because only their own crate knows how to reach them.

use std::{fs, mem, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use secrecy::{ExposeSecret as _, SecretString};
use slipway_redact::Matcher;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    account::first_admin,
    ctx::Ctx,
    db::{self, Db},
    fail,
    ports::{EventBus, JobQueue},
    schema,
    settings::{
        Settings,
        load::{Source, environment, load},
    },
    telemetry, vault,
};

/// The first descriptor after those that every process has.
const FIRST_OTHER: i32 = 3;

/// Reads and checks the settings.
///
/// # Errors
/// With everything that is wrong with them.
pub fn settings(config: Option<PathBuf>) -> anyhow::Result<Settings> {
    let settings = unchecked_settings(config)?;
    settings.check()?;
    Ok(settings)
}

/// Reads the settings of a process that fills some in by itself before they are checked.
///
/// # Errors
/// With everything that is wrong with their form.
pub fn unchecked_settings(config: Option<PathBuf>) -> anyhow::Result<Settings> {
    let dir = std::env::current_dir().context("finding the current folder")?;
    let environment = environment();
    fail::arm(&environment)?;
    let mut settings = load(&Source { config, dir }, &environment)?;
    let database = &mut settings.database;
    let place = (&mut database.password, &database.password_file);
    read_password("database.password_file", place)?;
    if let Some(redis) = &mut settings.redis {
        let place = (&mut redis.password, &redis.password_file);
        read_password("redis.password_file", place)?;
    }
    if let Some(oidc) = &mut settings.oidc {
        let place = (&mut oidc.client_secret, &oidc.client_secret_file);
        read_password("oidc.client_secret_file", place)?;
    }
    Ok(settings)
}

/// Takes a password from its file unless it is set itself. The end of its line is not part of it.
fn read_password(
    setting: &str,
    (password, file): (&mut Option<SecretString>, &Option<PathBuf>),
) -> anyhow::Result<()> {
    if let (None, Some(file)) = (&password, file) {
        let text = fs::read_to_string(file).map(Zeroizing::new);
        let text = text
            .with_context(|| format!("cannot read {}, which `{setting}` names", file.display()))?;
        *password = Some(SecretString::from(text.trim_end_matches(['\n', '\r'])));
    }
    Ok(())
}

/// Starts this process's log, which masks whatever secrets the settings and the environment hold.
///
/// # Errors
/// When the level is no filter, or the log has been started before.
pub fn log(settings: &Settings) -> anyhow::Result<()> {
    let redaction = telemetry::start(&settings.logging)?;
    let redis = settings.redis.as_ref();
    let passwords = [
        settings.database.password.as_ref(),
        redis.and_then(|redis| redis.password.as_ref()),
    ];
    let passwords = passwords.into_iter().flatten();
    let mut values = vault::load::texts(&settings.security);
    values.extend(passwords.map(|value| Zeroizing::new(value.expose_secret().to_owned())));
    let named = environment()
        .into_iter()
        .filter(|(name, _)| telemetry::names::is_secret(name));
    values.extend(named.map(|(_, value)| Zeroizing::new(value)));
    let matcher = Matcher::new(values.iter().map(|value| value.as_bytes()))?;
    // They are the process's for as long as it lives.
    mem::forget(redaction.know(Arc::new(matcher)));
    Ok(())
}

/// Keeps this process's memory and environment from others of the same user, and out of core dumps.
///
/// Programs that it starts can be looked into as usual, but leave no core dumps either, and do not
/// get what was open when this process was started.
///
/// # Errors
/// When the system refuses.
pub fn harden() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("hiding this process's memory")?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .context("switching core dumps off")?;
    // Everything that it opens itself is closed there anyway.
    close_fds::set_fds_cloexec_threadsafe(FIRST_OTHER, &[]);
    Ok(())
}

/// Opens the database, which must have this version's schema, and proves the master keys on it.
///
/// # Errors
/// Says what to run or which setting to mend.
pub async fn open(
    settings: Settings,
    queue: Arc<dyn JobQueue>,
    bus: Arc<dyn EventBus>,
) -> anyhow::Result<Ctx> {
    let ctx = open_unproved(settings, queue, bus).await?;
    vault::rotation::service::check_keys(&ctx.db, &ctx.keys, db::now()).await?;
    ctx.audit.prepare().await?;
    Ok(ctx)
}

/// Opens the database, which must have this version's schema, to look at it only: the master keys may
/// be the wrong ones.
///
/// # Errors
/// As [`open`].
pub async fn open_unproved(
    settings: Settings,
    queue: Arc<dyn JobQueue>,
    bus: Arc<dyn EventBus>,
) -> anyhow::Result<Ctx> {
    let keys = vault::load::key_ring(&settings.security)?;
    let db = Db::connect(&settings.database).await?;
    schema::require_current(&db).await?;
    Ok(Ctx::new(db, queue, bus, keys, settings))
}

/// Makes the first Admin as the environment asks, when there is no account yet.
///
/// # Errors
/// When what it asks for is not acceptable.
pub async fn first_admin(ctx: &Ctx) -> anyhow::Result<Option<first_admin::FirstAdmin>> {
    let mut environment = environment();
    let wanted = first_admin::Wanted {
        email: environment
            .remove("SLIPWAY_ADMIN_EMAIL")
            .filter(|text| !text.is_empty()),
        password: environment
            .remove("SLIPWAY_ADMIN_PASSWORD")
            .filter(|text| !text.is_empty())
            .map(Into::into),
    };
    Ok(first_admin::ensure(ctx, wanted, db::now()).await?)
}

/// Two tokens: the first is cancelled by the first SIGTERM or SIGINT, the second by the second.
///
/// # Errors
/// When the system gives no signals.
pub fn signals() -> anyhow::Result<(CancellationToken, CancellationToken)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let tokens = [first.clone(), second.clone()];
    tokio::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok((first, second))
}
