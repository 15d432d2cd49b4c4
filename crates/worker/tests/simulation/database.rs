//! The real SQLite behind every simulated process: on the caller's thread, with the world's clock,
//! and with whatever can go wrong on the way there and back.
//!
//! A transaction is never interrupted between its begin and its commit, as SQLite's one writer never
//! is; everything else happens before it, after it, and between single statements.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use async_trait::async_trait;
use chrono::Datelike as _;
use sea_orm::{
    ConnectionTrait as _, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, RuntimeErr, Statement, TransactionTrait as _, Value,
};
use slipway_core::db::{Connection, Db, Relay, RelayTransaction};
use tempfile::TempDir;

use crate::{process::Process, scene, world::World};

/// How production SQL reads SQLite's clock.
const CLOCK: &str = "unixepoch('subsec')";

/// The database itself: one transaction that is never committed, so nothing touches a disk, and the
/// processes' own transactions within it.
pub(crate) struct Sqlite {
    whole: DatabaseTransaction,
    in_transaction: AtomicBool,
    _pool: DatabaseConnection,
    _folder: TempDir,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Sqlite {
    /// A copy of the scene's database.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("simulated.db");
        std::fs::write(&file, scene::template()).unwrap();
        let url = format!("sqlite://{}", file.display());
        // On a thread of its own, because a pool needs a runtime that runs while it connects.
        let connected = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(connect(url))
        });
        let (whole, pool) = connected.join().unwrap().unwrap();
        Self {
            whole,
            in_transaction: AtomicBool::new(false),
            _pool: pool,
            _folder: folder,
        }
    }

    /// Looks at the truth, past all faults.
    pub(crate) fn look(&self, sql: &str) -> Vec<QueryResult> {
        let statement = Statement::from_string(DbBackend::Sqlite, sql);
        at_once(self.whole.query_all_raw(statement)).unwrap()
    }

    fn alone(&self) {
        let within = self.in_transaction.load(Ordering::Relaxed);
        assert!(!within, "a transaction was interrupted");
    }
}

async fn connect(url: String) -> Result<(DatabaseTransaction, DatabaseConnection), DbErr> {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let pool = Database::connect(options).await?;
    let in_memory = "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF";
    pool.execute_unprepared(in_memory).await?;
    pool.begin().await.map(|whole| (whole, pool))
}

/// Lets a future come to its end on this thread: SQLite's own thread answers it, and the simulated
/// clock stands still meanwhile.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

/// A process's way to the database.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    world: Arc<World>,
    process: Process,
}

impl Wire {
    pub(crate) fn db(world: &Arc<World>, process: &Process) -> Db {
        Db::over(Connection::Relay(Arc::new(Self {
            world: Arc::clone(world),
            process: process.clone(),
        })))
    }

    /// What happens before the database is reached.
    async fn there(&self, what: &'static str, size: usize) -> Result<(), DbErr> {
        let (world, process) = (&self.world, &self.process);
        process.pass().await;
        world.dawdle(process).await;
        world.note(what, process.number(), i64::try_from(size).unwrap_or(0), 0);
        if world.database_is_away() {
            world.pause(world.dice.millis(50, 1500)).await;
            process.pass().await;
            return Err(failure("the database is away"));
        }
        if world.goes_wrong(4) {
            world.count("database errors");
            return Err(failure("the connection broke before the statement"));
        }
        world.sqlite.alone();
        Ok(())
    }

    /// What happens before its answer is read.
    async fn back(&self) -> Result<(), DbErr> {
        let (world, process) = (&self.world, &self.process);
        if world.goes_wrong(4) {
            world.count("lost answers of the database");
            return Err(failure("the connection broke before the answer"));
        }
        world.perhaps_struck(process);
        process.pass().await;
        world.dawdle(process).await;
        process.pass().await;
        Ok(())
    }
}

fn failure(text: &str) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(text.to_owned()))
}

#[async_trait]
impl Relay for Wire {
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.there("write", statement.sql.len()).await?;
        let statement = self.world.simulated(statement);
        let done = at_once(self.world.sqlite.whole.execute_raw(statement));
        self.back().await?;
        done
    }

    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.there("read", statement.sql.len()).await?;
        let statement = self.world.simulated(statement);
        let rows = at_once(self.world.sqlite.whole.query_all_raw(statement));
        self.back().await?;
        rows
    }

    async fn begin(&self) -> Result<Box<dyn RelayTransaction>, DbErr> {
        self.there("begin", 0).await?;
        let sqlite = &self.world.sqlite;
        let own = at_once(sqlite.whole.begin())?;
        sqlite.in_transaction.store(true, Ordering::Relaxed);
        Ok(Box::new(WireTransaction {
            wire: self.clone(),
            own: Some(own),
            inserts: AtomicBool::new(false),
        }))
    }
}

/// One transaction of a process; dropping it rolls back.
struct WireTransaction {
    wire: Wire,
    own: Option<DatabaseTransaction>,
    /// Whether it accepts deployments.
    inserts: AtomicBool,
}

impl fmt::Debug for WireTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireTransaction")
    }
}

impl WireTransaction {
    fn look_at(&self, statement: &Statement) {
        if statement.sql.starts_with("INSERT INTO \"deployments\"") {
            self.inserts.store(true, Ordering::Relaxed);
        }
    }

    fn own(&self) -> Result<&DatabaseTransaction, DbErr> {
        if self.wire.world.goes_wrong(1) {
            self.wire.world.count("database errors");
            return Err(failure("the connection broke within a transaction"));
        }
        self.own
            .as_ref()
            .ok_or_else(|| failure("the transaction is over"))
    }
}

impl Drop for WireTransaction {
    fn drop(&mut self) {
        if self.own.take().is_some() {
            let sqlite = &self.wire.world.sqlite;
            sqlite.in_transaction.store(false, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl RelayTransaction for WireTransaction {
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.look_at(&statement);
        let own = self.own()?;
        at_once(own.execute_raw(self.wire.world.simulated(statement)))
    }

    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.look_at(&statement);
        let own = self.own()?;
        at_once(own.query_all_raw(self.wire.world.simulated(statement)))
    }

    async fn commit(mut self: Box<Self>) -> Result<(), DbErr> {
        let (world, process) = (Arc::clone(&self.wire.world), self.wire.process.clone());
        if world.goes_wrong(4) {
            world.count("database errors");
            return Err(failure("the connection broke before the commit"));
        }
        let own = self.own.take().ok_or_else(|| failure("it is over"))?;
        at_once(own.commit())?;
        world.sqlite.in_transaction.store(false, Ordering::Relaxed);
        world.note("commit", process.number(), 0, 0);
        world.judge_commit(self.inserts.load(Ordering::Relaxed));
        self.wire.back().await
    }
}

impl World {
    /// The statement as this world runs it: its clock, its calendar, and without what the mutant
    /// lacks.
    fn simulated(&self, mut statement: Statement) -> Statement {
        if let Some(mutant) = self.mutant {
            let changed = mutant.rewrite(&statement.sql);
            if changed != statement.sql {
                self.count("statements changed by the mutant");
            }
            statement.sql = changed;
        }
        if statement.sql.contains(CLOCK) {
            let now = self.clock_us();
            let now = format!("{}.{:06}", now / 1_000_000, now % 1_000_000);
            statement.sql = statement.sql.replace(CLOCK, &now);
        }
        if let Some(values) = &mut statement.values {
            for value in &mut values.0 {
                // The simulated calendar is decades behind: what is newer is the real clock's.
                if let Value::ChronoDateTimeUtc(Some(moment)) = value
                    && moment.year() > 2015
                {
                    *moment = self.utc_now();
                }
            }
        }
        statement
    }
}
