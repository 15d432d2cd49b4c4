//! The redactor from outside: secrets in the spellings that real encoders give them, split at every
//! place, random streams against a naive oracle, and how fast it is.
//!
//! Short forms run with the other tests; `deploy/redact.sh` runs the long ones.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test whose surroundings fail has failed, and a panic is how it says so"
)]

mod dice;
mod fuzz;
mod leaks;
mod speed;
mod spelled;

use std::sync::Arc;

use slipway_redact::{Matcher, Redactor};

/// A number that the environment may set.
fn number(name: &str, default: u64) -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long to go on and from which seed is no setting of the product"
    )]
    let value = std::env::var(name);
    value.map_or(default, |text| text.parse().expect("a whole number"))
}

fn matcher(secrets: &[impl AsRef<[u8]>]) -> Arc<Matcher> {
    Arc::new(Matcher::new(secrets.iter().map(AsRef::as_ref)).unwrap())
}

fn masked<'a>(matcher: &Arc<Matcher>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut redactor, mut out) = (Redactor::new(Arc::clone(matcher)), Vec::new());
    for piece in pieces {
        redactor.push(piece, &mut out);
    }
    redactor.finish(&mut out);
    out
}
