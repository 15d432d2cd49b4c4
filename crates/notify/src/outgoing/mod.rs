//! The only way out: which addresses a message may be sent to, and connections to exactly those.
//!
//! A name is resolved once, every address it has is judged, and the connection goes to the judged
//! addresses, so that a name cannot mean something else a moment later. Nothing follows redirects or
//! uses a proxy, everything is bounded in time and size, and what is said of it names scheme and host
//! only. What is sent is not known here.

mod address;
mod guard;
mod http;
mod mail;
mod resolve;
mod roots;

use std::time::Duration;

use slipway_core::notify::Verdict;

pub use guard::Outgoing;
pub(crate) use guard::Place;
pub(crate) use http::{Answer, Request};
pub(crate) use mail::{MailServer, MailTls};
pub use resolve::{Resolve, SystemResolver};

/// How long it may take until a connection stands, and a name is resolved.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take in all.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why something was not sent. The text is for people and holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It must not go there, or cannot as it is.
    Refused(String),
    /// It may work another time.
    Later(String),
}

impl From<Trouble> for Verdict {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(answer) => Self::Refused { answer },
            Trouble::Later(answer) => Self::Later {
                answer,
                after: None,
            },
        }
    }
}
