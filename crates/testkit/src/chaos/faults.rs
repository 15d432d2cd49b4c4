//! What the suite does to an installation, how often, and in which order: pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::dice::Dice;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A worker is killed with SIGKILL.
    WorkerKill,
    /// A worker stands still for a while.
    WorkerFreeze,
    /// An API process is killed with SIGKILL.
    ApiKill,
    /// Every process in turn is told to end and started again.
    RollingRestart,
    /// Redis is emptied.
    RedisFlush,
    /// Redis is killed and comes back empty.
    RedisKill,
    /// Redis has no memory for writes.
    RedisMemory,
    /// Redis follows a master that is away, and takes no writes.
    RedisReadonly,
    /// Redis stands still for a while.
    RedisFreeze,
    /// The connections of some processes to Redis suffer.
    RedisNetwork,
    /// MariaDB is killed and started again.
    DatabaseKill,
    /// The connections of some processes to MariaDB suffer.
    DatabaseNetwork,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::WorkerKill,
        Self::WorkerFreeze,
        Self::ApiKill,
        Self::RollingRestart,
        Self::RedisFlush,
        Self::RedisKill,
        Self::RedisMemory,
        Self::RedisReadonly,
        Self::RedisFreeze,
        Self::RedisNetwork,
        Self::DatabaseKill,
        Self::DatabaseNetwork,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerKill => "worker-kill",
            Self::WorkerFreeze => "worker-freeze",
            Self::ApiKill => "api-kill",
            Self::RollingRestart => "rolling-restart",
            Self::RedisFlush => "redis-flush",
            Self::RedisKill => "redis-kill",
            Self::RedisMemory => "redis-memory",
            Self::RedisReadonly => "redis-readonly",
            Self::RedisFreeze => "redis-freeze",
            Self::RedisNetwork => "redis-network",
            Self::DatabaseKill => "database-kill",
            Self::DatabaseNetwork => "database-network",
        }
    }

    /// Whether it takes no time.
    #[must_use]
    pub(super) fn is_kill(self) -> bool {
        matches!(self, Self::WorkerKill | Self::ApiKill)
    }

    /// Whether the deployments that a process ran at that moment tell how long recovery took;
    /// otherwise the first deployment that starts afterwards does.
    #[must_use]
    pub fn interrupts(self) -> bool {
        matches!(self, Self::WorkerKill | Self::WorkerFreeze)
    }

    /// The longest that recovery may take. What waits for a lease to run out is measured in leases,
    /// with a tenth of one and a second for starting anew; the rest does not depend on them.
    #[must_use]
    pub fn bound(self, lease: Duration) -> Duration {
        let second = Duration::from_secs(1);
        match self {
            // Forty seconds with a lease of thirty: lease, reaper, and the next claim.
            Self::WorkerKill | Self::WorkerFreeze => lease * 4 / 3 + second,
            // Whatever was committed and not pushed is found within two thirds of a lease.
            Self::ApiKill | Self::RollingRestart => lease * 2 / 3 + second,
            Self::RedisFlush
            | Self::RedisKill
            | Self::RedisMemory
            | Self::RedisReadonly
            | Self::RedisFreeze => Duration::from_secs(10),
            // Cut off for longer than its lease, a process may hold deployments until it runs out.
            Self::RedisNetwork | Self::DatabaseNetwork => lease * 4 / 3 + Duration::from_secs(10),
            // The reaper warms up for one lease, and pools connect again.
            Self::DatabaseKill => lease * 7 / 6 + Duration::from_secs(10),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind happens.
pub type Counts = BTreeMap<Fault, u32>;

/// Reads `redis-flush=200,api-kill` and `all=2`: a kind without a number happens once, `all` stands
/// for every kind, and what comes later wins.
///
/// # Errors
/// Says which word is not understood, and which there are.
pub fn parse_counts(text: &str) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        let (name, count) = word.split_once('=').unwrap_or((word, "1"));
        let count: u32 = count
            .parse()
            .map_err(|error| format!("`{count}` in `{word}`: {error}"))?;
        let kinds: Vec<Fault> = Fault::ALL
            .into_iter()
            .filter(|fault| name == "all" || fault.name() == name)
            .collect();
        if kinds.is_empty() {
            let known = Fault::ALL.map(Fault::name).join(", ");
            return Err(format!(
                "there is no fault `{name}`; there are all, {known}"
            ));
        }
        counts.extend(kinds.into_iter().map(|kind| (kind, count)));
    }
    Ok(counts)
}

/// One fault that is going to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    /// What happens.
    pub fault: Fault,
    /// How many deployments have been accepted by then.
    pub after: usize,
    /// Decides the victim and how long it lasts.
    pub seed: u64,
}

/// The faults in the order in which they happen, spread evenly over the deployments.
#[must_use]
pub(crate) fn schedule(counts: &Counts, deployments: usize, seed: u64) -> Vec<Strike> {
    let mut dice = Dice::new(seed);
    let mut faults: Vec<Fault> = counts
        .iter()
        .flat_map(|(fault, count)| std::iter::repeat_n(*fault, *count as usize))
        .collect();
    dice.shuffle(&mut faults);
    let number = faults.len();
    let placed = faults.into_iter().enumerate();
    placed
        .map(|(place, fault)| Strike {
            fault,
            after: (place + 1) * deployments / (number + 1),
            seed: dice.roll(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_in_order() {
        let counts = parse_counts("all=2, api-kill=7,redis-flush").unwrap();
        assert_eq!(counts.len(), Fault::ALL.len());
        assert_eq!(counts[&Fault::ApiKill], 7);
        assert_eq!(counts[&Fault::RedisFlush], 1);
        assert_eq!(counts[&Fault::DatabaseKill], 2);
        assert!(parse_counts("").unwrap().is_empty());
    }

    #[test]
    fn mistake_is_named() {
        let error = parse_counts("redis-flash").unwrap_err();
        assert!(error.contains("`redis-flash`") && error.contains("redis-flush"));
        assert!(
            parse_counts("redis-flush=many")
                .unwrap_err()
                .contains("`many`")
        );
    }

    #[test]
    fn schedule_repeats_with_its_seed_and_is_spread_over_the_load() {
        let counts = parse_counts("all=3").unwrap();
        let strikes = schedule(&counts, 370, 1);
        assert_eq!(strikes, schedule(&counts, 370, 1));
        assert_ne!(strikes, schedule(&counts, 370, 2));
        assert_eq!(strikes.len(), 36);
        assert_eq!((strikes[0].after, strikes[35].after), (10, 360));
    }
}
