//! What statements go through: pools of the driver's, or a [`Relay`] before a database.
//!
//! The same queries run over both, so that they can be tried where time and faults are simulated.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use super::{
    trip::{self, literal},
    warm::Warm,
};

/// Something that stands before a SQLite database.
#[async_trait]
pub trait Relay: Send + Sync + fmt::Debug {
    /// Runs a statement that answers no rows.
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr>;

    /// Runs a statement that answers rows.
    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr>;

    /// Begins a transaction that may write.
    async fn begin(&self) -> Result<Box<dyn RelayTransaction>, DbErr>;
}

/// A transaction behind a [`Relay`]; dropping it rolls back.
#[async_trait]
pub trait RelayTransaction: Send + Sync + fmt::Debug {
    /// Runs a statement that answers no rows.
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr>;

    /// Runs a statement that answers rows.
    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr>;

    /// Makes everything in it last.
    async fn commit(self: Box<Self>) -> Result<(), DbErr>;
}

/// Where single statements go. Cloning it is cheap.
#[derive(Clone, Debug)]
pub enum Connection {
    /// A pool of the driver's, to SQLite.
    Pool(DatabaseConnection),
    /// A pool to MySQL, and connections that it has lent.
    Warm(Warm),
    /// Something before a SQLite database.
    Relay(Arc<dyn Relay>),
}

/// Statements that take effect together; dropping it rolls back.
#[derive(Debug)]
pub enum Transaction {
    /// One of the driver's.
    Pool(DatabaseTransaction),
    /// One behind a relay.
    Relay(Box<dyn RelayTransaction>),
}

impl Connection {
    pub(super) async fn begin(&self) -> Result<Transaction, DbErr> {
        match self {
            Self::Pool(pool) => {
                let options = TransactionOptions {
                    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    ..TransactionOptions::default()
                };
                Ok(Transaction::Pool(pool.begin_with_options(options).await?))
            }
            Self::Warm(warm) => Ok(Transaction::Pool(warm.pool_with_room().begin().await?)),
            Self::Relay(relay) => Ok(Transaction::Relay(relay.begin().await?)),
        }
    }

    /// The pool, for the migrations, which ask for one.
    ///
    /// # Errors
    /// When there is none.
    pub fn pool(&self) -> Result<&DatabaseConnection, DbErr> {
        match self {
            Self::Pool(pool) => Ok(pool),
            Self::Warm(warm) => Ok(warm.pool()),
            Self::Relay(_) => Err(DbErr::Custom("only a pool can be migrated".to_owned())),
        }
    }

    pub(super) async fn ping(&self) -> Result<(), DbErr> {
        match self {
            Self::Pool(pool) => pool.ping().await,
            Self::Warm(warm) => warm.pool_with_room().ping().await,
            Self::Relay(relay) => {
                let ping = Statement::from_string(DbBackend::Sqlite, "SELECT 1");
                relay.query(ping).await.map(|_rows| ())
            }
        }
    }
}

impl Transaction {
    /// Makes everything in it last.
    ///
    /// # Errors
    /// When the database fails; then nobody knows whether it lasts.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self {
            Self::Pool(pool) => pool.commit().await,
            Self::Relay(relay) => relay.commit().await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Pool(pool) => pool.get_database_backend(),
            Self::Warm(_) => DbBackend::MySql,
            Self::Relay(_) => DbBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_raw(statement).await,
            Self::Warm(warm) => Ok(trip::one(warm, &literal(&statement)).await?.1.into()),
            Self::Relay(relay) => relay.execute(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_unprepared(sql).await,
            Self::Warm(warm) => Ok(trip::one(warm, sql).await?.1.into()),
            Self::Relay(relay) => relay.execute(unprepared(sql)).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => pool.query_one_raw(statement).await,
            Self::Warm(_) | Self::Relay(_) => {
                Ok(self.query_all_raw(statement).await?.into_iter().next())
            }
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => pool.query_all_raw(statement).await,
            Self::Warm(warm) => Ok(trip::one(warm, &literal(&statement)).await?.0),
            Self::Relay(relay) => relay.query(statement).await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Pool(pool) => pool.get_database_backend(),
            Self::Relay(_) => DbBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_raw(statement).await,
            Self::Relay(relay) => relay.execute(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_unprepared(sql).await,
            Self::Relay(relay) => relay.execute(unprepared(sql)).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => pool.query_one_raw(statement).await,
            Self::Relay(relay) => Ok(relay.query(statement).await?.into_iter().next()),
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => pool.query_all_raw(statement).await,
            Self::Relay(relay) => relay.query(statement).await,
        }
    }
}

fn unprepared(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}
