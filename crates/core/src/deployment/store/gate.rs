//! The one row that every admission locks: it hands out ids, which therefore rise in the order in
//! which requests are accepted, and it keeps the backlog limit exact.

use std::sync::{Mutex, PoisonError};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, Statement,
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
