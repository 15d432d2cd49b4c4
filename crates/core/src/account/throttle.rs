//! How often somebody may try a password: by account, on the database, and by the address that asks,
//! in this process. There is no actor yet: system-only.
//!
//! An attempt counts before it is looked at, so that many at once count too; a right password takes
//! it back. No account is locked for good: the longest wait is a quarter of an hour.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::store::throttles;
use crate::{
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
};

/// Wrong passwords for one account before it is slowed down.
pub const FREE: i64 = 5;
/// The longest wait.
pub const WAIT_MAX: chrono::Duration = chrono::Duration::minutes(15);
/// How long wrong passwords are remembered.
pub const REMEMBERED: chrono::Duration = chrono::Duration::hours(24);
/// Attempts that one address has at once.
pub const BURST: u32 = 30;
/// How long it takes until an address has one more.
pub const REFILL: Duration = Duration::from_secs(5);
/// Addresses that are remembered; the fullest are forgotten first.
const ADDRESSES_MAX: usize = 10_000;

/// How long an account waits after so many wrong passwords in a row.
#[must_use]
pub fn wait_after(failures: i64) -> chrono::Duration {
    let Some(doublings) = failures.checked_sub(FREE).filter(|over| *over > 0) else {
        return chrono::Duration::zero();
    };
    let seconds = 1_i64 << doublings.min(12);
    chrono::Duration::seconds(seconds).min(WAIT_MAX)
}

/// Counts an attempt for an account, known or not.
///
/// # Errors
/// [`Error::Throttled`] while the account waits.
pub async fn attempt(ctx: &Ctx, email_key: &str, from: &str, now: DateTime<Utc>) -> Result<()> {
    crate::db::retried(|| count(ctx, email_key, from, now)).await
}

async fn count(ctx: &Ctx, email_key: &str, from: &str, now: DateTime<Utc>) -> Result<()> {
    let account = hash(email_key);
    let tx = ctx.db.begin().await?;
    let known = throttles::find_locked(&tx, &account, now).await?;
    let known = known.filter(|row| row.updated_at + REMEMBERED > now);
    // Until then none waits, and the moments of those who come together are in no order.
    if let Some(row) = &known
        && row.failures > FREE
        && row.blocked_until > now
    {
        let left = row.blocked_until - now;
        return Err(Error::Throttled(
            left.num_seconds().max(0).unsigned_abs() + 1,
        ));
    }
    let failures = known.map_or(0, |row| row.failures) + 1;
    let until = now + wait_after(failures);
    throttles::put(&tx, &account, failures, until, now).await?;
    if failures == FREE + 1 {
        let entry = Entry::by_system(Action::SignInThrottle, now).from_address(from);
        let entry = entry.on(ObjectKind::User, None, email_key);
        ctx.audit.record(&tx, &entry).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Forgets an account's wrong passwords: the right one came.
///
/// # Errors
/// When the database fails.
pub async fn succeeded(ctx: &Ctx, email_key: &str) -> Result<()> {
    throttles::clear(ctx.db.writer(), &hash(email_key)).await
}

fn hash(email_key: &str) -> String {
    hex::encode(Sha256::digest(email_key))
}

/// Attempts by address. Each process counts by itself.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<HashMap<String, Bucket>>);

#[derive(Debug)]
struct Bucket {
    /// Attempts that were made and have not been given back yet.
    used: f64,
    at: Instant,
}

impl Bucket {
    fn refilled(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.used = (self.used - passed / REFILL.as_secs_f64()).max(0.0);
        self.at = now;
    }
}

impl Addresses {
    /// Counts an attempt from this address.
    ///
    /// # Errors
    /// [`Error::Throttled`] when it has none left.
    pub fn attempt(&self, address: &str, now: Instant) -> Result<()> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(address) {
            make_room(&mut buckets, now);
        }
        let bucket = buckets
            .entry(address.to_owned())
            .or_insert(Bucket { used: 0.0, at: now });
        bucket.refilled(now);
        let over = bucket.used + 1.0 - f64::from(BURST);
        if over > 0.0 {
            let wait = REFILL.mul_f64(over).as_secs() + 1;
            return Err(Error::Throttled(wait));
        }
        bucket.used += 1.0;
        Ok(())
    }

    /// Gives an attempt back: the password was right.
    pub fn succeeded(&self, address: &str) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(address) {
            bucket.used = (bucket.used - 1.0).max(0.0);
        }
    }
}

/// Forgets those who have everything left, and if that is not enough, those who have the most left.
fn make_room(buckets: &mut HashMap<String, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| {
        bucket.refilled(now);
        bucket.used > 0.0
    });
    if buckets.len() >= ADDRESSES_MAX {
        let mut used: Vec<f64> = buckets.values().map(|bucket| bucket.used).collect();
        used.sort_by(f64::total_cmp);
        let middle = used.get(used.len() / 2).copied().unwrap_or_default();
        buckets.retain(|_, bucket| bucket.used > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_waits_twice_as_long_each_time_and_never_for_good() {
        let waits: Vec<i64> = (0..12)
            .map(|count| wait_after(count).num_seconds())
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 64]);
        assert_eq!(wait_after(i64::MAX), WAIT_MAX);
    }

    #[test]
    fn an_address_has_a_burst_and_gets_one_more_now_and_then() {
        let (addresses, start) = (Addresses::default(), Instant::now());
        for _ in 0..BURST {
            addresses.attempt("192.0.2.1", start).unwrap();
        }
        let refused = addresses.attempt("192.0.2.1", start);
        assert!(matches!(refused, Err(Error::Throttled(6))), "{refused:?}");
        addresses.attempt("192.0.2.2", start).unwrap();
        addresses.attempt("192.0.2.1", start + REFILL).unwrap();
        assert!(addresses.attempt("192.0.2.1", start + REFILL).is_err());
        addresses.succeeded("192.0.2.1");
        addresses.attempt("192.0.2.1", start + REFILL).unwrap();
    }

    #[test]
    fn many_addresses_take_no_more_memory() {
        let (addresses, start) = (Addresses::default(), Instant::now());
        for number in 0..3 * ADDRESSES_MAX {
            addresses.attempt(&number.to_string(), start).unwrap();
        }
        assert!(addresses.0.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
