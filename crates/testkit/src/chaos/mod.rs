//! The chaos suite: real processes and servers under load, faults on purpose, and a judge that
//! believes nothing but what the deployments' own steps wrote and what the API answers.
//!
//! `testkit-chaos` runs it at full size, a test of the command line's crate in a short form.

mod checker;
mod client;
mod dice;
mod faults;
mod fleet;
mod html;
mod load;
mod nemesis;
mod proxy;
mod record;
mod recovery;
mod report;
mod scenario;
mod shapes;
mod site;

pub use checker::Kind;
pub use faults::{Counts, Fault, parse_counts};
pub use nemesis::Lengths;
pub use record::step;
pub use report::Report;
pub use scenario::{Options, faults};
pub use shapes::{Sizes, backlog, fairness};
