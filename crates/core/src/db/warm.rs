//! Connections to MySQL that are used again and again.
//!
//! The pool asks the server whether a connection still works whenever it lends one and once more
//! whenever it takes one back, which makes three trips of one. A few connections therefore stay
//! with us between statements. How many there are, how they are opened and how old they may
//! become stays the pool's affair.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{DatabaseConnection, DbErr, RuntimeErr};
use sqlx::{Connection as _, MySql, MySqlPool, pool::PoolConnection};

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

/// A connection that was lent.
pub(super) struct Lent {
    pub(super) connection: PoolConnection<MySql>,
    since: Instant,
}

/// Connections between two uses, the one that was used last at the end.
struct Kept {
    idle: Mutex<Vec<(Lent, Instant)>>,
    most: usize,
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
            most: usize::try_from(half).unwrap_or(usize::MAX),
        };
        Self {
            pool: DatabaseConnection::from(pool),
            kept: Arc::new(kept),
            is_mariadb,
        }
    }

    /// The pool itself, for transactions and migrations.
    pub(super) fn pool(&self) -> &DatabaseConnection {
        &self.pool
    }

    /// Whether the server takes statements that only `MariaDB` knows.
    pub(super) fn is_mariadb(&self) -> bool {
        self.is_mariadb
    }

    /// A connection that works, as far as anybody knows.
    pub(super) async fn take(&self) -> Result<Lent, DbErr> {
        while let Some((mut lent, used)) = self.kept.newest() {
            if used.elapsed() <= TRUSTED {
                return Ok(lent);
            }
            let asked = tokio::time::timeout(ANSWER, lent.connection.ping()).await;
            if matches!(asked, Ok(Ok(()))) {
                return Ok(lent);
            }
            lent.close();
        }
        let connection = self.pool.get_mysql_connection_pool().acquire().await;
        let connection =
            connection.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))?;
        Ok(Lent {
            connection,
            since: Instant::now(),
        })
    }

    /// Takes back a connection that is in the middle of nothing.
    pub(super) fn give_back(&self, lent: Lent) {
        let now = Instant::now();
        let is_old = now.duration_since(lent.since) > LENT;
        let mut idle = self.kept.lock();
        let unneeded = idle
            .first()
            .is_some_and(|(_, used)| now.duration_since(*used) > NEEDED)
            .then(|| idle.remove(0));
        let surplus = if is_old || idle.len() >= self.kept.most {
            Some(lent)
        } else {
            idle.push((lent, now));
            None
        };
        drop(idle);
        // The pool takes them back in a task of its own.
        drop((unneeded, surplus));
    }
}

impl Lent {
    /// Closes it: that undoes whatever it is in the middle of.
    pub(super) fn close(self) {
        drop(self.connection.detach());
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<(Lent, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> Option<(Lent, Instant)> {
        self.lock().pop()
    }
}

impl Drop for Kept {
    /// The pool would want a runtime, which may have ended by now.
    fn drop(&mut self) {
        for (lent, _) in self.lock().drain(..) {
            lent.close();
        }
    }
}
