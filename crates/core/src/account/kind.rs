//! Kinds of accounts.

use crate::word::words;

words! {
    /// Who an account is for.
    UserKind {
        /// Somebody with a password.
        Person = "person",
        /// A program; it has tokens, no password, and never signs in.
        Service = "service",
    }
}
