//! Ordinary queries that are asked at the same time, on their way to MySQL as one text.

use std::{
    future::poll_fn,
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::oneshot;

use super::{
    bundle::literal,
    own::{Answer, Own, Text, failed},
};
use crate::{
    db::{Connection, Transaction, broken},
    error::Result,
};

/// Where statements that leave together are asked.
#[derive(Clone, Debug)]
pub enum Line {
    /// Each by itself, in the order in which they are asked.
    Connection(Connection, Arc<tokio::sync::Mutex<()>>),
    /// Each by itself, in a transaction.
    Transaction(Arc<Transaction>),
    /// Those that are asked at the same time together.
    Shared(Arc<Waiting>),
}

/// Statements that nobody has sent yet.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Vec<Asked>>);

#[derive(Debug)]
struct Asked {
    sql: String,
    answer: oneshot::Sender<Result<Answer, DbErr>>,
}

impl Waiting {
    fn take(&self) -> Vec<Asked> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    async fn ask(&self, sql: String) -> Result<Answer, DbErr> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { sql, answer };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked);
        let lost = |_| DbErr::Custom("a statement was never sent".to_owned());
        answered.await.map_err(lost)?
    }
}

/// Does what `ask` wants over one connection: whenever it waits, what it has asked leaves, the first
/// time behind `before` and the only time ahead of `after`.
pub(super) async fn carry<T, F>(
    own: &mut Own,
    (mut before, after): (Option<&'static str>, Option<&'static str>),
    ask: impl FnOnce(Line) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let waiting = Arc::new(Waiting::default());
    let mut is_over = false;
    let mut work = pin!(ask(Line::Shared(Arc::clone(&waiting))));
    loop {
        let done = poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if waiting.is_empty() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(done) = done.await {
            // Nothing may have been asked that the beginning or the end could have left with.
            if done.is_ok() && !is_over && before.or(after).is_some() {
                send(own, Vec::new(), (before, after)).await?;
            }
            return done;
        }
        if is_over {
            return Err(broken("a statement came after the end of its transaction"));
        }
        send(own, waiting.take(), (before.take(), after)).await?;
        is_over = after.is_some();
    }
}

/// Sends what was asked, with what belongs around it, and hands out the answers. An error is
/// everybody's whose statement was not carried out for it.
async fn send(
    own: &mut Own,
    asked: Vec<Asked>,
    (before, after): (Option<&'static str>, Option<&'static str>),
) -> Result<()> {
    let mut text = Text::default();
    before.into_iter().for_each(|sql| text.add(sql, false));
    asked.iter().for_each(|asked| text.add(&asked.sql, true));
    after.into_iter().for_each(|sql| text.add(sql, false));
    let (answers, error) = own.ask(text).await;
    let error = error.map(failed);
    let mut answers = answers.into_iter();
    let mut is_told = false;
    for Asked { answer, .. } in asked {
        let failure = || {
            error
                .clone()
                .unwrap_or_else(|| DbErr::Custom("no answer came".to_owned()))
        };
        let outcome = answers.next().ok_or_else(failure);
        is_told |= outcome.is_err();
        let _gone = answer.send(outcome);
    }
    match error {
        // What nobody asked for failed: the beginning or the end of the transaction.
        Some(error) if !is_told => Err(error.into()),
        _ => Ok(()),
    }
}

#[async_trait]
impl ConnectionTrait for Line {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Connection(connection, _) => connection.get_database_backend(),
            Self::Transaction(tx) => tx.get_database_backend(),
            Self::Shared(_) => DbBackend::MySql,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Connection(connection, turn) => {
                let _turn = turn.lock().await;
                connection.execute_raw(statement).await
            }
            Self::Transaction(tx) => tx.execute_raw(statement).await,
            Self::Shared(waiting) => Ok(waiting.ask(literal(&statement)).await?.1.into()),
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Connection(connection, turn) => {
                let _turn = turn.lock().await;
                connection.execute_unprepared(sql).await
            }
            Self::Transaction(tx) => tx.execute_unprepared(sql).await,
            Self::Shared(waiting) => Ok(waiting.ask(sql.to_owned()).await?.1.into()),
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Connection(connection, turn) => {
                let _turn = turn.lock().await;
                connection.query_all_raw(statement).await
            }
            Self::Transaction(tx) => tx.query_all_raw(statement).await,
            Self::Shared(waiting) => Ok(waiting.ask(literal(&statement)).await?.0),
        }
    }
}
