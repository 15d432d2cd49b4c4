//! Several statements with one trip to the database.
//!
//! MySQL takes them as one text and answers each of them; a trip costs more than most of the
//! statements that it carries. SQLite, which is no trip away, is asked one by one.

mod bundle;
mod line;
mod own;

use std::sync::Arc;

use sea_orm::DbErr;

use bundle::Span;
pub(super) use bundle::literal;
pub use bundle::{Bundle, Done};
pub use line::Line;
use own::{Answer, Own, Text, failed};

use super::{Db, Transaction, broken, connection::Connection, warm::Warm};
use crate::error::Result;

/// A transaction that was begun with [`Db::begin_at_once`]; dropping it rolls back.
#[derive(Debug)]
pub struct Opened(Inner);

#[derive(Debug)]
enum Inner {
    Own(Own),
    Transaction(Transaction),
}

impl Db {
    /// Carries out a bundle as one transaction and answers what it read, in order; nothing, and
    /// nothing changed, when an expectation was not met.
    ///
    /// # Errors
    /// When the database fails. If the connection was lost nobody knows whether it was carried out.
    pub async fn at_once(&self, bundle: &Bundle) -> Result<Option<Vec<Done>>> {
        if let Some(warm) = warm(&self.writer) {
            let own = Own::acquire(warm).await?;
            return whole(own, bundle, true).await;
        }
        let tx = self.begin().await?;
        Opened(Inner::Transaction(tx)).finish(bundle).await
    }

    /// Asks for what `ask` needs: what it asks at the same time leaves with one trip, in order. Each
    /// statement sees what was committed when its turn came.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn ask_at_once<T, F>(&self, ask: impl FnOnce(Line) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let Some(warm) = warm(&self.reader) else {
            return ask(Line::Connection(self.reader.clone(), Arc::default())).await;
        };
        let mut own = Own::acquire(warm).await?;
        let answer = line::carry(&mut own, (None, None), ask).await?;
        own.give_back();
        Ok(answer)
    }

    /// Begins a transaction with what `ask` does first; what it asks at the same time leaves with
    /// one trip, in order.
    ///
    /// # Errors
    /// Those of `ask`; then everything is undone.
    pub async fn begin_at_once<T, F>(&self, ask: impl FnOnce(Line) -> F) -> Result<(Opened, T)>
    where
        F: Future<Output = Result<T>>,
    {
        if let Some(warm) = warm(&self.writer) {
            let mut own = Own::acquire(warm).await?;
            return match line::carry(&mut own, (Some("BEGIN"), None), ask).await {
                Ok(answer) => Ok((Opened(Inner::Own(own)), answer)),
                Err(error) => {
                    own.roll_back().await;
                    Err(error)
                }
            };
        }
        let tx = Arc::new(self.begin().await?);
        let answer = ask(Line::Transaction(Arc::clone(&tx))).await?;
        let tx = Arc::into_inner(tx).ok_or_else(|| broken("a transaction is still in use"))?;
        Ok((Opened(Inner::Transaction(tx)), answer))
    }
}

impl Opened {
    /// Carries out more; nothing, and everything undone, when an expectation was not met.
    ///
    /// # Errors
    /// When the database fails; then everything is undone.
    pub async fn then(self, bundle: &Bundle) -> Result<Option<(Self, Vec<Done>)>> {
        match self.0 {
            Inner::Own(own) => {
                let span = Span {
                    begins: false,
                    ends: false,
                };
                let sent = sent(own, bundle, span).await?;
                Ok(sent.map(|(own, done)| (Self(Inner::Own(own)), done)))
            }
            Inner::Transaction(tx) => {
                let done = bundle.one_by_one(&tx).await?;
                Ok(done.map(|done| (Self(Inner::Transaction(tx)), done)))
            }
        }
    }

    /// Asks for more within the transaction; what is asked at the same time leaves with one trip.
    ///
    /// # Errors
    /// Those of `ask`; then everything is undone.
    pub async fn also<T, F>(self, ask: impl FnOnce(Line) -> F) -> Result<(Self, T)>
    where
        F: Future<Output = Result<T>>,
    {
        match self.0 {
            Inner::Own(mut own) => match line::carry(&mut own, (None, None), ask).await {
                Ok(answer) => Ok((Self(Inner::Own(own)), answer)),
                Err(error) => {
                    own.roll_back().await;
                    Err(error)
                }
            },
            Inner::Transaction(tx) => {
                let tx = Arc::new(tx);
                let answer = ask(Line::Transaction(Arc::clone(&tx))).await?;
                let tx = Arc::into_inner(tx);
                let tx = tx.ok_or_else(|| broken("a transaction is still in use"))?;
                Ok((Self(Inner::Transaction(tx)), answer))
            }
        }
    }

    /// Carries out the rest and makes everything last; nothing, and everything undone, when an
    /// expectation was not met.
    ///
    /// # Errors
    /// When the database fails. If the connection was lost nobody knows whether it was carried out.
    pub async fn finish(self, bundle: &Bundle) -> Result<Option<Vec<Done>>> {
        match self.0 {
            Inner::Own(own) => whole(own, bundle, false).await,
            Inner::Transaction(tx) => {
                let done = bundle.one_by_one(&tx).await?;
                if done.is_some() {
                    tx.commit().await?;
                }
                Ok(done)
            }
        }
    }

    /// Undoes everything.
    pub async fn roll_back(self) {
        if let Inner::Own(mut own) = self.0 {
            own.roll_back().await;
        }
    }
}

/// Carries out statements up to the end of their transaction.
async fn whole(own: Own, bundle: &Bundle, begins: bool) -> Result<Option<Vec<Done>>> {
    let sent = sent(own, bundle, Span { begins, ends: true }).await?;
    Ok(sent.map(|(mut own, done)| {
        own.give_back();
        done
    }))
}

/// Carries out statements; nothing, and everything undone, when an expectation was not met.
async fn sent(mut own: Own, bundle: &Bundle, span: Span) -> Result<Option<(Own, Vec<Done>)>> {
    let text = own.text(bundle, span);
    match own.send(text).await {
        Ok(done) => Ok(Some((own, done))),
        Err(error) => {
            own.roll_back().await;
            if bundle::is_unmet(&error) {
                Ok(None)
            } else {
                Err(failed(error).into())
            }
        }
    }
}

/// Carries out one statement and answers what it answers.
pub(super) async fn one(warm: &Warm, sql: &str) -> Result<Answer, DbErr> {
    let mut own = Own::acquire(warm).await?;
    let mut text = Text::default();
    text.add(sql, true);
    let (mut answers, error) = own.ask(text).await;
    if let Some(error) = error {
        // The server refused it, which says nothing against the connection.
        if matches!(error, sqlx::Error::Database(_)) {
            own.give_back();
        }
        return Err(failed(error));
    }
    own.give_back();
    answers
        .pop()
        .ok_or_else(|| DbErr::Custom("no answer came".to_owned()))
}

fn warm(connection: &Connection) -> Option<&Warm> {
    match connection {
        Connection::Warm(warm) => Some(warm),
        Connection::Pool(_) | Connection::Relay(_) => None,
    }
}
