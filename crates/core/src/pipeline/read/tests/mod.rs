mod arbitrary;
mod refused;

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::pipeline::{Activate, Facts, Health, Hosts, OnFailure, Step};

const WHOLE_YAML: &str = r#"
env: { NODE_ENV: production }
build:                      # on the worker, in a fresh checkout of the exact commit
  - name: install
    run: npm ci
    timeout: 10m
artifact: dist              # what is shipped; default the whole checkout without .git
release:                    # on every host, inside the new release folder, before it is live
  - name: migrate
    run: ./bin/migrate
    on: first               # first host only; default every host
activate: { keep: 5, shared: [storage, .env] }
after:                      # on every host once the release is live
  - name: restart
    run: systemctl --user restart web
health: { url: "http://127.0.0.1:8080/health", expect: 200, attempts: 10, interval: 2s }
rollback_on_failure: true
"#;

const WHOLE_JSON: &str = r#"{
	"env": {"NODE_ENV": "production"},
	"build": [{"name": "install", "run": "npm ci", "timeout": "10m"}],
	"artifact": "dist",
	"release": [{"name": "migrate", "run": ".\/bin\/migrate", "on": "first"}],
	"activate": {"keep": 5, "shared": ["storage", ".env"]},
	"after": [{"name": "restart", "run": "systemctl --user restart web"}],
	"health": {"url": "http://127.0.0.1:8080/health", "expect":200,"attempts":10,"interval":"2s"},
	"rollback_on_failure": true
}"#;

fn step(name: &str, run: &str) -> Step {
    Step {
        name: name.to_owned(),
        run: run.to_owned(),
        timeout: Duration::from_secs(600),
        idle_timeout: None,
        env: BTreeMap::new(),
        secrets: None,
        when: None,
        on_failure: OnFailure::Fail,
        on: Hosts::Every,
    }
}

#[test]
fn whole_document_is_read() {
    let expected = Pipeline {
        env: BTreeMap::from([("NODE_ENV".to_owned(), "production".to_owned())]),
        build: vec![step("install", "npm ci")],
        artifact: Some("dist".to_owned()),
        release: vec![Step {
            on: Hosts::First,
            ..step("migrate", "./bin/migrate")
        }],
        activate: Activate {
            keep: 5,
            shared: vec!["storage".to_owned(), ".env".to_owned()],
        },
        after: vec![step("restart", "systemctl --user restart web")],
        health: Some(Health {
            url: "http://127.0.0.1:8080/health".to_owned(),
            expect: 200,
            attempts: 10,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
        }),
        rollback_on_failure: true,
        ships: true,
    };
    assert_eq!(parse(WHOLE_YAML).unwrap(), expected);
}

#[test]
fn json_reads_like_yaml() {
    assert_eq!(parse(WHOLE_JSON).unwrap(), parse(WHOLE_YAML).unwrap());
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let source = format!("\u{feff}{}", WHOLE_YAML.replace('\n', "\r\n"));
    assert_eq!(parse(&source).unwrap(), parse(WHOLE_YAML).unwrap());
}

#[test]
fn three_lines_run_a_script_on_a_target() {
    let pipeline = parse("after:\n  - name: restart\n    run: systemctl restart web\n").unwrap();
    assert_eq!(pipeline.after, [step("restart", "systemctl restart web")]);
    assert_eq!(pipeline.activate, Activate::default());
    assert_eq!(pipeline.health, None);
    assert!(pipeline.rollback_on_failure);
    assert!(!pipeline.needs_checkout());
}

#[test]
fn every_field_of_a_step_is_read() {
    let source = r#"
after:
  - name: seed
    run: |
      ./seed
      ./check
    timeout: 24h
    idle_timeout: 90s
    env: { PORT: 8080, DEBUG: yes, LIVE: true, RATE: 1.50, EMPTY: "" }
    secrets: [TOKEN, _KEY]
    when: branch == "main" && !(trigger == 'manual')
    on_failure: continue
    on: first
"#;
    let pipeline = parse(source).unwrap();
    let env = [
        ("PORT", "8080"),
        ("DEBUG", "yes"),
        ("LIVE", "true"),
        ("RATE", "1.50"),
        ("EMPTY", ""),
    ];
    let expected = Step {
        timeout: Step::TIMEOUT_MAX,
        idle_timeout: Some(Duration::from_secs(90)),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        secrets: Some(vec!["TOKEN".to_owned(), "_KEY".to_owned()]),
        when: Some(
            "branch == 'main' && !(trigger == 'manual')"
                .parse()
                .unwrap(),
        ),
        on_failure: OnFailure::Continue,
        on: Hosts::First,
        ..step("seed", "./seed\n./check\n")
    };
    assert_eq!(pipeline.after, [expected]);
}

#[test]
fn condition_of_a_step_can_be_asked() {
    let source = "after: [{name: a, run: b, when: \"target == 'web'\"}]";
    let pipeline = parse(source).unwrap();
    let facts = |target| Facts {
        ref_name: "main",
        branch: None,
        target,
        trigger: "push",
        changed: None,
    };
    let condition = pipeline.after[0].when.as_ref().unwrap();
    assert_eq!(condition.evaluate(&facts("web")), Ok(true));
    assert_eq!(condition.evaluate(&facts("db")), Ok(false));
}

#[test]
fn rollback_can_be_switched_off() {
    let pipeline = parse("after: [{name: a, run: b}]\nrollback_on_failure: false").unwrap();
    assert!(!pipeline.rollback_on_failure);
}

#[test]
fn checkout_is_needed_when_something_is_shipped() {
    for (extra, needs_checkout) in [
        ("env: {A: b}", false),
        ("health: {url: 'http://a'}", false),
        ("build: []", false),
        ("build: [{name: x, run: y}]", true),
        ("release: [{name: x, run: y}]", true),
        ("artifact: dist", true),
        ("activate: {}", true),
        ("activate: {keep: 5}", true),
    ] {
        let source = format!("after: [{{name: a, run: b}}]\n{extra}\n");
        let pipeline = parse(&source).unwrap();
        assert_eq!(pipeline.needs_checkout(), needs_checkout, "{extra}");
    }
}

#[test]
fn secret_names_are_those_of_all_steps_unless_one_takes_every_secret() {
    let source = "
build: [{name: a, run: a, secrets: [ONE]}]
release: [{name: b, run: b, secrets: []}]
after: [{name: c, run: c, secrets: [TWO, ONE]}]
";
    let pipeline = parse(source).unwrap();
    assert_eq!(
        pipeline.secret_names(),
        Some(BTreeSet::from(["ONE", "TWO"]))
    );
    let all = parse(&source.replace(", secrets: []", "")).unwrap();
    assert_eq!(all.secret_names(), None);
}

#[test]
fn characters_beyond_the_basic_plane_survive_json() {
    let pipeline = parse(r#"{"after":[{"name":"x","run":"echo \ud83d\ude80 \\ud83d"}]}"#).unwrap();
    assert_eq!(pipeline.after[0].run, "echo \u{1f680} \\ud83d");
}

#[test]
fn snapshot_reads_back_to_the_same() {
    let pipeline = parse(WHOLE_YAML).unwrap();
    let stored = serde_json::to_value(&pipeline).unwrap();
    assert_eq!(stored["build"][0]["timeout"], "10m");
    assert_eq!(
        serde_json::from_value::<Pipeline>(stored).unwrap(),
        pipeline
    );
}
