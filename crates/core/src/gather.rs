//! Questions that are asked at the same time, answered together.
//!
//! A question joins the batch that begins *after* it was asked, never one that is under way, so its
//! answer is as fresh as if it had been asked alone. While one batch is being answered the next one
//! gathers. What is asked and how it is answered is the caller's; this knows no database.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{
    db,
    error::{Error, Result},
};

/// Answers to a batch, one for each question and in the same order.
pub type Answers<V> = Pin<Box<dyn Future<Output = Vec<Result<V>>> + Send>>;

type Answering<K, V> = dyn Fn(Vec<K>) -> Answers<V> + Send + Sync;
type Waiting<K, V> = Vec<(K, oneshot::Sender<Result<V>>)>;

/// How many questions are answered, and may wait, at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most questions of one batch.
    pub batch: usize,
    /// Most questions that wait; further ones are answered with [`Error::Busy`].
    pub waiting: usize,
}

/// Gathers questions. Cloning it is cheap, and all clones share their batches.
pub struct Gather<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    answering: Box<Answering<K, V>>,
    limits: Limits,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    waiting: Waiting<K, V>,
    /// Somebody is answering, and will go on until nothing waits.
    is_answering: bool,
}

impl<K, V> Clone for Gather<K, V> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V> fmt::Debug for Gather<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl<K: Send + 'static, V: Send + 'static> Gather<K, V> {
    /// Answers with `answering`, which is given at most a batch of questions at a time.
    pub fn new(
        limits: Limits,
        answering: impl Fn(Vec<K>) -> Answers<V> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            waiting: Vec::new(),
            is_answering: false,
        };
        Self {
            shared: Arc::new(Shared {
                answering: Box::new(answering),
                limits,
                state: Mutex::new(state),
            }),
        }
    }

    /// Asks, and waits for the answer. A caller that goes away keeps nobody else from theirs.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait, else whatever the answer is.
    pub async fn ask(&self, question: K) -> Result<V> {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut state = self.shared.lock();
            if state.waiting.len() >= self.shared.limits.waiting {
                return Err(Error::Busy);
            }
            state.waiting.push((question, answer));
            !mem::replace(&mut state.is_answering, true)
        };
        if begins {
            // On the asker's own runtime: waking another thread costs more than a small query.
            let turn = Turn {
                shared: Arc::clone(&self.shared),
                is_over: false,
            };
            tokio::spawn(async move { turn.answer().await });
        }
        answered
            .await
            .map_err(|lost| Error::Internal(anyhow::Error::new(lost)))?
    }
}

impl<K, V> Shared<K, V> {
    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, or nothing; then nobody is answering any more.
    fn next(&self) -> Option<Waiting<K, V>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.is_answering = false;
            return None;
        }
        let rest = if state.waiting.len() > self.limits.batch {
            state.waiting.split_off(self.limits.batch)
        } else {
            Vec::new()
        };
        Some(mem::replace(&mut state.waiting, rest))
    }
}

/// The duty to answer. When it is lost half-way (a panic, a runtime that ends) nobody waits for ever:
/// what waits is answered with an error, and the next question begins anew.
struct Turn<K, V> {
    shared: Arc<Shared<K, V>>,
    is_over: bool,
}

impl<K, V> Turn<K, V> {
    async fn answer(mut self) {
        // Whoever is about to ask, because the same event has woken them, joins the first batch.
        tokio::task::yield_now().await;
        while let Some(batch) = self.shared.next() {
            let (questions, askers): (Vec<K>, Vec<_>) = batch.into_iter().unzip();
            let mut answers = (self.shared.answering)(questions).await.into_iter();
            for asker in askers {
                let answer = answers.next();
                let answer = answer.unwrap_or_else(|| Err(db::broken("a question had no answer")));
                let _gone = asker.send(answer);
            }
        }
        self.is_over = true;
    }
}

impl<K, V> Drop for Turn<K, V> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.shared.lock();
        state.is_answering = false;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const LIMITS: Limits = Limits {
        batch: 4,
        waiting: 6,
    };

    /// Answers with the number of the batch, once it is let through.
    fn gated(gate: &Arc<Semaphore>, batches: &Arc<AtomicUsize>) -> Gather<u32, (u32, usize)> {
        let (gate, batches) = (Arc::clone(gate), Arc::clone(batches));
        Gather::new(LIMITS, move |questions: Vec<u32>| {
            let gate = Arc::clone(&gate);
            let number = batches.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                gate.acquire().await.expect("never closed").forget();
                let answers = questions.into_iter().map(|question| Ok((question, number)));
                answers.collect()
            })
        })
    }

    fn ask(
        gather: &Gather<u32, (u32, usize)>,
        question: u32,
    ) -> tokio::task::JoinHandle<Result<(u32, usize)>> {
        let gather = gather.clone();
        tokio::spawn(async move { gather.ask(question).await })
    }

    #[tokio::test]
    async fn question_never_joins_a_batch_that_is_under_way() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let gather = gated(&gate, &batches);
        let first = ask(&gather, 1);
        while batches.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (2..7).map(|question| ask(&gather, question)).collect();
        while gather.shared.lock().waiting.len() < later.len() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(3);
        assert_eq!(first.await.unwrap().unwrap(), (1, 0));
        let mut answers = Vec::new();
        for answer in later {
            answers.push(answer.await.unwrap().unwrap());
        }
        // At most four in one batch.
        assert_eq!(answers, [(2, 1), (3, 1), (4, 1), (5, 1), (6, 2)]);
    }

    #[tokio::test]
    async fn too_many_questions_are_refused() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let gather = gated(&gate, &batches);
        let asked: Vec<_> = (0..LIMITS.waiting as u32)
            .map(|question| ask(&gather, question))
            .collect();
        while gather.shared.lock().waiting.len() < LIMITS.waiting {
            if batches.load(Ordering::SeqCst) > 0 {
                drop(ask(&gather, 99));
            }
            tokio::task::yield_now().await;
        }
        assert!(matches!(gather.ask(100).await, Err(Error::Busy)));
        drop(asked);
    }

    #[tokio::test]
    async fn asker_that_goes_away_keeps_nobody_from_their_answer() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let gather = gated(&gate, &batches);
        let gone = ask(&gather, 1);
        while batches.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let stays = ask(&gather, 2);
        gone.abort();
        gate.add_permits(2);
        assert_eq!(stays.await.unwrap().unwrap(), (2, 1));
    }

    #[tokio::test]
    async fn nothing_is_left_behind_by_an_answer() {
        let held = Arc::new(());
        let own = Arc::clone(&held);
        let gather: Gather<(), ()> = Gather::new(LIMITS, move |questions| {
            let _own = Arc::clone(&own);
            Box::pin(async move { questions.into_iter().map(Ok).collect() })
        });
        gather.ask(()).await.unwrap();
        drop(gather);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn panic_fails_those_who_wait_and_nobody_after_them() {
        let gather: Gather<bool, ()> = Gather::new(LIMITS, |questions| {
            Box::pin(async move {
                assert!(!questions.contains(&true), "asked for it");
                questions.into_iter().map(|_| Ok(())).collect()
            })
        });
        assert!(gather.ask(true).await.is_err());
        assert!(gather.ask(false).await.is_ok());
    }
}
