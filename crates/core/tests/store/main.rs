//! What the database promises, each promise checked on SQLite and on MariaDB.
//!
//! The MariaDB half needs `SLIPWAY_TEST_MYSQL_URL`; it fails without, because a test that passes
//! without having run is worse than none.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on should stop"
)]

/// Makes two tests of each scenario in the module: one on SQLite, one on MariaDB.
macro_rules! on_both {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::rig::Rig::sqlite().await).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::rig::Rig::mysql().await).await;
            })+
        }
    };
}

/// The same, and a function that goes through all of them on a database of the caller's.
macro_rules! everywhere {
    ($($scenario:ident),+ $(,)?) => {
        on_both! { $($scenario),+ }

        pub(crate) async fn everything(rig: &impl AsyncFn() -> crate::rig::Rig) {
            $(Box::pin($scenario(rig().await)).await;)+
        }
    };
}

mod accounts;
mod admission;
mod audit;
mod audit_seals;
mod audit_trail;
mod bundle;
mod cancel;
mod claim;
mod factor;
mod idempotency;
mod lifecycle;
mod locks;
mod log;
mod migrate;
mod nonces;
mod notify_model;
mod notify_outbox;
mod notify_place;
mod notify_sending;
mod people;
mod plans;
mod policies;
mod premises;
mod processes;
mod projects;
mod provider;
mod race;
mod reaper;
mod recovery;
mod rig;
mod rotation;
mod run_input;
mod secrets;
mod steps;
mod text;
mod together;
mod visibility;
mod warm;
