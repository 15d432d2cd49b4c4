//! `slipway audit` for whoever holds the machine.

use std::path::Path;

use sea_orm::ConnectionTrait as _;
use serde_json::Value;
use slipway_core::{
    db::Db,
    settings::load::{Source, load},
};
use slipway_testkit::Program;

/// Exit status and everything that was printed.
pub(crate) fn slipway(data: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Program::workspace("slipway")
        .args(arguments)
        .args(["--data".as_ref(), data.as_os_str()])
        .folder(data)
        .run();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Changes the database behind Slipway's back.
pub(crate) async fn sql(data: &Path, statement: &str) {
    let file = data.join("slipway.db").display().to_string();
    let variables = [("SLIPWAY__DATABASE__PATH".to_owned(), file)].into();
    let settings = load(&Source::default(), &variables).unwrap();
    let db = Db::connect(&settings.database).await.unwrap();
    let changed = db.writer().execute_unprepared(statement).await.unwrap();
    assert_eq!(changed.rows_affected(), 1, "{statement}");
}

#[tokio::test]
async fn an_entry_that_was_edited_by_sql_is_named() {
    let folder = tempfile::tempdir().unwrap();
    crate::up_demo::started_and_stopped(folder.path());
    let data = &folder.path().join("data");
    for email in ["ann@example.com", "eve@example.com"] {
        let (done, said) = slipway(data, &["user", "create", email]);
        assert!(done, "{said}");
    }
    let (done, said) = slipway(data, &["audit", "verify"]);
    assert!(done, "{said}");
    assert!(
        said.starts_with("3 entries verified, 0 of them not sealed yet"),
        "{said}"
    );
    let end = said.lines().last().unwrap();
    let noted = end.strip_prefix("end of the chain: ").unwrap().to_owned();

    let (done, said) = slipway(data, &["audit", "export"]);
    assert!(done, "{said}");
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |index: usize, field: &str| lines[index][field].clone();
    assert_eq!(
        (of(1, "action"), of(1, "credential")),
        ("user.create".into(), "console".into())
    );
    assert_eq!(of(1, "object"), "ann@example.com");
    let id = of(1, "id").as_i64().unwrap();

    let edit = format!("UPDATE audit_entries SET object = 'mallory' WHERE id = {id}");
    sql(data, &edit).await;
    let (done, said) = slipway(data, &["audit", "verify", "--noted", &noted]);
    assert!(!done, "{said}");
    assert!(
        said.starts_with(&format!("ALTERED  entry {id} was edited\n")),
        "{said}"
    );
    sql(data, &edit.replace("mallory", "ann@example.com")).await;
    assert!(slipway(data, &["audit", "verify", "--noted", &noted]).0);

    sql(data, &format!("DELETE FROM audit_entries WHERE id = {id}")).await;
    let (done, said) = slipway(data, &["audit", "verify", "--json"]);
    assert!(!done, "{said}");
    let report: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let found = report["findings"][0].as_str().unwrap();
    assert!(
        found.starts_with(&format!("entry {id} of seal ")),
        "{found}"
    );
}
