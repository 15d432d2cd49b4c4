//! The one row that every admission locks: it hands out ids, which therefore rise in the order in
//! which requests are accepted, and it keeps the backlog limit exact.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, Statement,
    sea_query::{Expr, ExprTrait as _, Query},
};

use crate::{
    db,
    deployment::{
        entity::deployment::{Column, Entity},
        status::Status,
    },
    error::Result,
};

/// Ids that a transaction may give away, in order.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// The last one that was given away before.
    pub before: i64,
}

impl Ids {
    /// Those after so many.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            before: self.before.saturating_add(count),
        }
    }
}

/// Where the gate stands if only this process goes through it. Then a batch knows its ids before it
/// asks for them, and everything that it does is one trip to the database instead of two.
#[derive(Debug, Default)]
pub struct Mark(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Where it was left.
    last_id: Option<i64>,
    /// Nobody else was there between the last two batches.
    is_alone: bool,
    /// Some batch goes by this mark now.
    is_used: bool,
}

/// That a batch expects certain ids. Dropping it says that it was not given them.
#[derive(Debug)]
pub struct Expected<'a> {
    mark: &'a Mark,
    is_met: bool,
}

impl Mark {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else seems to go through the gate.
    pub fn is_alone(&self) -> bool {
        self.seen().is_alone
    }

    /// The ids that are given next, if nobody else seems to take any.
    pub fn next(&self) -> Option<Ids> {
        let seen = self.seen();
        let last = seen.last_id.filter(|_| seen.is_alone && !seen.is_used);
        last.map(|before| Ids { before })
    }

    /// Goes by the mark with so many ids, which are still the next ones or nobody's.
    pub fn expect(&self, ids: Ids, count: usize) -> Option<Expected<'_>> {
        let mut seen = self.seen();
        if !seen.is_alone || seen.is_used || seen.last_id != Some(ids.before) {
            return None;
        }
        seen.is_used = true;
        seen.last_id = Some(ids.after(count).before);
        Some(Expected {
            mark: self,
            is_met: false,
        })
    }

    /// A batch was given ids without having expected any, and left the gate further on.
    pub fn given(&self, ids: Ids, left: Ids) {
        let mut seen = self.seen();
        seen.is_alone = seen.last_id == Some(ids.before);
        seen.last_id = Some(left.before);
    }
}

impl Expected<'_> {
    /// It was given what it expected.
    pub fn met(mut self) {
        self.is_met = true;
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        let mut seen = self.mark.seen();
        seen.is_used = false;
        seen.is_alone &= self.is_met;
    }
}

/// Locks the gate until the transaction ends, on both databases, and takes `count` ids.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &impl ConnectionTrait, count: usize) -> Result<Ids> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let missing = || db::broken("the row of queue_gate is missing");
    let last = if tx.get_database_backend() == DbBackend::MySql {
        // The function's value comes back with the answer, which saves a question.
        let sql = "UPDATE queue_gate SET last_id = LAST_INSERT_ID(last_id + ?) WHERE id = 1";
        let statement = Statement::from_sql_and_values(DbBackend::MySql, sql, [count.into()]);
        let updated = tx.execute_raw(statement).await?;
        if updated.rows_affected() != 1 {
            return Err(missing());
        }
        i64::try_from(updated.last_insert_id()).unwrap_or(i64::MAX)
    } else {
        let sql = "UPDATE queue_gate SET last_id = last_id + ? WHERE id = 1 RETURNING last_id";
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [count.into()]);
        let row = tx.query_one_raw(statement).await?;
        row.ok_or_else(missing)?.try_get("", "last_id")?
    };
    Ok(Ids {
        before: last - count,
    })
}

/// Takes so many ids and holds the gate as [`lock`] does, if nobody else took any meanwhile and
/// nothing was counted as a change since this revision; otherwise it changes no row.
#[must_use]
pub fn passing(backend: DbBackend, (ids, count): (Ids, usize), revision: Option<i64>) -> Statement {
    let mut update = Query::update();
    update
        .table("queue_gate")
        .value("last_id", ids.after(count).before)
        .and_where(Expr::col("id").eq(1))
        .and_where(Expr::col("last_id").eq(ids.before));
    if let Some(revision) = revision {
        update.and_where(Expr::col("revision").eq(revision));
    }
    backend.build(&update)
}

/// Gives back the ids after `ids.before`, which the same transaction took and did not need.
///
/// # Errors
/// When the database fails.
pub async fn give_back(tx: &impl ConnectionTrait, ids: Ids) -> Result<()> {
    let sql = "UPDATE queue_gate SET last_id = ? WHERE id = 1";
    let values = [ids.before.into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    tx.execute_raw(statement).await?;
    Ok(())
}

/// Moves the gate behind rows that were inserted past it, as by a restored backup.
///
/// # Errors
/// When the database fails.
pub async fn catch_up(conn: &impl ConnectionTrait) -> Result<()> {
    let greatest = if conn.get_database_backend() == DbBackend::MySql {
        "GREATEST"
    } else {
        "MAX"
    };
    let sql = format!(
        "UPDATE queue_gate SET last_id = {greatest}(last_id, \
         (SELECT COALESCE(MAX(id), 0) FROM deployments)) WHERE id = 1"
    );
    let statement = Statement::from_string(conn.get_database_backend(), sql);
    conn.execute_raw(statement).await?;
    Ok(())
}

/// How many wait at most, from what was counted last and the ids given away since then.
///
/// Every deployment that waits now was open then or got its id since, whichever process gave it.
/// Counting a long queue for each request would cost more than everything else, so it is counted
/// only when this bound reaches the limit.
#[derive(Debug, Default)]
pub struct Bound(Mutex<Option<Counted>>);

#[derive(Clone, Copy, Debug)]
struct Counted {
    open: u64,
    last_id: i64,
}

impl Bound {
    /// Whether `count` more are within the limit, whatever happened meanwhile. False says nothing.
    #[must_use]
    pub fn admits(&self, ids: Ids, count: usize, limit: u32) -> bool {
        let counted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.is_some_and(|then| {
            let since = u64::try_from(ids.before - then.last_id).unwrap_or(u64::MAX);
            let most = then.open.saturating_add(since);
            most.saturating_add(count as u64) <= u64::from(limit)
        })
    }

    /// How many wait exactly; asked while the gate is held.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count(&self, tx: &impl ConnectionTrait, ids: Ids) -> Result<u64> {
        // With one question: what is handed back between two would be in neither answer.
        let counted: Vec<(Status, i64)> = Entity::find()
            .select_only()
            .column(Column::Status)
            .column_as(Column::Id.count(), "waiting")
            .filter(Column::Status.is_in(Status::OPEN))
            .group_by(Column::Status)
            .into_tuple()
            .all(tx)
            .await?;
        let of = |wanted: &dyn Fn(Status) -> bool| -> u64 {
            let counts = counted.iter().filter(|(status, _)| wanted(*status));
            counts.map(|(_, count)| count.unsigned_abs()).sum()
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Counted {
            open: of(&|_| true),
            last_id: ids.before,
        });
        Ok(of(&|status| status == Status::Queued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(open: u64, last_id: i64) -> Bound {
        Bound(Mutex::new(Some(Counted { open, last_id })))
    }

    /// A mark that two batches have gone past, up to 10.
    fn alone() -> Mark {
        let mark = Mark::default();
        mark.given(Ids { before: 0 }, Ids { before: 8 });
        assert!(mark.next().is_none(), "others may be there");
        mark.given(Ids { before: 8 }, Ids { before: 10 });
        mark
    }

    fn next(mark: &Mark) -> Option<i64> {
        mark.next().map(|ids| ids.before)
    }

    #[test]
    fn who_is_alone_knows_the_next_ids() {
        let mark = alone();
        for before in [10, 13] {
            assert_eq!(next(&mark), Some(before));
            mark.expect(Ids { before }, 3).unwrap().met();
        }
    }

    #[test]
    fn two_batches_never_expect_the_same_ids() {
        let mark = alone();
        let ids = mark.next().unwrap();
        let first = mark.expect(ids, 3).unwrap();
        assert!(mark.expect(ids, 1).is_none() && mark.next().is_none());
        mark.given(Ids { before: 13 }, Ids { before: 15 });
        first.met();
        assert!(mark.expect(ids, 1).is_none(), "they are others' by now");
        assert_eq!(next(&mark), Some(15));
    }

    #[test]
    fn nothing_is_expected_once_somebody_else_was_there() {
        let mark = alone();
        mark.given(Ids { before: 12 }, Ids { before: 13 });
        assert_eq!(next(&mark), None);
        mark.given(Ids { before: 13 }, Ids { before: 14 });
        assert_eq!(next(&mark), Some(14));
    }

    #[test]
    fn ids_that_were_not_given_are_expected_by_nobody() {
        let mark = alone();
        drop(mark.expect(Ids { before: 10 }, 3));
        assert_eq!(next(&mark), None);
    }

    #[test]
    fn nothing_is_admitted_before_the_first_count() {
        assert!(!Bound::default().admits(Ids { before: 0 }, 1, 1000));
    }

    #[test]
    fn every_id_given_away_since_counts() {
        let bound = known(10, 100);
        let admits = |before, count| bound.admits(Ids { before }, count, 20);
        assert!(admits(100, 10));
        assert!(!admits(100, 11));
        assert!(admits(105, 5));
        assert!(!admits(105, 6));
        assert!(!admits(i64::MAX, 1));
    }

    #[test]
    fn gate_that_went_back_admits_nothing_unseen() {
        assert!(!known(0, 100).admits(Ids { before: 50 }, 1, 1000));
    }
}
