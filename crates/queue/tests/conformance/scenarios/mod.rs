//! The scenarios, by what they are about. Each gets an empty index that is not lost.

pub(crate) mod bus;
pub(crate) mod leases;
pub(crate) mod order;
pub(crate) mod priorities;
pub(crate) mod rebuild;
pub(crate) mod retries;
pub(crate) mod wake;
