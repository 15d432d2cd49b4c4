use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;
use crate::settings::{DatabaseTls, Dialect, LogFormat};

const KEY: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";
const PRODUCTION: [(&str, &str); 6] = [
    ("DB_HOST", "db.internal"),
    ("DB_USER", "slipway"),
    ("DB_PASSWORD", "quite secret"),
    ("REDIS_HOST", "redis.internal"),
    ("REDIS_PASSWORD", ""),
    ("ENCRYPTION_KEY", KEY),
];

fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    load(&Source::default(), &env(variables))
}

fn from_file(text: &str, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("test.yaml");
    fs::write(&path, text).unwrap();
    load(
        &Source {
            config: Some(path),
            dir: PathBuf::new(),
        },
        &env(variables),
    )
}

/// The problems, with the temporary folder's name left out.
fn problems(result: Result<Settings, SettingsError>) -> Vec<String> {
    let Err(SettingsError::Invalid(problems)) = result else {
        panic!("{result:?}")
    };
    let shown = |problem: &Problem| {
        let text = problem.to_string();
        match (text.find("(/"), text.find("test.yaml")) {
            (Some(start), Some(end)) => format!("{}({}", &text[..start], &text[end..]),
            _ => text,
        }
    };
    problems.iter().map(shown).collect()
}

#[test]
fn defaults_are_complete() {
    let settings = with(&[]).unwrap();
    assert_eq!(
        (settings.server.host.as_str(), settings.server.port),
        ("127.0.0.1", 3000)
    );
    assert_eq!(settings.server.public_url, None);
    assert_eq!(settings.database.dialect, Dialect::Sqlite);
    assert_eq!(settings.database.path, None);
    assert_eq!(settings.database.port, 3306);
    assert_eq!(settings.database.tls, DatabaseTls::Prefer);
    assert_eq!(settings.database.max_connections, 16);
    assert!(settings.redis.is_none());
    assert!(settings.security.encryption_key.is_none());
    assert_eq!(settings.security.encryption_key_version, 1);
    assert!(settings.security.retired_keys.is_empty());
    assert_eq!(settings.queue.max_concurrency, 5);
    assert_eq!(settings.queue.max_running, 1000);
    assert_eq!(settings.queue.retry_attempts, 3);
    assert_eq!(settings.queue.retry_delays, [1000, 5000, 25000]);
    assert_eq!(settings.queue.backlog_limit, 1000);
    assert_eq!(settings.queue.lease_ms, 30_000);
    assert_eq!(settings.logging.level, "info");
    assert!(settings.logging.redact_secrets);
    assert_eq!(settings.logging.format, LogFormat::Text);
    assert_eq!(settings.worker.dir, Path::new("/var/lib/slipway/worker"));
    assert!(settings.worker.labels.is_empty());
    assert_eq!(settings.worker.drain_timeout_seconds, 600);
    assert_eq!(settings.worker.log_limit_bytes, 268_435_456);
    assert_eq!(settings.worker.nice, 10);
    assert!(settings.repositories.local_paths.is_empty());
}

#[test]
fn shipped_production_file_works_as_it_stands() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/production.yaml");
    let variables = [PRODUCTION.as_slice(), &[("SESSION_SECRET", "s")]].concat();
    let source = Source {
        config: Some(config),
        dir: PathBuf::new(),
    };
    let settings = load(&source, &env(&variables)).unwrap();
    settings.check().unwrap();
    assert_eq!(settings.server.host, "0.0.0.0");
    assert_eq!(settings.database.dialect, Dialect::Mysql);
    assert_eq!(settings.database.host.as_deref(), Some("db.internal"));
    assert_eq!(
        settings.database.password.unwrap().expose_secret(),
        "quite secret"
    );
    assert_eq!(
        settings.security.encryption_key.unwrap().expose_secret(),
        KEY
    );
    assert_eq!(settings.logging.format, LogFormat::Json);
    let redis = settings.redis.unwrap();
    assert_eq!(
        (redis.host.as_str(), redis.port, redis.tls),
        ("redis.internal", 6379, true)
    );
    assert!(redis.password.is_none());
    assert_eq!(redis.prefix, "{slw}");
}

#[test]
fn one_line_sections_of_the_design_work() {
    let text = r#"
server: { port: 3000, host: 0.0.0.0 }
database: { dialect: mysql, host: "${DB_HOST}", port: 3306, username: "${DB_USER}", password: "${DB_PASSWORD}", database: deploy_orchestrator }
redis: { host: "${REDIS_HOST}", port: 6379, password: "${REDIS_PASSWORD}", tls: true }
security: { encryption_key: "${ENCRYPTION_KEY}", session_secret: "${SESSION_SECRET}" }
queue: { max_concurrency: 5, retry_attempts: 3, retry_delays: [1000, 5000, 25000] }
logging: { level: info, redact_secrets: true, format: json }
"#;
    let variables = [PRODUCTION.as_slice(), &[("SESSION_SECRET", "s")]].concat();
    from_file(text, &variables).unwrap().check().unwrap();
}

#[test]
fn environment_wins_over_file_and_file_over_defaults() {
    let text = "server: { port: 4000, host: 10.0.0.1 }";
    let settings = from_file(text, &[("SLIPWAY__SERVER__PORT", "5000")]).unwrap();
    assert_eq!(
        (settings.server.host.as_str(), settings.server.port),
        ("10.0.0.1", 5000)
    );
    assert_eq!(settings.database.port, 3306);
}

#[test]
fn named_environment_selects_the_file() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(
        folder.path().join("config/staging.yaml"),
        "server: { port: 4100 }",
    )
    .unwrap();
    let source = Source {
        config: None,
        dir: folder.path().to_owned(),
    };
    let settings = load(&source, &env(&[("SLIPWAY_ENV", "staging")])).unwrap();
    assert_eq!(settings.server.port, 4100);

    assert_eq!(
        load(&source, &env(&[("SLIPWAY_ENV", "")]))
            .unwrap()
            .server
            .port,
        3000
    );
    let missing = load(&source, &env(&[("SLIPWAY_ENV", "testing")]))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("config/testing.yaml"), "{missing}");
    assert!(missing.contains("/etc/slipway/testing.yaml"), "{missing}");
    let outside = load(&source, &env(&[("SLIPWAY_ENV", "../secret")])).unwrap_err();
    assert!(
        matches!(outside, SettingsError::Environment(_)),
        "{outside}"
    );
}

#[test]
fn given_file_replaces_the_named_one() {
    let settings = from_file("server: { port: 4200 }", &[("SLIPWAY_ENV", "nowhere")]).unwrap();
    assert_eq!(settings.server.port, 4200);
}

#[test]
fn missing_and_broken_files_are_named() {
    let source = Source {
        config: Some("/nowhere/slipway.yaml".into()),
        dir: PathBuf::new(),
    };
    let missing = load(&source, &env(&[])).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "cannot read the settings file /nowhere/slipway.yaml"
    );

    let broken = from_file("server: [", &[]).unwrap_err();
    assert!(matches!(broken, SettingsError::NotYaml { .. }), "{broken}");
    let twice = from_file("server: { port: 1, port: 2 }", &[]).unwrap_err();
    assert!(matches!(twice, SettingsError::NotYaml { .. }), "{twice}");
}

#[test]
fn unknown_settings_are_refused_with_the_nearest_right_one() {
    let text = "server: { prot: 1 }\ndatabse: { host: x }\nqueue: { colour: red }";
    let variables = [
        ("SLIPWAY__LOGGING__LEVLE", "info"),
        ("SLIPWAY_SERVER__PORT", "1"),
    ];
    let mut found = problems(from_file(text, &variables));
    found.sort();
    assert_eq!(
        found,
        [
            "unknown setting `SLIPWAY_SERVER__PORT` (the environment); \
             did you mean `SLIPWAY__SERVER__PORT`?",
            "unknown setting `databse` (test.yaml); did you mean `database`?",
            "unknown setting `logging.levle` (the environment variable SLIPWAY__LOGGING__LEVLE); \
             did you mean `logging.level`?",
            "unknown setting `queue.colour` (test.yaml)",
            "unknown setting `server.prot` (test.yaml); did you mean `server.port`?",
        ]
    );
}

#[test]
fn other_variables_of_slipway_are_no_settings() {
    let variables = [
        ("SLIPWAY_ADMIN_EMAIL", "a@b"),
        ("SLIPWAY_ADMIN_PASSWORD", "x"),
        ("HOME", "/"),
    ];
    assert!(with(&variables).is_ok());
}

#[test]
fn wrong_types_say_where_and_what_was_expected() {
    let text = "server: { port: many, host: 5 }\nredis: yes\nqueue: { retry_delays: [1, soon] }";
    let mut found = problems(from_file(text, &[("SLIPWAY__REDIS__TLS", "maybe")]));
    found.sort();
    assert_eq!(
        found,
        [
            "`queue.retry_delays[1]` must be a whole number, but it is `soon` (test.yaml)",
            "`redis.tls` must be true or false, but it is `maybe` \
             (the environment variable SLIPWAY__REDIS__TLS)",
            "`redis` must be a section, but it is a text (test.yaml)",
            "`server.host` must be a text, but it is a number; put it in quotes (test.yaml)",
            "`server.port` must be a whole number, but it is `many` (test.yaml)",
        ]
    );
}

#[test]
fn numbers_out_of_range_and_unknown_words_are_named() {
    assert_eq!(
        problems(from_file("server: { port: 70000 }", &[])),
        [
            "`server.port` must be an unsigned 16 bit integer, but it is 64-bit unsigned integer \
          `70000` (test.yaml)"
        ]
    );
    assert_eq!(
        problems(with(&[("SLIPWAY__DATABASE__DIALECT", "postgres")])),
        ["`database.dialect` must be one of mysql, sqlite \
          (the environment variable SLIPWAY__DATABASE__DIALECT)"]
    );
}

#[test]
fn references_are_replaced_in_files_only() {
    let text = r#"
server: { port: "${PORT}", host: "${NAME}.example" }
queue: { retry_delays: ["${FIRST}", 20] }
database: { password: "$${NAME}" }
"#;
    let variables = [
        ("PORT", "4300"),
        ("NAME", "web"),
        ("FIRST", "10"),
        ("SLIPWAY__DATABASE__USERNAME", "${NAME}"),
    ];
    let settings = from_file(text, &variables).unwrap();
    assert_eq!(
        (settings.server.host.as_str(), settings.server.port),
        ("web.example", 4300)
    );
    assert_eq!(settings.queue.retry_delays, [10, 20]);
    assert_eq!(
        settings.database.password.unwrap().expose_secret(),
        "${NAME}"
    );
    assert_eq!(settings.database.username.as_deref(), Some("${NAME}"));
}

#[test]
fn unset_variable_names_file_key_and_variable() {
    let text = r#"redis: { host: "${REDIS_HOST}" }"#;
    assert_eq!(
        problems(from_file(text, &[])),
        ["`redis.host` needs the environment variable REDIS_HOST, which is not set (test.yaml)"]
    );
}

#[test]
fn unset_key_comes_with_the_command_that_makes_one() {
    let text = r#"security: { encryption_key: "${KEY}", session_secret: "${SECRET}" }"#;
    assert_eq!(
        problems(from_file(text, &[])),
        [
            "`security.encryption_key` needs the environment variable KEY, which is not set \
             (test.yaml); `slipway keys generate` prints a good one",
            "`security.session_secret` needs the environment variable SECRET, which is not set \
             (test.yaml); `slipway keys generate` prints a good one",
        ]
    );
}

#[test]
fn lists_come_from_variables_as_json_or_with_commas() {
    let settings = with(&[
        ("SLIPWAY__QUEUE__RETRY_DELAYS", "[10, 20]"),
        ("SLIPWAY__WORKER__LABELS", "big, eu-west"),
        ("SLIPWAY__REPOSITORIES__LOCAL_PATHS", r#"["/srv/a,b"]"#),
    ])
    .unwrap();
    assert_eq!(settings.queue.retry_delays, [10, 20]);
    assert_eq!(settings.worker.labels, ["big", "eu-west"]);
    assert_eq!(settings.repositories.local_paths, [Path::new("/srv/a,b")]);
}

#[test]
fn list_replaces_the_list_below() {
    let settings = from_file("queue: { retry_delays: [7] }", &[]).unwrap();
    assert_eq!(settings.queue.retry_delays, [7]);
}

#[test]
fn empty_variables_count_as_left_out() {
    let settings = with(&[
        ("SLIPWAY__SERVER__PORT", ""),
        ("SLIPWAY__DATABASE__PASSWORD", ""),
        ("SLIPWAY__REDIS__HOST", ""),
        ("SLIPWAY__REDIS__PASSWORD", ""),
        ("SLIPWAY__SECURITY__RETIRED_KEYS__1", ""),
    ])
    .unwrap();
    assert_eq!(settings.server.port, 3000);
    assert!(settings.database.password.is_none());
    assert!(settings.redis.is_none());
    assert!(settings.security.retired_keys.is_empty());
}

#[test]
fn redis_has_its_defaults_once_anything_of_it_is_set() {
    let from_variable = with(&[("SLIPWAY__REDIS__HOST", "cache")])
        .unwrap()
        .redis
        .unwrap();
    assert_eq!(
        (from_variable.host.as_str(), from_variable.port),
        ("cache", 6379)
    );
    assert_eq!(
        (from_variable.prefix.as_str(), from_variable.database),
        ("{slw}", 0)
    );
    let empty_section = from_file("redis: {}", &[]).unwrap().redis.unwrap();
    assert_eq!(empty_section.host, "127.0.0.1");
    assert!(from_file("redis:", &[]).unwrap().redis.is_none());
}

#[test]
fn null_and_empty_sections_leave_the_defaults() {
    let settings = from_file("server:\nqueue: { lease_ms: null }\nworker: {}", &[]).unwrap();
    assert_eq!(
        (settings.server.port, settings.queue.lease_ms),
        (3000, 30_000)
    );
}

#[test]
fn retired_keys_are_merged_by_version() {
    let text = "security: { retired_keys: { 1: \"${OLD}\", 2: second } }";
    let variables = [
        ("OLD", "first"),
        ("SLIPWAY__SECURITY__RETIRED_KEYS__2", "other"),
    ];
    let retired = from_file(text, &variables).unwrap().security.retired_keys;
    let shown: Vec<_> = retired
        .iter()
        .map(|(version, key)| (version.as_str(), key.expose_secret()))
        .collect();
    assert_eq!(shown, [("1", "first"), ("2", "other")]);
}

#[test]
fn secrets_do_not_show_in_debug_output_or_errors() {
    let variables = [
        ("SLIPWAY__SECURITY__ENCRYPTION_KEY", KEY),
        ("SLIPWAY__SECURITY__RETIRED_KEYS__7", KEY),
        ("SLIPWAY__DATABASE__PASSWORD", "hunter2-hunter2"),
        ("SLIPWAY__REDIS__PASSWORD", "hunter2-hunter2"),
    ];
    let shown = format!("{:?}", with(&variables).unwrap());
    assert!(
        !shown.contains(KEY) && !shown.contains("hunter2"),
        "{shown}"
    );

    let misplaced = with(&[("SLIPWAY__SECURITY__ENCRYPTION_KEY_VERSION", KEY)]).unwrap_err();
    assert!(
        !format!("{misplaced} {misplaced:?}").contains(KEY),
        "{misplaced}"
    );
}
