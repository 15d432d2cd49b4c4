//! Ranges of settings, and which of them need one another.
//!
//! Everything that is wrong is reported at once. Whether a key is a good one is `vault`'s concern,
//! and nothing here touches the network or a file.

use std::fmt::Display;

use url::Url;

use super::{
    Database, Dialect, Logging, Notifications, Oidc, Queue, Redis, Security, Server, Settings,
    destination::Destination,
    network::Network,
    problem::{Problem, SettingsError},
};
use crate::{access::SystemRole, telemetry};

const RETRY_DELAY_MAX_MS: u64 = 3_600_000;

impl Settings {
    /// Checks ranges and what needs what; call it once everything is filled in.
    ///
    /// # Errors
    ///
    /// Lists every setting that cannot be used.
    pub fn check(&self) -> Result<(), SettingsError> {
        let mut found = Findings::default();
        server(&self.server, &mut found);
        database(&self.database, &mut found);
        if let Some(settings) = &self.redis {
            redis(settings, &mut found);
        }
        if let Some(smtp) = &self.smtp {
            found.filled("smtp.host", &smtp.host);
            found.unless(smtp.port != 0, "smtp.port", "must not be 0");
            found.unless(
                smtp.from.contains('@'),
                "smtp.from",
                "must be an e-mail address",
            );
            let has_address = self.server.public_url.is_some();
            let reason = "is needed for the links in mail";
            found.unless(has_address, "server.public_url", reason);
        }
        if let Some(settings) = &self.oidc {
            oidc(settings, &self.server, &mut found);
        }
        security(&self.security, &mut found);
        queue(&self.queue, &mut found);
        logging(&self.logging, &mut found);
        let kept = self.audit.retention_days;
        found.within("audit.retention_days", kept, 0, 36_500);
        notifications(&self.notifications, &mut found);
        found.filled("worker.dir", &self.worker.dir.to_string_lossy());
        found.within(
            "worker.log_limit_bytes",
            self.worker.log_limit_bytes,
            1,
            u64::MAX,
        );
        found.within("worker.nice", self.worker.nice, 0, 19);
        if found.0.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::Invalid(found.0))
        }
    }
}

fn server(server: &Server, found: &mut Findings) {
    found.filled("server.host", &server.host);
    for (index, proxy) in server.trusted_proxies.iter().enumerate() {
        if let Err(why) = Network::parse(proxy) {
            found.refuse(&format!("server.trusted_proxies[{index}]"), why);
        }
    }
    if let Some(url) = &server.public_url {
        let parsed = Url::parse(url);
        let usable =
            parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        found.unless(
            usable,
            "server.public_url",
            "must be an address with http:// or https://",
        );
    }
}

fn database(database: &Database, found: &mut Findings) {
    match database.dialect {
        Dialect::Sqlite => {
            let path = database.path.as_ref();
            let set = path.is_some_and(|path| !path.as_os_str().is_empty());
            found.unless(set, "database.path", "is needed with the dialect sqlite");
        }
        Dialect::Mysql => {
            let needed = [
                ("database.host", &database.host),
                ("database.username", &database.username),
                ("database.database", &database.database),
            ];
            for (key, value) in needed {
                let set = value
                    .as_deref()
                    .is_some_and(|value| !value.trim().is_empty());
                found.unless(set, key, "is needed with the dialect mysql");
            }
        }
    }
    found.within("database.port", database.port, 1, u16::MAX);
    found.within(
        "database.max_connections",
        database.max_connections,
        1,
        1_000,
    );
}

fn redis(redis: &Redis, found: &mut Findings) {
    found.filled("redis.host", &redis.host);
    found.within("redis.port", redis.port, 1, u16::MAX);
    found.filled("redis.prefix", &redis.prefix);
}

fn oidc(oidc: &Oidc, server: &Server, found: &mut Findings) {
    let issuer = oidc.issuer.as_deref().unwrap_or_default();
    let is_usable = Url::parse(issuer).is_ok_and(|url| {
        let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        url.scheme() == "https" || (url.scheme() == "http" && is_here)
    });
    let reason = "must be an address with https://, or of this machine";
    found.unless(is_usable, "oidc.issuer", reason);
    let client = oidc.client_id.as_deref().unwrap_or_default();
    found.filled("oidc.client_id", client);
    found.filled("oidc.name", &oidc.name);
    found.filled("oidc.groups_claim", &oidc.groups_claim);
    found.unless(
        oidc.default_role != Some(SystemRole::Admin),
        "oidc.default_role",
        "must not be admin; name the group in oidc.admin_groups",
    );
    found.unless(
        server.public_url.is_some(),
        "server.public_url",
        "is needed for coming back from the identity provider",
    );
}

fn security(security: &Security, found: &mut Findings) {
    let twice = "is set along with its file; keep one of the two";
    let key = (&security.encryption_key, &security.encryption_key_file);
    found.unless(
        key.0.is_none() || key.1.is_none(),
        "security.encryption_key",
        twice,
    );
    let secret = (&security.session_secret, &security.session_secret_file);
    found.unless(
        secret.0.is_none() || secret.1.is_none(),
        "security.session_secret",
        twice,
    );

    let active = security.encryption_key_version;
    found.within("security.encryption_key_version", active, 1, i32::MAX);
    for version in security.retired_keys.keys() {
        let key = format!("security.retired_keys.{version}");
        let number = version.parse::<i32>().ok().filter(|number| *number >= 1);
        found.unless(
            number.is_some(),
            &key,
            "must have a version number for its name",
        );
        found.unless(
            number != Some(active),
            &key,
            "has the version of security.encryption_key",
        );
    }
}

fn queue(queue: &Queue, found: &mut Findings) {
    found.within("queue.max_concurrency", queue.max_concurrency, 1, 256);
    found.within("queue.max_running", queue.max_running, 1, 1_000_000);
    found.within("queue.retry_attempts", queue.retry_attempts, 1, 10);
    let most = Queue::BACKLOG_LIMIT_MAX;
    found.within("queue.backlog_limit", queue.backlog_limit, 1, most);
    found.within("queue.lease_ms", queue.lease_ms, 1_000, 600_000);
    let delays = &queue.retry_delays;
    let count = (1..=10).contains(&delays.len());
    found.unless(
        count,
        "queue.retry_delays",
        "must have between 1 and 10 entries",
    );
    for (index, delay) in delays.iter().enumerate() {
        found.within(
            &format!("queue.retry_delays[{index}]"),
            *delay,
            0,
            RETRY_DELAY_MAX_MS,
        );
    }
}

fn notifications(settings: &Notifications, found: &mut Findings) {
    let named = |name: &str| format!("notifications.{name}");
    let day = 86_400;
    let (kept, due) = (settings.retention_days, settings.key_rotation_due_days);
    found.within(&named("retention_days"), kept, 0, 36_500);
    found.within(&named("fold_seconds"), settings.fold_seconds, 0, day);
    let stuck = settings.stuck_after_seconds;
    found.within(&named("stuck_after_seconds"), stuck, 0, 30 * day);
    found.within(&named("key_rotation_due_days"), due, 0, 36_500);
    let at_once = settings.send_concurrency;
    found.within(&named("send_concurrency"), at_once, 1, 256);
    for (index, entry) in settings.allow.iter().enumerate() {
        if let Err(why) = Destination::parse(entry) {
            found.refuse(&named(&format!("allow[{index}]")), why);
        }
    }
}

fn logging(logging: &Logging, found: &mut Findings) {
    if let Err(error) = telemetry::filter(&logging.level) {
        found.refuse("logging.level", error);
    }
}

#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn refuse(&mut self, key: &str, reason: impl Display) {
        self.0.push(Problem::Refused {
            key: key.to_owned(),
            reason: reason.to_string(),
        });
    }

    fn unless(&mut self, right: bool, key: &str, reason: &str) {
        if !right {
            self.refuse(key, reason);
        }
    }

    fn filled(&mut self, key: &str, value: &str) {
        self.unless(!value.trim().is_empty(), key, "must not be empty");
    }

    fn within<N: PartialOrd + Display + Copy>(&mut self, key: &str, value: N, least: N, most: N) {
        if value < least || value > most {
            self.refuse(
                key,
                format_args!("is {value}; it must be between {least} and {most}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::load::{Source, load};

    fn refused(variables: &[(&str, &str)]) -> Vec<String> {
        let base = [("SLIPWAY__DATABASE__PATH", "slipway.db")];
        let env: BTreeMap<String, String> = base
            .iter()
            .chain(variables)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match load(&Source::default(), &env).unwrap().check() {
            Ok(()) => Vec::new(),
            Err(SettingsError::Invalid(problems)) => {
                problems.iter().map(ToString::to_string).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn defaults_need_only_a_path() {
        assert_eq!(refused(&[]), [""; 0]);
        let bare = load(&Source::default(), &BTreeMap::new())
            .unwrap()
            .check()
            .unwrap_err();
        assert_eq!(
            bare.to_string(),
            "the settings cannot be used:\n  - `database.path` is needed with the dialect sqlite"
        );
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let problems = refused(&[
            ("SLIPWAY__DATABASE__DIALECT", "mysql"),
            ("SLIPWAY__QUEUE__RETRY_DELAYS", "1,3600001"),
            ("SLIPWAY__REDIS__PORT", "0"),
            ("SLIPWAY__LOGGING__LEVEL", "loud"),
        ]);
        assert_eq!(
            problems,
            [
                "`database.host` is needed with the dialect mysql",
                "`database.username` is needed with the dialect mysql",
                "`database.database` is needed with the dialect mysql",
                "`redis.port` is 0; it must be between 1 and 65535",
                "`queue.retry_delays[1]` is 3600001; it must be between 0 and 3600000",
                "`logging.level` has `loud`, which is not one of off, error, warn, info, debug, trace",
            ]
        );
    }

    #[test]
    fn limits_of_the_queue_are_inclusive() {
        let limits = [
            ("MAX_CONCURRENCY", 1, 256_u64),
            ("RETRY_ATTEMPTS", 1, 10),
            ("BACKLOG_LIMIT", 1, 1_000_000),
            ("LEASE_MS", 1_000, 600_000),
            ("RETRY_DELAYS", 0, 3_600_000),
        ];
        for (name, least, most) in limits {
            let name = format!("SLIPWAY__QUEUE__{name}");
            for allowed in [least, most] {
                assert_eq!(
                    refused(&[(&name, &allowed.to_string())]),
                    [""; 0],
                    "{name} {allowed}"
                );
            }
            let outside = [least.checked_sub(1), Some(most + 1)];
            for refusable in outside.into_iter().flatten() {
                assert_eq!(
                    refused(&[(&name, &refusable.to_string())]).len(),
                    1,
                    "{name} {refusable}"
                );
            }
        }
    }

    #[test]
    fn number_of_delays_is_limited() {
        assert_eq!(
            refused(&[("SLIPWAY__QUEUE__RETRY_DELAYS", "1,1,1,1,1,1,1,1,1,1")]),
            [""; 0]
        );
        for delays in ["[]", "1,1,1,1,1,1,1,1,1,1,1"] {
            assert_eq!(
                refused(&[("SLIPWAY__QUEUE__RETRY_DELAYS", delays)]),
                ["`queue.retry_delays` must have between 1 and 10 entries"]
            );
        }
    }

    #[test]
    fn an_identity_provider_needs_what_makes_it_one() {
        let provider = [
            ("SLIPWAY__OIDC__ISSUER", "https://id.example.com"),
            ("SLIPWAY__OIDC__CLIENT_ID", "slipway"),
            ("SLIPWAY__SERVER__PUBLIC_URL", "https://deploy.example.com"),
        ];
        assert_eq!(refused(&provider), [""; 0]);
        assert_eq!(
            refused(&[("SLIPWAY__OIDC__DEFAULT_ROLE", "admin")]),
            [
                "`oidc.issuer` must be an address with https://, or of this machine",
                "`oidc.client_id` must not be empty",
                "`oidc.default_role` must not be admin; name the group in oidc.admin_groups",
                "`server.public_url` is needed for coming back from the identity provider",
            ]
        );
        for (issuer, count) in [
            ("http://127.0.0.1:8080/realm", 0),
            ("http://localhost", 0),
            ("http://id.example.com", 1),
            ("id.example.com", 1),
        ] {
            let mut provider = provider;
            provider[0].1 = issuer;
            assert_eq!(refused(&provider).len(), count, "{issuer}");
        }
    }

    #[test]
    fn public_url_is_for_browsers() {
        for url in ["http://localhost:3000", "https://deploy.example.com/base"] {
            assert_eq!(
                refused(&[("SLIPWAY__SERVER__PUBLIC_URL", url)]),
                [""; 0],
                "{url}"
            );
        }
        for url in [
            "deploy.example.com",
            "ftp://example.com",
            "https://",
            "javascript:alert(1)",
        ] {
            assert_eq!(
                refused(&[("SLIPWAY__SERVER__PUBLIC_URL", url)]).len(),
                1,
                "{url}"
            );
        }
    }

    #[test]
    fn key_comes_from_one_place_and_versions_are_distinct() {
        let problems = refused(&[
            ("SLIPWAY__SECURITY__ENCRYPTION_KEY", "k"),
            ("SLIPWAY__SECURITY__ENCRYPTION_KEY_FILE", "/run/key"),
            ("SLIPWAY__SECURITY__ENCRYPTION_KEY_VERSION", "2"),
            ("SLIPWAY__SECURITY__RETIRED_KEYS__1", "fine"),
            ("SLIPWAY__SECURITY__RETIRED_KEYS__2", "active"),
            ("SLIPWAY__SECURITY__RETIRED_KEYS__OLD", "not a number"),
        ]);
        assert_eq!(
            problems,
            [
                "`security.encryption_key` is set along with its file; keep one of the two",
                "`security.retired_keys.2` has the version of security.encryption_key",
                "`security.retired_keys.old` must have a version number for its name",
            ]
        );
    }

    #[test]
    fn filters_are_allowed_for_the_level() {
        for level in ["warn", "info,slipway_worker=debug", "off"] {
            assert_eq!(
                refused(&[("SLIPWAY__LOGGING__LEVEL", level)]),
                [""; 0],
                "{level}"
            );
        }
        for level in ["inof", "info,slipway_core=loud", "5", ","] {
            assert_eq!(
                refused(&[("SLIPWAY__LOGGING__LEVEL", level)]).len(),
                1,
                "{level}"
            );
        }
    }
}
