//! Parts that fail when the test wants it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use slipway_core::{
    db::{Db, Relay, RelayTransaction, Transaction},
    ports::{Event, EventBus, Subscription},
};

/// A bus that panics once.
#[derive(Debug)]
pub(crate) struct PanickingBus {
    inner: Arc<dyn EventBus>,
    until_panic: AtomicI64,
}

impl PanickingBus {
    pub(crate) fn around(inner: Arc<dyn EventBus>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            until_panic: AtomicI64::new(0),
        })
    }

    /// The event with this number from now on is the one.
    pub(crate) fn panic_at(&self, number: i64) {
        self.until_panic.store(number, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventBus for PanickingBus {
    async fn publish(&self, event: Event) {
        let left = self.until_panic.fetch_sub(1, Ordering::SeqCst);
        assert!(left != 1, "a fault that the test asked for");
        self.inner.publish(event).await;
    }

    async fn subscribe(&self) -> Box<dyn Subscription> {
        self.inner.subscribe().await
    }
}

/// A way to a SQLite database on which the answer to a commit can get lost.
#[derive(Debug)]
pub(crate) struct Wire {
    db: Db,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    commits: AtomicUsize,
    /// What happens before anybody notices that the next answer was lost.
    loss: Mutex<Option<Option<&'static str>>>,
}

impl Wire {
    pub(crate) fn to(db: Db) -> Self {
        let state = Arc::default();
        Self { db, state }
    }

    /// How many transactions have come to their end.
    pub(crate) fn commits(&self) -> usize {
        self.state.commits.load(Ordering::SeqCst)
    }

    /// The next commit gets no answer, and before that is noticed somebody writes this.
    pub(crate) fn lose_next_answer(&self, meanwhile: Option<&'static str>) {
        *self.state.loss.lock().unwrap() = Some(meanwhile);
    }

    /// Whether it has got lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.state.loss.lock().unwrap().is_none()
    }
}

#[async_trait]
impl Relay for Wire {
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.db.writer().execute_raw(statement).await
    }

    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.db.writer().query_all_raw(statement).await
    }

    async fn begin(&self) -> Result<Box<dyn RelayTransaction>, DbErr> {
        let begun = self.db.begin().await;
        let own = begun.map_err(|error| DbErr::Custom(error.to_string()))?;
        Ok(Box::new(WireTransaction {
            own,
            db: self.db.clone(),
            state: Arc::clone(&self.state),
        }))
    }
}

#[derive(Debug)]
struct WireTransaction {
    own: Transaction,
    db: Db,
    state: Arc<State>,
}

#[async_trait]
impl RelayTransaction for WireTransaction {
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.own.execute_raw(statement).await
    }

    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.own.query_all_raw(statement).await
    }

    async fn commit(self: Box<Self>) -> Result<(), DbErr> {
        self.own.commit().await?;
        self.state.commits.fetch_add(1, Ordering::SeqCst);
        let loss = self.state.loss.lock().unwrap().take();
        let Some(meanwhile) = loss else {
            return Ok(());
        };
        if let Some(sql) = meanwhile {
            self.db.writer().execute_unprepared(sql).await?;
        }
        let text = "the connection broke before the answer";
        Err(DbErr::Conn(RuntimeErr::Internal(text.to_owned())))
    }
}
