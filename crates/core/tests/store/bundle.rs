//! Statements that are sent together do what they would have done one by one.

use chrono::{DateTime, SubsecRound as _, Utc};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};
use slipway_core::db::Bundle;

use crate::rig::Rig;

everywhere! {
    values_arrive_as_they_were,
    an_expectation_that_is_not_met_undoes_everything,
    an_error_undoes_everything,
    what_a_bundle_reads_is_what_it_wrote,
    questions_asked_at_once_are_answered_in_order,
    an_error_fails_the_question_that_made_it_and_those_behind,
    a_transaction_goes_on_where_its_first_bundle_ended,
    a_bundle_broken_off_leaves_nothing_behind,
}

/// Texts that end a literal, a statement or a line wherever a quotation is sloppy.
const AWKWARD: [&str; 12] = [
    "",
    "'",
    "\\",
    "\\'",
    "''; DROP TABLE things; --",
    "a;b?c",
    "\" ` /* # */ -- \u{0}\u{1a}\n\r\t\u{8}",
    "%_\\%\\_",
    "\u{feff}é日本\u{1f600}\u{2028}",
    "\\\\\\",
    "x\\",
    "$1 :name @variable",
];

async fn table(rig: &Rig) {
    let create = "CREATE TABLE things (id BIGINT PRIMARY KEY, name VARCHAR(200) NULL, \
                  body BLOB NULL, at TIMESTAMP(6) NULL)";
    let create = if rig.ctx.db.backend() == DbBackend::MySql {
        format!("{create} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    } else {
        create.replace("TIMESTAMP(6)", "TEXT")
    };
    rig.ctx
        .db
        .writer()
        .execute_unprepared(&create)
        .await
        .unwrap();
}

fn statement<const N: usize>(rig: &Rig, sql: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(rig.ctx.db.backend(), sql, values)
}

fn insert(rig: &Rig, id: i64) -> Statement {
    statement(rig, "INSERT INTO things (id) VALUES (?)", [id.into()])
}

fn all(rig: &Rig) -> Statement {
    statement(rig, "SELECT id FROM things ORDER BY id", [])
}

async fn ids(rig: &Rig) -> Vec<i64> {
    let rows = rig.ctx.db.reader().query_all_raw(all(rig)).await.unwrap();
    rows.iter()
        .map(|row| row.try_get("", "id").unwrap())
        .collect()
}

async fn values_arrive_as_they_were(rig: Rig) {
    table(&rig).await;
    let moment = Utc::now().trunc_subsecs(6);
    let mut bundle = Bundle::default();
    for (id, text) in (0_i64..).zip(AWKWARD) {
        let sql = "INSERT INTO things (id, name, body, at) VALUES (?, ?, ?, ?)";
        let values = [
            id.into(),
            text.into(),
            text.as_bytes().into(),
            moment.into(),
        ];
        bundle = bundle.write_exactly(1, statement(&rig, sql, values));
    }
    assert!(rig.ctx.db.at_once(&bundle).await.unwrap().is_some());
    // Read back with bound parameters, and at once.
    let select = || statement(&rig, "SELECT * FROM things ORDER BY id", []);
    let apart = rig.ctx.db.reader().query_all_raw(select()).await.unwrap();
    let question = Bundle::default().read(select());
    let mut done = rig.ctx.db.at_once(&question).await.unwrap().unwrap();
    let together = done.remove(0).rows;
    for rows in [apart, together] {
        assert_eq!(rows.len(), AWKWARD.len());
        for (row, text) in rows.iter().zip(AWKWARD) {
            assert_eq!(row.try_get::<String>("", "name").unwrap(), text);
            assert_eq!(row.try_get::<Vec<u8>>("", "body").unwrap(), text.as_bytes());
            assert_eq!(row.try_get::<DateTime<Utc>>("", "at").unwrap(), moment);
        }
    }
}

async fn an_expectation_that_is_not_met_undoes_everything(rig: Rig) {
    table(&rig).await;
    let named = |name: &str| {
        let sql = "UPDATE things SET name = ? WHERE id = 1";
        statement(&rig, sql, [name.into()])
    };
    let unmet = Bundle::default()
        .write(insert(&rig, 1))
        .write_exactly(2, named("two"))
        .write(insert(&rig, 2));
    assert!(rig.ctx.db.at_once(&unmet).await.unwrap().is_none());
    assert_eq!(ids(&rig).await, [0; 0]);
    // The same value again is a change too, as SQLite counts.
    let met = Bundle::default()
        .write(insert(&rig, 1))
        .write_exactly(1, named("one"))
        .write_exactly(1, named("one"));
    let done = rig.ctx.db.at_once(&met).await.unwrap().unwrap();
    assert_eq!(done.len(), 0, "nothing was asked");
    assert_eq!(ids(&rig).await, [1]);
}

async fn an_error_undoes_everything(rig: Rig) {
    table(&rig).await;
    let twice = Bundle::default()
        .write(insert(&rig, 1))
        .write(insert(&rig, 2))
        .write(insert(&rig, 1));
    for _ in 0..30 {
        // More often than there are connections: none may be left in a transaction.
        rig.ctx.db.at_once(&twice).await.unwrap_err();
        assert_eq!(ids(&rig).await, [0; 0]);
    }
    let once = Bundle::default().write(insert(&rig, 1));
    assert!(rig.ctx.db.at_once(&once).await.unwrap().is_some());
    assert_eq!(ids(&rig).await, [1]);
}

async fn what_a_bundle_reads_is_what_it_wrote(rig: Rig) {
    table(&rig).await;
    let bundle = Bundle::default()
        .read(all(&rig))
        .write(insert(&rig, 7))
        .read(all(&rig))
        .write_exactly(1, insert(&rig, 8))
        .read(all(&rig));
    let done = rig.ctx.db.at_once(&bundle).await.unwrap().unwrap();
    let rows: Vec<usize> = done.iter().map(|done| done.rows.len()).collect();
    assert_eq!(rows, [0, 1, 2]);
}

async fn questions_asked_at_once_are_answered_in_order(rig: Rig) {
    let number = |number: i64| statement(&rig, "SELECT ? AS n", [number.into()]);
    let nothing = statement(&rig, "SELECT id FROM users WHERE id = -1", []);
    let (three, five, seven) = (number(3), number(5), number(7));
    let answers = rig.ctx.db.ask_at_once(|conn| async move {
        let (one, none, other) = tokio::try_join!(
            conn.query_one_raw(three),
            conn.query_all_raw(nothing),
            conn.query_one_raw(five),
        )?;
        // And what is asked only after an answer has come.
        let last = conn.query_one_raw(seven).await?;
        Ok(([one, other, last], none.len()))
    });
    let (numbers, none) = answers.await.unwrap();
    let numbers = numbers.map(|row| row.unwrap().try_get::<i64>("", "n").unwrap());
    assert_eq!((numbers, none), ([3, 5, 7], 0));
}

async fn an_error_fails_the_question_that_made_it_and_those_behind(rig: Rig) {
    table(&rig).await;
    let (good, bad) = (
        all(&rig),
        statement(&rig, "SELECT nonsense FROM things", []),
    );
    let (first, last) = (good.clone(), good);
    let outcomes = rig.ctx.db.ask_at_once(|conn| async move {
        Ok(tokio::join!(
            biased;
            conn.query_all_raw(first),
            conn.query_all_raw(bad),
            conn.query_all_raw(last),
        ))
    });
    let (first, bad, last) = outcomes.await.unwrap();
    assert!(first.is_ok());
    assert!(bad.unwrap_err().to_string().contains("nonsense"));
    if rig.ctx.db.backend() == DbBackend::MySql {
        // It was never carried out; why not is what the database said, not a phrase of ours.
        assert!(last.unwrap_err().to_string().contains("nonsense"));
    }
    assert_eq!(ids(&rig).await, [0; 0]);
}

async fn a_transaction_goes_on_where_its_first_bundle_ended(rig: Rig) {
    table(&rig).await;
    let begin = async |first: i64| {
        let statement = insert(&rig, first);
        let begun = rig.ctx.db.begin_at_once(|tx| async move {
            Ok(tx.execute_raw(statement).await?.rows_affected())
        });
        let (opened, changed) = begun.await.unwrap();
        assert_eq!(changed, 1);
        opened
    };
    let more = |id: i64| Bundle::default().write_exactly(1, insert(&rig, id));
    let never = Bundle::default().write_exactly(9, insert(&rig, 8));
    begin(1).await.roll_back().await;
    let nothing = rig.ctx.db.begin_at_once(|_tx| async { Ok(()) });
    let (opened, ()) = nothing.await.unwrap();
    opened
        .then(&more(1))
        .await
        .unwrap()
        .unwrap()
        .0
        .roll_back()
        .await;
    assert!(begin(2).await.finish(&never).await.unwrap().is_none());
    assert!(begin(3).await.then(&never).await.unwrap().is_none());
    drop(begin(4).await);
    begin(5).await.finish(&more(5)).await.unwrap_err();
    assert_eq!(ids(&rig).await, [0; 0]);
    let (opened, done) = begin(6).await.then(&more(7)).await.unwrap().unwrap();
    assert_eq!(done.len(), 0);
    opened.finish(&more(9)).await.unwrap().unwrap();
    assert_eq!(ids(&rig).await, [6, 7, 9]);
    let empty = Bundle::default();
    begin(10).await.finish(&empty).await.unwrap().unwrap();
    let twice = Bundle::default()
        .write(insert(&rig, 12))
        .write(insert(&rig, 12));
    begin(11).await.finish(&twice).await.unwrap_err();
    assert_eq!(ids(&rig).await, [6, 7, 9, 10]);
}

async fn a_bundle_broken_off_leaves_nothing_behind(rig: Rig) {
    table(&rig).await;
    let bundle = (1..200).fold(Bundle::default(), |bundle, id| {
        bundle.write(insert(&rig, id))
    });
    for turns in 0..40 {
        // Dropped after so many turns, which is at the latest while the answers come.
        let mut work = Box::pin(rig.ctx.db.at_once(&bundle));
        for _ in 0..turns {
            if futures_util::poll!(work.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(work);
        let left = ids(&rig).await.len();
        assert!(left == 0 || left == 199, "{left} of 199 are left");
        let delete = statement(&rig, "DELETE FROM things", []);
        rig.ctx
            .db
            .at_once(&Bundle::default().write(delete))
            .await
            .unwrap();
    }
}
