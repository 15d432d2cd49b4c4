//! The connection to the database: pools, transactions, the schema check, the database's clock.
//!
//! SQLite gets one writing connection and a pool of reading ones, because a SQLite transaction
//! that reads and then writes fails when another one wrote in between.

mod connection;
mod together;
mod trip;
mod warm;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, ExprTrait as _, RuntimeErr,
    sea_query::{Expr, SimpleExpr},
};
use secrecy::ExposeSecret as _;
use sqlx::{
    ConnectOptions as _, Executor as _, SqlitePool,
    error::DatabaseError,
    mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use connection::{Connection, Relay, RelayTransaction, Transaction};
pub use together::{all_failed, all_or_each, distinct, each_answered, is_one_of, padded, together};
pub use trip::{Bundle, Done, Line, Opened};
pub use warm::Warm;

use crate::{
    error::{Error, Result},
    settings::{Database, DatabaseTls, Dialect},
};

/// How often a transaction is tried again when the database asks for it.
const TRANSIENT_RETRIES: u32 = 5;

/// How long SQLite may wait for a file that somebody else has locked.
const BUSY: Duration = Duration::from_secs(10);

/// The pause between two attempts to open such a file.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What every MySQL session is told. A statement sees what was committed before it, as on SQLite;
/// the usual isolation would show a transaction the past, and lock gaps beside its rows. A value
/// that does not fit is an error, whatever the server's own mode says.
const MYSQL_SESSION: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
];

/// The database of one process.
#[derive(Clone, Debug)]
pub struct Db {
    writer: Connection,
    reader: Connection,
    /// How to connect once more, where that helps.
    server: Option<Arc<Server>>,
}

#[derive(Debug)]
struct Server {
    options: MySqlConnectOptions,
    max_connections: u32,
    is_mariadb: bool,
}

impl Db {
    /// Connects as the settings say. The schema is not looked at.
    ///
    /// # Errors
    /// When the settings name no database or the server does not answer.
    pub async fn connect(settings: &Database) -> anyhow::Result<Self> {
        match settings.dialect {
            Dialect::Sqlite => {
                let path = settings
                    .path
                    .as_deref()
                    .context("database.path is not set")?;
                Self::sqlite(path).await
            }
            Dialect::Mysql => Self::mysql(settings).await,
        }
    }

    /// The database behind one connection that was made elsewhere, for writing and reading.
    #[must_use]
    pub fn over(connection: Connection) -> Self {
        Self {
            writer: connection.clone(),
            reader: connection,
            server: None,
        }
    }

    /// The same database for one of so many threads, each with a runtime of its own. Connections
    /// belong to the runtime that opened them: over those of another thread every answer would wake
    /// two threads. SQLite has one writer for all and stays shared.
    #[must_use]
    pub fn apart(&self, threads: usize) -> Self {
        let Some(server) = &self.server else {
            return self.clone();
        };
        let share = server.max_connections / 2 / u32::try_from(threads).unwrap_or(u32::MAX);
        if share < 2 {
            if let Connection::Warm(warm) = &self.writer {
                warm.keep_none();
            }
            return self.clone();
        }
        let pool = pool_options(share).connect_lazy_with(server.options.clone());
        Self {
            server: Some(Arc::clone(server)),
            ..Self::over(Connection::Warm(Warm::new(pool, server.is_mariadb)))
        }
    }

    async fn sqlite(path: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let context = || format!("opening the SQLite database {}", path.display());
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
        let writer = open(writer, &options).await.with_context(context)?;
        let reader = SqlitePoolOptions::new().max_connections(4);
        let reader = open(reader, &options).await.with_context(context)?;
        Ok(Self {
            writer: Connection::Pool(writer.into()),
            reader: Connection::Pool(reader.into()),
            server: None,
        })
    }

    async fn mysql(settings: &Database) -> anyhow::Result<Self> {
        let host = settings
            .host
            .as_deref()
            .context("database.host is not set")?;
        let name = settings
            .database
            .as_deref()
            .context("database.database is not set")?;
        let mut options = MySqlConnectOptions::new()
            .host(host)
            .port(settings.port)
            .database(name)
            .charset("utf8mb4")
            .ssl_mode(match settings.tls {
                DatabaseTls::Off => MySqlSslMode::Disabled,
                DatabaseTls::Prefer => MySqlSslMode::Preferred,
                DatabaseTls::Require => MySqlSslMode::VerifyIdentity,
            })
            .disable_statement_logging();
        if let Some(username) = &settings.username {
            options = options.username(username);
        }
        if let Some(password) = &settings.password {
            options = options.password(password.expose_secret());
        }
        if let Some(file) = &settings.ca_file {
            options = options.ssl_ca(file);
        }
        let pool = pool_options(settings.max_connections)
            .connect_with(options.clone())
            .await
            .with_context(|| {
                format!(
                    "connecting to the database {name} at {host}:{}",
                    settings.port
                )
            })?;
        let version: String = sqlx::query_scalar("SELECT VERSION()")
            .fetch_one(&pool)
            .await
            .context("asking the database for its version")?;
        let server = Server {
            options,
            max_connections: settings.max_connections,
            is_mariadb: version.contains("MariaDB"),
        };
        let warm = Warm::new(pool, server.is_mariadb);
        Ok(Self {
            server: Some(Arc::new(server)),
            ..Self::over(Connection::Warm(warm))
        })
    }

    /// For statements that only read.
    #[must_use]
    pub fn reader(&self) -> &Connection {
        &self.reader
    }

    /// For single statements that write. Inside a transaction use the transaction: on SQLite this
    /// would wait for itself.
    #[must_use]
    pub fn writer(&self) -> &Connection {
        &self.writer
    }

    /// Which SQL is spoken.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// Begins a transaction that may write and sees what others have committed.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(self.writer.begin().await?)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.reader.ping().await?)
    }
}

/// Opens the first connection of a pool. SQLite itself waits for a lock except where two would wait
/// for each other, and the change to WAL that the first ever opening makes is such a place: it
/// reads, then writes. Several processes that open a new file at once therefore try again.
async fn open(
    pool: SqlitePoolOptions,
    options: &SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let deadline = Instant::now() + BUSY;
    loop {
        let opened = pool.clone().connect_with(options.clone()).await;
        let busy = opened
            .as_ref()
            .is_err_and(|error| error.as_database_error().is_some_and(is_busy));
        if !busy || Instant::now() >= deadline {
            return opened;
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
}

fn pool_options(max_connections: u32) -> MySqlPoolOptions {
    MySqlPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(|connection, _| {
            Box::pin(async move {
                for statement in MYSQL_SESSION {
                    connection.execute(statement).await?;
                }
                Ok(())
            })
        })
}

/// Microseconds since 1970 on the database's own clock: the only clock that judges leases.
#[must_use]
pub fn now_us(backend: DbBackend) -> SimpleExpr {
    Expr::cust(if backend == DbBackend::Sqlite {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    } else {
        "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"
    })
}

/// That much later than [`now_us`].
#[must_use]
pub fn after_us(backend: DbBackend, delay: Duration) -> SimpleExpr {
    now_us(backend).add(micros(delay))
}

/// A span in microseconds as the database counts them.
#[must_use]
pub fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Whether the database broke off a transaction only because of another one.
#[must_use]
pub fn is_transient(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(source))
    | DbErr::Query(RuntimeErr::SqlxError(source))
    | DbErr::Conn(RuntimeErr::SqlxError(source))) = error
    else {
        return false;
    };
    let Some(database) = source.as_database_error() else {
        return false;
    };
    if let Some(mysql) = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return matches!(mysql.number(), 1205 | 1213);
    }
    is_busy(database)
}

/// Whether SQLite says that somebody else has locked the file.
fn is_busy(error: &dyn DatabaseError) -> bool {
    // The low byte of an extended code is its kind: 5 is SQLITE_BUSY.
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Whether the database could not be reached, or was lost on the way: it said nothing itself.
#[must_use]
pub fn is_away(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(source))
    | DbErr::Query(RuntimeErr::SqlxError(source))
    | DbErr::Conn(RuntimeErr::SqlxError(source))) = error
    else {
        return matches!(error, DbErr::ConnectionAcquire(_));
    };
    matches!(
        **source,
        sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    )
}

/// Runs a whole transaction, and again when the database asks for that.
///
/// # Errors
/// Those of the transaction; the database's wish to repeat it only after some repetitions.
pub async fn retried<T, F>(mut run: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut tries = 0;
    loop {
        match run().await {
            Err(error) if error.is_transient() && tries < TRANSIENT_RETRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(u64::from(tries) * 5)).await;
            }
            result => return result,
        }
    }
}

/// True when this statement broke a uniqueness rule.
#[must_use]
pub fn is_duplicate(error: &DbErr) -> bool {
    matches!(
        error.sql_err(),
        Some(sea_orm::SqlErr::UniqueConstraintViolation(_))
    )
}

/// True when this statement named a row of another table that does not exist (any more).
#[must_use]
pub fn is_orphan(error: &DbErr) -> bool {
    matches!(
        error.sql_err(),
        Some(sea_orm::SqlErr::ForeignKeyConstraintViolation(_))
    )
}

/// The current time, cut to what both databases keep.
#[must_use]
pub fn now() -> chrono::DateTime<chrono::Utc> {
    use chrono::SubsecRound as _;
    chrono::Utc::now().trunc_subsecs(6)
}

/// An internal error with a sentence, for states that should not be possible.
#[must_use]
pub fn broken(message: impl Into<String>) -> Error {
    Error::Internal(anyhow::Error::msg(message.into()))
}
