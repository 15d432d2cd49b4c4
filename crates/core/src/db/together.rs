//! Statements that serve several questions or writes at once.

use std::sync::Arc;

use sea_orm::{ColumnTrait, Condition, ExprTrait as _, Value};

use super::{Db, retried};
use crate::{
    error::{Error, Result},
    gather::{Gather, Limits},
};

/// The same values, the last one repeated until there are a power of two: lists of few lengths make
/// few statements, which stay prepared. Only for conditions, which do not mind repetitions.
#[must_use]
pub fn padded<T: Clone>(mut values: Vec<T>) -> Vec<T> {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

/// Each of these once, in order.
#[must_use]
pub fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Whether two columns hold one of these pairs.
#[must_use]
pub fn is_one_of<C, A, B>(columns: (C, C), pairs: Vec<(A, B)>) -> Condition
where
    C: ColumnTrait,
    A: Into<Value>,
    B: Into<Value>,
{
    pairs
        .into_iter()
        .fold(Condition::any(), |any, (one, other)| {
            any.add(columns.0.eq(one).and(columns.1.eq(other)))
        })
}

/// Questions that share one query when they come at the same time. `find` answers in order.
#[must_use]
pub fn together<K, V, F>(
    db: &Db,
    limits: Limits,
    find: impl Fn(Db, Vec<K>) -> F + Send + Sync + 'static,
) -> Gather<K, V>
where
    K: Send + 'static,
    V: Send + 'static,
    F: Future<Output = Result<Vec<V>>> + Send + 'static,
{
    each_answered(db, limits, move |db, questions: Vec<K>| {
        let asked = questions.len();
        let found = find(db, questions);
        async move {
            match found.await {
                Ok(found) => found.into_iter().map(Ok).collect(),
                Err(error) => all_failed(error, asked),
            }
        }
    })
}

/// The same for questions of which some may fail and others not.
#[must_use]
pub fn each_answered<K, V, F>(
    db: &Db,
    limits: Limits,
    answer: impl Fn(Db, Vec<K>) -> F + Send + Sync + 'static,
) -> Gather<K, V>
where
    K: Send + 'static,
    V: Send + 'static,
    F: Future<Output = Vec<Result<V>>> + Send + 'static,
{
    let db = db.clone();
    Gather::new(limits, move |questions| {
        Box::pin(answer(db.clone(), questions))
    })
}

/// One failure for each of those who asked together; what kind it is each of them can tell.
#[must_use]
pub fn all_failed<V>(error: Error, asked: usize) -> Vec<Result<V>> {
    let error = Arc::new(error);
    (0..asked)
        .map(|_| Err(Error::from(Arc::clone(&error))))
        .collect()
}

/// Writes several things in one transaction, or each by itself.
///
/// They are written together if there are at least so many; `write` answers values when every one
/// of them was as expected, and has written nothing otherwise.
pub async fn all_or_each<T, V, F, G>(
    (things, least): (Vec<T>, usize),
    write: impl Fn(Vec<T>) -> F,
    each: impl Fn(T) -> G,
) -> Vec<Result<V>>
where
    T: Clone,
    F: Future<Output = Result<Option<Vec<V>>>>,
    G: Future<Output = Result<V>>,
{
    if things.len() >= least {
        let written = retried(|| write(things.clone()));
        match written.await {
            Ok(Some(values)) => return values.into_iter().map(Ok).collect(),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(error = ?error, "writes that came together are written one by one");
            }
        }
    }
    let mut outcomes = Vec::with_capacity(things.len());
    for thing in things {
        outcomes.push(each(thing).await);
    }
    outcomes
}
