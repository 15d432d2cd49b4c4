//! Connections to MySQL that are used again and again.
//!
//! The pool asks the server whether a connection still works whenever it lends one and once more
//! whenever it takes one back, which makes three trips of one. A few connections therefore stay
//! with us between statements. How many there are, how they are opened and how old they may
//! become stays the pool's affair.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sea_orm::{DatabaseConnection, DbErr, RuntimeErr};
use sqlx::{Connection as _, MySql, MySqlPool, pool::PoolConnection};
use tokio::time::{Instant, timeout};

/// A connection that nobody has used for so long is asked first: its server may have gone.
const TRUSTED: Duration = Duration::from_secs(1);
/// One that nobody needs goes back to the pool, which closes what is idle for long.
const NEEDED: Duration = Duration::from_secs(60);
/// So does one that was lent so long ago, as the pool renews what is old.
const LENT: Duration = Duration::from_secs(300);
/// The longest that asking may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A pool and what it has lent. Cloning it is cheap.
#[derive(Clone)]
pub struct Warm {
    pool: DatabaseConnection,
    kept: Arc<Kept>,
    is_mariadb: bool,
}

/// A connection that was lent. Dropping it closes it, which undoes whatever it is in the middle of:
/// an answer that nobody has read would be taken for that of the next question.
pub(super) struct Lent {
    /// There until it is given back.
    connection: Option<PoolConnection<MySql>>,
    since: Instant,
}

/// Connections between two uses, the one that was used last at the end.
struct Kept {
    idle: Mutex<Vec<(Lent, Instant)>>,
    most: AtomicUsize,
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm")
            .field("idle", &self.kept.lock().len())
            .finish_non_exhaustive()
    }
}

impl Warm {
    /// Keeps at most half of the pool's connections: the other half is for those who ask the pool
    /// itself.
    pub(super) fn new(pool: MySqlPool, is_mariadb: bool) -> Self {
        let half = pool.options().get_max_connections() / 2;
        let kept = Kept {
            idle: Mutex::default(),
            most: AtomicUsize::new(usize::try_from(half).unwrap_or(usize::MAX)),
        };
        Self {
            pool: DatabaseConnection::from(pool),
            kept: Arc::new(kept),
            is_mariadb,
        }
    }

    /// The pool itself, for migrations.
    pub(super) fn pool(&self) -> &DatabaseConnection {
        &self.pool
    }

    /// The pool for those who want a connection of it now: one is returned to it if it has no other.
    pub(super) fn pool_with_room(&self) -> &DatabaseConnection {
        let pool = self.pool.get_mysql_connection_pool();
        if pool.num_idle() == 0 && pool.size() >= pool.options().get_max_connections() {
            let oldest = self
                .kept
                .take(|idle| (!idle.is_empty()).then(|| idle.remove(0)));
            drop(oldest.and_then(|(lent, _)| lent.into_pooled()));
        }
        &self.pool
    }

    /// Keeps nothing from now on: several runtimes share the pool, and a connection goes with the one
    /// that opened it. The pool asks before it lends.
    pub(super) fn keep_none(&self) {
        self.kept.most.store(0, Ordering::Relaxed);
        self.kept.lock().clear();
    }

    /// Closes what is kept: one connection of the server was lost, and the others hardly live.
    pub(super) fn distrust(&self) {
        self.kept.lock().clear();
    }

    /// Whether the server takes statements that only `MariaDB` knows.
    pub(super) fn is_mariadb(&self) -> bool {
        self.is_mariadb
    }

    /// A connection that works, as far as anybody knows.
    pub(super) async fn take(&self) -> Result<Lent, DbErr> {
        if let Some((mut lent, used)) = self.kept.take(Vec::pop) {
            if used.elapsed() <= TRUSTED {
                return Ok(lent);
            }
            if let Some(connection) = lent.connection()
                && matches!(timeout(ANSWER, connection.ping()).await, Ok(Ok(())))
            {
                return Ok(lent);
            }
            self.distrust();
        }
        let connection = self.pool.get_mysql_connection_pool().acquire().await;
        let connection =
            connection.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))?;
        Ok(Lent {
            connection: Some(connection),
            since: Instant::now(),
        })
    }

    /// Takes back a connection that is in the middle of nothing.
    pub(super) fn give_back(&self, lent: Lent) {
        let now = Instant::now();
        let is_old = now.duration_since(lent.since) > LENT;
        let most = self.kept.most.load(Ordering::Relaxed);
        let mut idle = self.kept.lock();
        let unneeded = idle
            .first()
            .is_some_and(|(_, used)| now.duration_since(*used) > NEEDED)
            .then(|| idle.remove(0));
        let surplus = if is_old || idle.len() >= most {
            Some(lent)
        } else {
            idle.push((lent, now));
            None
        };
        drop(idle);
        // The pool takes them back in a task of its own.
        let unneeded = unneeded.and_then(|(lent, _)| lent.into_pooled());
        drop((unneeded, surplus.and_then(Lent::into_pooled)));
    }
}

impl Lent {
    /// The connection.
    pub(super) fn connection(&mut self) -> Option<&mut PoolConnection<MySql>> {
        self.connection.as_mut()
    }

    /// The connection as the pool takes it back when it is dropped.
    fn into_pooled(mut self) -> Option<PoolConnection<MySql>> {
        self.connection.take()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Without a task, which would want a runtime that may have ended.
            drop(connection.detach());
        }
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<(Lent, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(
        &self,
        which: impl FnOnce(&mut Vec<(Lent, Instant)>) -> Option<(Lent, Instant)>,
    ) -> Option<(Lent, Instant)> {
        which(&mut self.lock())
    }
}
