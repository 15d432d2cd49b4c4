//! The protocol's scripts: loading, calling, and the shape of their answers.
//!
//! What each one does and answers is written at its head in `lua/`; what the answers mean to
//! callers of the port is decided in `queue`.

use std::sync::Arc;

use fred::{
    clients::Client,
    error::Error,
    interfaces::LuaInterface,
    types::{Key, Value, scripts::Script},
};
use slipway_core::ports::QueueError;

use super::{client::Link, error::queue_error};

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {
        /// Every script, by the name of its file.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)+
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self {
                    $($name: Script::from_lua(concat!(
                        include_str!("lua/shared.lua"),
                        include_str!(concat!("lua/", stringify!($name), ".lua")),
                    )),)+
                }
            }
        }
    };
}

scripts! {
    begin_rebuild, claim, depth, end_rebuild, enqueue, entries, finish, hold, places, probe,
    renew, repair, requeue, restore, retry, sweep, targets,
}

/// Runs scripts against one index.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    /// The connections, the best one first; each is used while those before it are not there.
    links: Vec<Arc<Link>>,
    keys: Vec<Key>,
    pend: Value,
}

impl Runner {
    pub(super) fn new(link: Arc<Link>, keys: Vec<Key>, pend: &str) -> Self {
        Self {
            links: vec![link],
            keys,
            pend: Value::from(pend),
        }
    }

    /// The same over a connection that goes before.
    pub(super) fn over(&self, link: Link) -> Self {
        let mut links = self.links.clone();
        links.insert(0, Arc::new(link));
        Self {
            links,
            ..self.clone()
        }
    }

    fn connected(&self) -> Result<&Client, QueueError> {
        let mut found = Err(QueueError::Unavailable("no connection to Redis".to_owned()));
        for link in &self.links {
            found = link.connected();
            if found.is_ok() {
                break;
            }
        }
        found
    }

    /// Runs a script; `args` are its `ARGV` from 2 on.
    ///
    /// # Errors
    /// Those of the port; an answer of LOST is one of them.
    pub(super) async fn run(
        &self,
        script: &Script,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Reply, QueueError> {
        let mut argv = vec![self.pend.clone()];
        argv.extend(args);
        let words = self.call(script, argv).await?;
        let mut words = words.into_iter();
        let outcome = words.next().unwrap_or_default();
        if outcome == "LOST" {
            return Err(QueueError::Lost);
        }
        Ok(Reply {
            outcome,
            words: words.collect(),
        })
    }

    async fn call(&self, script: &Script, argv: Vec<Value>) -> Result<Vec<String>, QueueError> {
        let client = self.connected()?;
        let hash = script.sha1().clone();
        let mut answer: Result<Vec<String>, Error> =
            client.evalsha(hash, self.keys.clone(), argv.clone()).await;
        if let Err(error) = &answer
            && error.details().starts_with("NOSCRIPT")
            && let Some(source) = script.lua()
        {
            // Sending the source runs the script and loads it again for everybody.
            answer = client.eval(source.clone(), self.keys.clone(), argv).await;
        }
        answer.map_err(|error| queue_error(&error))
    }
}

/// What a script answered: an outcome, and what belongs to it.
#[derive(Debug)]
pub(super) struct Reply {
    outcome: String,
    words: Vec<String>,
}

impl Reply {
    /// The outcome's name.
    pub(super) fn outcome(&self) -> &str {
        &self.outcome
    }

    /// All that follows the outcome.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// The number at a position after the outcome.
    pub(super) fn number(&self, position: usize) -> Result<i64, QueueError> {
        let word = self.words.get(position).ok_or_else(|| self.unexpected())?;
        parse(word)
    }

    /// All that follows the outcome, as numbers.
    pub(super) fn numbers(&self) -> Result<Vec<i64>, QueueError> {
        self.words.iter().map(|word| parse(word)).collect()
    }

    /// The error for an answer that this version does not know.
    pub(super) fn unexpected(&self) -> QueueError {
        QueueError::Protocol(format!("{} {}", self.outcome, self.words.join(" ")))
    }
}

fn parse(word: &str) -> Result<i64, QueueError> {
    word.parse()
        .map_err(|error| QueueError::Protocol(format!("{word:?} is not a number: {error}")))
}
