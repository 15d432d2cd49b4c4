//! Connections to MySQL that are kept between statements.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use slipway_core::db::Db;

use crate::rig::Rig;

async fn number(db: &Db, number: i64) -> i64 {
    let asked = db.reader().query_one_raw(question(number)).await;
    let row = asked.unwrap().expect("a row");
    row.try_get("", "n").unwrap()
}

fn question(number: i64) -> Statement {
    let sql = "SELECT CAST(? AS SIGNED) AS n";
    Statement::from_sql_and_values(DbBackend::MySql, sql, [number.into()])
}

async fn connection_id(db: &Db) -> Result<i64, DbErr> {
    let sql = "SELECT CAST(CONNECTION_ID() AS SIGNED) AS n";
    let asked = Statement::from_string(DbBackend::MySql, sql);
    let row = db.reader().query_one_raw(asked).await?;
    row.expect("a row").try_get("", "n")
}

/// On one thread, so that time can be moved.
#[tokio::test]
async fn connection_of_a_question_that_is_given_up_answers_nobody_else() {
    let rig = Rig::mysql().await;
    let db = &rig.ctx.db;
    for (turns, seconds) in (0..8).flat_map(|turns| [(turns, 0), (turns, 2)]) {
        let before = connection_id(db).await.unwrap();
        // Idle for so long, it is asked whether it still works.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        let reader = db.reader();
        let mut given_up = Box::pin(reader.query_one_raw(question(-2)));
        let (mut is_begun, mut is_over) = (false, false);
        for _ in 0..turns {
            is_begun = true;
            is_over = futures_util::poll!(given_up.as_mut()).is_ready();
            if is_over {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(given_up);
        let after = connection_id(db).await.unwrap();
        assert_eq!(after != before, is_begun && !is_over, "{turns} {seconds}");
        for expected in 0..4 {
            assert_eq!(number(db, expected).await, expected, "{turns} {seconds}");
        }
    }
}

#[tokio::test]
async fn kept_connection_makes_room_for_a_transaction() {
    let rig = Rig::mysql().await;
    let two = |settings: &mut slipway_core::settings::Settings| {
        settings.database.max_connections = 2;
    };
    let (_, db) = rig.restarted(two).await;
    let first = db.begin().await.unwrap();
    assert_eq!(number(&db, 1).await, 1);
    let second = db.begin().await.unwrap();
    second.execute_raw(question(2)).await.unwrap();
    drop((first, second));
    assert_eq!(number(&db, 3).await, 3);
}

#[tokio::test]
async fn connections_that_the_server_has_ended_are_replaced() {
    let rig = Rig::mysql().await;
    let db = &rig.ctx.db;
    let (one, again) = (
        connection_id(db).await.unwrap(),
        connection_id(db).await.unwrap(),
    );
    assert_eq!(one, again, "it is kept");
    let (_, other) = rig.restarted(|_| ()).await;
    let kill = format!("KILL CONNECTION {one}");
    other.writer().execute_unprepared(&kill).await.unwrap();
    // At most what was on its way is lost.
    let _lost = connection_id(db).await;
    assert_ne!(connection_id(db).await.unwrap(), one);
}
