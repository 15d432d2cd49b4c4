//! Does what the schedule says, one fault after the other, and writes down when.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;

use super::{
    dice::Dice,
    faults::{Fault, Strike},
    fleet::{Fleet, Role},
    load::Accounts,
    proxy::{Network, Proxy},
    record::{Moment, now_ns, read, records_file},
    site::Site,
};
use crate::{MariadbServer, RedisServer};

/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_millis(10);
/// After an outage, the longest wait for a first deployment before the next fault.
const CALM: Duration = Duration::from_secs(60);

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// The longest that a worker stands still.
    pub freeze_max: Duration,
    /// How long a service is away.
    pub outage: Duration,
}

/// A fault that happened.
#[derive(Clone, Debug)]
pub(crate) struct Struck {
    /// Which.
    pub fault: Fault,
    /// When it began, on the monotonic clock.
    pub began_ns: u64,
    /// When it was over; the same where it takes no time.
    pub over_ns: u64,
    /// The process that it hit, if it was one.
    pub process: Option<u32>,
    /// What else there is to say.
    pub detail: String,
}

/// Whoever breaks things.
#[derive(Debug)]
pub(crate) struct Nemesis {
    /// What is broken.
    pub site: Arc<Site>,
    /// Whose processes.
    pub fleet: Fleet,
    /// How far the load has come.
    pub accounts: Accounts,
    /// How far it will come.
    pub deployments: usize,
    /// How long things last.
    pub lengths: Lengths,
}

impl Nemesis {
    /// Works through a schedule.
    ///
    /// # Errors
    /// When a server or a process cannot be handled.
    pub(crate) async fn strike_all(self, schedule: Vec<Strike>) -> anyhow::Result<Vec<Struck>> {
        let mut struck = Vec::with_capacity(schedule.len());
        for strike in schedule {
            while self.accounts.accepted() < strike.after {
                // pause: the schedule is in deployments, and the load goes on by itself
                tokio::time::sleep(LOOK).await;
            }
            struck.push(self.strike(&strike).await?);
        }
        Ok(struck)
    }

    async fn strike(&self, strike: &Strike) -> anyhow::Result<Struck> {
        let mut dice = Dice::new(strike.seed);
        let began_ns = now_ns();
        let (process, detail) = match strike.fault {
            Fault::WorkerKill => self.kill(Role::Worker, &mut dice).await,
            Fault::ApiKill => self.kill(Role::Api, &mut dice).await,
            Fault::WorkerFreeze => self.freeze_worker(&mut dice).await,
            Fault::RollingRestart => (None, self.restart_all().await),
            Fault::RedisFlush
            | Fault::RedisKill
            | Fault::RedisMemory
            | Fault::RedisReadonly
            | Fault::RedisFreeze
            | Fault::RedisNetwork
            | Fault::DatabaseKill
            | Fault::DatabaseNetwork => (None, self.outage(strike.fault, &mut dice).await?),
        };
        let is_kill = strike.fault.is_kill();
        let over_ns = if is_kill { began_ns } else { now_ns() };
        if !is_kill {
            self.until_something_starts(over_ns).await?;
        }
        Ok(Struck {
            fault: strike.fault,
            began_ns,
            over_ns,
            process,
            detail,
        })
    }

    async fn kill(&self, role: Role, dice: &mut Dice) -> (Option<u32>, String) {
        let number = dice.index(self.fleet.count(role));
        loop {
            if let Some(process) = self.fleet.signal(role, number, Signal::KILL) {
                return (Some(process), String::new());
            }
            // pause: it is being started again
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn freeze_worker(&self, dice: &mut Dice) -> (Option<u32>, String) {
        let number = dice.index(self.fleet.count(Role::Worker));
        let length = dice.between(Duration::from_secs(1), self.lengths.freeze_max);
        let process = self.fleet.signal(Role::Worker, number, Signal::STOP);
        // pause: this is the fault
        tokio::time::sleep(length).await;
        self.fleet.signal(Role::Worker, number, Signal::CONT);
        (process, format!("{:.1} s", length.as_secs_f64()))
    }

    /// One after the other, each only when the one before has a successor.
    async fn restart_all(&self) -> String {
        let mut restarted = 0;
        for role in [Role::Worker, Role::Api] {
            for number in 0..self.fleet.count(role) {
                let Some(old) = self.fleet.signal(role, number, Signal::TERM) else {
                    continue;
                };
                while matches!(self.fleet.process(role, number), Some(now) if now == old)
                    || self.fleet.process(role, number).is_none()
                {
                    // pause: it finishes what it runs
                    tokio::time::sleep(LOOK).await;
                }
                restarted += 1;
            }
        }
        format!("{restarted} processes")
    }

    /// A fault of a server or of the network before it, from its beginning to its end.
    async fn outage(&self, fault: Fault, dice: &mut Dice) -> anyhow::Result<String> {
        let site = &self.site;
        let length = dice.between(self.lengths.outage / 4, self.lengths.outage);
        let mut detail = format!("{:.1} s", length.as_secs_f64());
        // pause: in each case this is how long the fault lasts
        let wait = || tokio::time::sleep(length);
        match fault {
            Fault::RedisFlush => {
                site.redis("FLUSHALL")?;
                detail.clear();
            }
            Fault::RedisKill => {
                site.with_redis(RedisServer::stop).await?;
                wait().await;
                site.with_redis(RedisServer::restart).await?;
            }
            Fault::RedisMemory => {
                site.redis("CONFIG SET maxmemory 1")?;
                wait().await;
                site.redis("CONFIG SET maxmemory 0")?;
            }
            Fault::RedisReadonly => {
                site.redis("REPLICAOF 127.0.0.1 1")?;
                wait().await;
                site.redis("REPLICAOF NO ONE")?;
            }
            Fault::RedisFreeze => {
                site.with_redis(|redis| redis.freeze()).await?;
                // pause: the whole of it, as the promise is about this long
                tokio::time::sleep(self.lengths.outage).await;
                site.with_redis(|redis| redis.thaw()).await?;
                detail = format!("{:.1} s", self.lengths.outage.as_secs_f64());
            }
            Fault::RedisNetwork => {
                detail = suffer(&site.redis_proxy, dice, length).await;
            }
            Fault::DatabaseNetwork => {
                self.fleet.database_is_away(true);
                detail = suffer(&site.database_proxy, dice, length).await;
                self.fleet.database_is_away(false);
            }
            Fault::DatabaseKill => {
                self.fleet.database_is_away(true);
                site.with_database(MariadbServer::stop).await?;
                wait().await;
                site.with_database(MariadbServer::restart).await?;
                self.fleet.database_is_away(false);
            }
            Fault::WorkerKill | Fault::WorkerFreeze | Fault::ApiKill | Fault::RollingRestart => {}
        }
        Ok(detail)
    }

    /// The next fault must find an installation that works, or recoveries could not be told apart.
    async fn until_something_starts(&self, since_ns: u64) -> anyhow::Result<()> {
        let began = tokio::time::Instant::now();
        let file = records_file(&self.site.folder);
        // Once all are accepted, nothing may be left that could start.
        while began.elapsed() < CALM && self.accounts.accepted() < self.deployments {
            let records = read(&file)?;
            let mut latest = records.iter().rev().take(1000);
            if latest.any(|it| it.moment == Moment::Started && it.at_ns > since_ns) {
                return Ok(());
            }
            // pause: what happens is up to the installation
            tokio::time::sleep(LOOK * 5).await;
        }
        Ok(())
    }
}

async fn suffer(proxy: &Proxy, dice: &mut Dice, length: Duration) -> String {
    let kinds = Network::FAULTS;
    let network = kinds.get(dice.index(kinds.len())).copied();
    let network = network.unwrap_or(Network::Cut);
    proxy.set(network);
    // pause: this is the fault
    tokio::time::sleep(length).await;
    proxy.set(Network::Fine);
    format!("{network:?} for {:.1} s", length.as_secs_f64())
}
