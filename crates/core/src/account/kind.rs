//! Kinds of accounts, and of ways to sign in to them.

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

words! {
    /// How somebody proved who they are, before any second factor.
    Means {
        /// With the account's password.
        Password = "password",
        /// At the identity provider.
        Provider = "provider",
    }
}
