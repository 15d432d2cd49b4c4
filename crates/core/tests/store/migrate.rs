//! Bringing the schema up, and what the columns keep.

use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_core::{
    db::Db,
    deployment::store::step::{Plan, RunKey, plan as plan_all},
    project,
    schema::{self, SchemaStatus},
    settings::Settings,
};
use slipway_testkit::TestDatabase;
use sqlx::{ConnectOptions as _, Executor as _, sqlite::SqliteConnectOptions};

use crate::rig::{Rig, conflict, new_project, settings};

on_both! {
    migrating_again_changes_nothing,
    a_schema_that_lacks_a_migration_is_refused_with_the_command_to_run,
    a_schema_of_a_newer_version_is_refused,
    times_come_back_to_the_microsecond,
    text_keys_tell_case_apart,
    addresses_name_a_project_exactly,
    a_value_that_does_not_fit_is_refused,
    every_migration_can_be_taken_back,
}

async fn up(settings: Settings) -> anyhow::Result<SchemaStatus> {
    let db = Db::connect(&settings.database).await?;
    schema::migrate(&db, &settings.database).await
}

/// Four processes, each with connections of its own, on an empty database.
async fn four_at_once(database: TestDatabase) {
    let settings = settings(&database);
    let processes: Vec<_> = (0..4).map(|_| tokio::spawn(up(settings.clone()))).collect();
    for process in processes {
        let status = process.await.unwrap().unwrap();
        assert!(status.pending.is_empty() && status.unknown.is_empty());
        assert!(status.applied.len() >= 15);
    }
    let db = Db::connect(&settings.database).await.unwrap();
    schema::require_current(&db).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_migrate_an_empty_sqlite_file_at_once() {
    four_at_once(slipway_testkit::sqlite_database()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_migrate_an_empty_mysql_database_at_once() {
    four_at_once(slipway_testkit::mysql_database()).await;
}

/// Opening a file for the first time changes it, and SQLite does not wait for that by itself.
#[tokio::test]
async fn a_new_sqlite_file_that_another_process_writes_is_waited_for() {
    let database = slipway_testkit::sqlite_database();
    let settings = settings(&database).database;
    let options = SqliteConnectOptions::new()
        .filename(settings.path.as_deref().unwrap())
        .create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut opening = Box::pin(Db::connect(&settings));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut opening).await;
    assert!(early.is_err(), "opened or given up beside a writer");
    other.execute("ROLLBACK").await.unwrap();
    opening.await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn an_unmigrated_database_is_refused_with_the_command_to_run() {
    let database = slipway_testkit::sqlite_database();
    let db = Db::connect(&settings(&database).database).await.unwrap();
    let refusal = schema::require_current(&db).await.unwrap_err().to_string();
    assert!(refusal.contains("slipway migrate"), "{refusal}");
}

async fn migrating_again_changes_nothing(rig: Rig) {
    let before = schema::status(&rig.ctx.db).await.unwrap();
    let again = schema::migrate(&rig.ctx.db, &rig.ctx.settings.database).await;
    assert_eq!(again.unwrap(), before);
    schema::require_current(&rig.ctx.db).await.unwrap();
}

async fn a_schema_that_lacks_a_migration_is_refused_with_the_command_to_run(rig: Rig) {
    let newest = schema::status(&rig.ctx.db).await.unwrap().applied;
    let newest = newest.last().unwrap().as_str();
    let forget = "DELETE FROM seaql_migrations WHERE version = ?";
    assert_eq!(rig.execute(forget, [newest.into()]).await, 1);
    let refusal = schema::require_current(&rig.ctx.db).await.unwrap_err();
    let refusal = refusal.to_string();
    assert!(refusal.contains(newest), "{refusal}");
    assert!(refusal.contains("`slipway migrate`"), "{refusal}");
}

async fn a_schema_of_a_newer_version_is_refused(rig: Rig) {
    let sql = "INSERT INTO seaql_migrations (version, applied_at) VALUES (?, 0)";
    rig.execute(sql, ["m29991231_000001_from_the_future".into()])
        .await;
    let refusal = schema::require_current(&rig.ctx.db).await.unwrap_err();
    let refusal = refusal.to_string();
    assert!(refusal.contains("newer Slipway"), "{refusal}");
    assert!(
        refusal.contains("m29991231_000001_from_the_future"),
        "{refusal}"
    );
}

async fn times_come_back_to_the_microsecond(rig: Rig) {
    let owner = rig.site("clock").await.owner;
    for text in [
        "2026-11-23T08:09:10.123456Z",
        "2026-11-23T08:09:10.000001Z",
        "2026-11-23T08:09:10Z",
        "1999-12-31T23:59:59.999999Z",
    ] {
        let at: DateTime<Utc> = text.parse().unwrap();
        let slug = format!("p{}", at.timestamp_micros());
        let made = project::service::create(&rig.ctx, &owner, new_project(&slug), at).await;
        assert_eq!(made.unwrap().created_at, at);
        let found = project::store::find(rig.ctx.db.reader(), &slug).await;
        assert_eq!(found.unwrap().unwrap().created_at, at);
    }
}

async fn text_keys_tell_case_apart(rig: Rig) {
    let site = rig.site("case").await;
    let put = async |name: &str, value: &str| {
        let input = slipway_core::variable::service::VariableInput {
            name: name.parse().unwrap(),
            value: value.to_owned(),
            target: None,
        };
        let now = slipway_core::db::now();
        slipway_core::variable::service::put(&rig.ctx, &site.owner, "case", input, now)
            .await
            .unwrap();
    };
    put("Token", "mixed").await;
    put("TOKEN", "upper").await;
    let rows = slipway_core::variable::service::list(&rig.ctx, &site.owner, "case").await;
    let rows: Vec<_> = rows
        .unwrap()
        .into_iter()
        .map(|row| (row.name, row.value))
        .collect();
    let expected = [("TOKEN", "upper"), ("Token", "mixed")];
    assert_eq!(
        rows,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

async fn addresses_name_a_project_exactly(rig: Rig) {
    let site = rig.site("exact").await;
    let conn = rig.ctx.db.reader();
    for other in ["exact ", "Exact", " exact", "exac", "exact\0", ""] {
        let found = project::store::find(conn, other).await.unwrap();
        assert!(found.is_none(), "{other:?} found a project");
    }
    let target = |key: &'static str| slipway_core::target::store::find(conn, site.project.id, key);
    assert!(target("live").await.unwrap().is_some());
    assert!(target("live ").await.unwrap().is_none());
    let again = project::service::create(
        &rig.ctx,
        &site.owner,
        new_project("exact"),
        slipway_core::db::now(),
    );
    assert_eq!(conflict(again.await), "slug_taken");
}

/// A MySQL server whose own mode is lax would cut the text and say nothing.
async fn a_value_that_does_not_fit_is_refused(rig: Rig) {
    let site = rig.site("long").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    let snapshot = slipway_core::deployment::store::snapshot::Snapshot {
        commit_id: None,
        commit_subject: Some("ä".repeat(400)),
        commit_author: Some("b".repeat(400)),
    };
    let written = slipway_core::deployment::store::snapshot::set_snapshot(
        rig.ctx.db.writer(),
        id,
        row.fence,
        snapshot,
    );
    assert!(written.await.unwrap());
    let plan = Plan {
        run: RunKey {
            deployment: id,
            fence: row.fence,
            attempt: row.attempt,
        },
        pipeline: "{}".repeat(100_000),
        steps: Vec::new(),
        greeting: None,
    };
    plan_all(&rig.ctx.db, &[plan]).await.unwrap();
    let row = rig.row(id).await;
    assert_eq!(row.commit_subject, Some("ä".repeat(255)));
    assert_eq!(row.commit_author, Some("b".repeat(255)));
    assert_eq!(row.pipeline.map(|text| text.len()), Some(200_000));
    if rig.database.name().is_some() {
        let update = project::entity::ActiveModel {
            name: sea_orm::ActiveValue::Set("n".repeat(101)),
            ..Default::default()
        };
        let (conn, counted) = (rig.ctx.db.writer(), rig.counted().await);
        let refused = project::store::update(conn, &counted, site.project.id, update).await;
        assert!(refused.unwrap_err().to_string().contains("too long"));
    }
}

async fn every_migration_can_be_taken_back(rig: Rig) {
    use slipway_migration::{Migrator, MigratorTrait as _};
    Migrator::down(rig.ctx.db.writer().pool().unwrap(), None)
        .await
        .unwrap();
    let status = schema::status(&rig.ctx.db).await.unwrap();
    assert!(status.applied.is_empty(), "{:?}", status.applied);
    let again = schema::migrate(&rig.ctx.db, &rig.ctx.settings.database).await;
    assert!(again.unwrap().pending.is_empty());
}
