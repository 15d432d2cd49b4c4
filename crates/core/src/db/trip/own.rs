//! A connection of its own for several statements at once.

use std::{fmt, sync::Arc};

use futures_util::TryStreamExt as _;
use sea_orm::{DbErr, QueryResult, RuntimeErr};
use sqlx::{AssertSqlSafe, Either, Executor as _, mysql::MySqlQueryResult};

use super::bundle::{Bundle, Done, Span};
use crate::db::warm::{Lent, Warm};

/// Statements as one text, each with whether somebody wants its answer.
#[derive(Debug, Default)]
pub(super) struct Text {
    sql: String,
    is_wanted: Vec<bool>,
}

impl Text {
    /// One statement that gives several answers.
    pub(super) fn new(sql: String, is_wanted: Vec<bool>) -> Self {
        Self { sql, is_wanted }
    }

    pub(super) fn add(&mut self, sql: &str, is_wanted: bool) {
        if !self.is_wanted.is_empty() {
            self.sql.push(';');
        }
        self.sql.push_str(sql);
        self.is_wanted.push(is_wanted);
    }
}

/// What one statement answered.
pub(super) type Answer = (Vec<QueryResult>, MySqlQueryResult);

/// A connection that may be in the middle of a transaction: it is given back only when it is known
/// not to be, and closed otherwise.
pub(super) struct Own {
    warm: Warm,
    lent: Option<Lent>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Own").field(&self.lent.is_some()).finish()
    }
}

impl Own {
    pub(super) async fn acquire(warm: &Warm) -> Result<Self, DbErr> {
        Ok(Self {
            lent: Some(warm.take().await?),
            warm: warm.clone(),
        })
    }

    /// The text of a bundle, as this server takes it best.
    pub(super) fn text(&self, bundle: &Bundle, span: Span) -> Text {
        if self.warm.is_mariadb() {
            bundle.compound(span)
        } else {
            bundle.text(span)
        }
    }

    /// Answers what was wanted, and the error that kept the rest from being carried out.
    pub(super) async fn ask(&mut self, text: Text) -> (Vec<Answer>, Option<sqlx::Error>) {
        let Some(connection) = self.lent.as_mut().and_then(Lent::connection) else {
            return (Vec::new(), Some(sqlx::Error::PoolClosed));
        };
        let mut answers = Vec::with_capacity(text.is_wanted.len());
        let mut is_wanted = text.is_wanted.into_iter();
        let mut rows = Vec::new();
        let mut stream = connection.fetch_many(sqlx::raw_sql(AssertSqlSafe(text.sql)));
        loop {
            match stream.try_next().await {
                Ok(Some(Either::Right(row))) => rows.push(QueryResult::from(row)),
                Ok(Some(Either::Left(end))) => {
                    let rows = std::mem::take(&mut rows);
                    if is_wanted.next() == Some(true) {
                        answers.push((rows, end));
                    }
                }
                Ok(None) => return (answers, None),
                Err(error) => {
                    if !matches!(error, sqlx::Error::Database(_)) {
                        self.warm.distrust();
                    }
                    return (answers, Some(error));
                }
            }
        }
    }

    /// Answers what was wanted.
    pub(super) async fn send(&mut self, text: Text) -> Result<Vec<Done>, sqlx::Error> {
        let (answers, error) = self.ask(text).await;
        let done = answers.into_iter().map(|(rows, _)| Done { rows });
        error.map_or_else(|| Ok(done.collect()), Err)
    }

    /// There is no transaction any more.
    pub(super) fn give_back(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.warm.give_back(lent);
        }
    }

    pub(super) async fn roll_back(&mut self) {
        if let Some(connection) = self.lent.as_mut().and_then(Lent::connection)
            && connection.execute(sqlx::raw_sql("ROLLBACK")).await.is_ok()
        {
            self.give_back();
        }
    }
}

/// What the driver says, as the rest of the crate knows it.
pub(super) fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}
