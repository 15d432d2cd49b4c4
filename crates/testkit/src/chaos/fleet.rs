//! The processes of an installation, and a supervisor that does what systemd would.
//!
//! A process that was killed on purpose is started again. One that ends by itself is started again
//! too, but that is written down: it must not happen while its database is there.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::Child,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

use super::site::Site;
use crate::{poll::eventually, services::free_port};

/// How often the supervisor looks.
const LOOK: Duration = Duration::from_millis(20);
/// Wait before a process that ended by itself is started again, as units have it.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// A process that is not up by then never will be.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// For the first seconds after a fault of the database, a starting process may still end for it.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An API process.
    Api,
    /// A worker.
    Worker,
}

/// One process and its successors.
#[derive(Debug)]
struct Member {
    name: String,
    role: Role,
    through_proxies: bool,
    port: u16,
    child: Option<Child>,
    /// Whether its end is what somebody wanted.
    is_doomed: bool,
    due: Instant,
    born: Instant,
    /// Memory once it had warmed up, and now, in KiB.
    memory: Option<(u64, u64)>,
}

#[derive(Debug)]
struct State {
    members: Vec<Member>,
    ends: Vec<String>,
    growth: Vec<String>,
    database_back: Instant,
}

/// The processes of an installation; dropping it kills them.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    site: Arc<Site>,
    state: Arc<Mutex<State>>,
    database_away: Arc<AtomicBool>,
    supervisor: Arc<Supervisor>,
}

#[derive(Debug)]
struct Supervisor(Mutex<Option<JoinHandle<()>>>);

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut task = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Fleet {
    /// Starts two API processes, one of them through the proxies.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) async fn start(site: Arc<Site>) -> anyhow::Result<Self> {
        let fleet = Self {
            site,
            state: Arc::new(Mutex::new(State {
                members: Vec::new(),
                ends: Vec::new(),
                growth: Vec::new(),
                database_back: Instant::now(),
            })),
            database_away: Arc::default(),
            supervisor: Arc::new(Supervisor(Mutex::new(None))),
        };
        for number in 0..2_usize {
            // The first makes the first Admin, and the second must find it.
            fleet.add(Role::Api, number)?;
            fleet.until_serving(number).await;
        }
        let watcher = Watcher {
            site: Arc::clone(&fleet.site),
            state: Arc::clone(&fleet.state),
            database_away: Arc::clone(&fleet.database_away),
        };
        let task = tokio::spawn(watcher.supervise());
        *fleet
            .supervisor
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(fleet)
    }

    /// Starts this many workers, every other one through the proxies.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) fn start_workers(&self, number: usize) -> anyhow::Result<()> {
        (0..number).try_for_each(|number| self.add(Role::Worker, number))
    }

    fn add(&self, role: Role, number: usize) -> anyhow::Result<()> {
        let kind = match role {
            Role::Api => "api",
            Role::Worker => "worker",
        };
        let mut member = Member {
            name: format!("{kind}-{number}"),
            role,
            through_proxies: number % 2 == 1,
            port: free_port(),
            child: None,
            is_doomed: false,
            due: Instant::now(),
            born: Instant::now(),
            memory: None,
        };
        member.start(&self.site)?;
        self.lock().members.push(member);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of the API processes.
    #[must_use]
    pub(crate) fn addresses(&self) -> Vec<String> {
        let state = self.lock();
        let apis = state.members.iter().filter(|it| it.role == Role::Api);
        apis.map(|it| format!("http://127.0.0.1:{}", it.port))
            .collect()
    }

    async fn until_serving(&self, number: usize) {
        let port = self.lock().members.get(number).map(|it| it.port);
        let port = port.unwrap_or_default();
        eventually(START_DEADLINE, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await
        })
        .await;
    }

    /// How many processes of this kind there are.
    #[must_use]
    pub(crate) fn count(&self, role: Role) -> usize {
        let state = self.lock();
        state.members.iter().filter(|it| it.role == role).count()
    }

    /// Sends a signal to one process of a kind, if it runs. Answers its process id.
    ///
    /// A signal that ends it is remembered, so that its end is no surprise.
    pub(crate) fn signal(&self, role: Role, number: usize, signal: Signal) -> Option<u32> {
        let mut state = self.lock();
        let mut members = state.members.iter_mut().filter(|it| it.role == role);
        let member = members.nth(number)?;
        let child = member.child.as_ref()?;
        if !matches!(signal, Signal::STOP | Signal::CONT) {
            if member.is_doomed {
                return None;
            }
            member.is_doomed = true;
        }
        kill_process(Pid::from_child(child), signal).ok()?;
        Some(child.id())
    }

    /// The process id of one process of a kind, if it runs.
    #[must_use]
    pub(crate) fn process(&self, role: Role, number: usize) -> Option<u32> {
        let state = self.lock();
        let mut members = state.members.iter().filter(|it| it.role == role);
        members.nth(number)?.child.as_ref().map(Child::id)
    }

    /// Says that the database goes away, or is back.
    pub(crate) fn database_is_away(&self, away: bool) {
        self.database_away.store(away, Ordering::SeqCst);
        if !away {
            self.lock().database_back = Instant::now();
        }
    }

    /// What ended by itself, with the last line of its log.
    #[must_use]
    pub(crate) fn unexpected_ends(&self) -> Vec<String> {
        self.lock().ends.clone()
    }

    /// Processes whose memory grew for as long as they lived.
    #[must_use]
    pub(crate) fn growth(&self) -> Vec<String> {
        let state = self.lock();
        let living = state.members.iter().filter_map(Member::growth);
        state.growth.iter().cloned().chain(living).collect()
    }

    /// Memory of each process that runs now, in KiB.
    #[must_use]
    pub(crate) fn memory(&self) -> Vec<(String, u64)> {
        let state = self.lock();
        let known = |it: &Member| Some((it.name.clone(), it.memory?.1));
        state.members.iter().filter_map(known).collect()
    }

    /// Kills every process.
    pub(crate) fn end(&self) {
        let mut task = self
            .supervisor
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
        for member in &mut self.lock().members {
            member.end();
        }
    }
}

struct Watcher {
    site: Arc<Site>,
    state: Arc<Mutex<State>>,
    database_away: Arc<AtomicBool>,
}

impl Watcher {
    async fn supervise(self) {
        loop {
            self.look();
            // pause: this is how often a service manager would notice
            tokio::time::sleep(LOOK).await;
        }
    }

    fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_excused = |born: Instant, back: Instant| {
            let away = self.database_away.load(Ordering::SeqCst);
            (away || back.elapsed() < AFTERMATH) && born.elapsed() < START_DEADLINE
        };
        let State {
            members,
            ends,
            growth,
            database_back,
        } = &mut *state;
        for member in members {
            if let Some(status) = member.ended() {
                growth.extend(member.growth());
                member.memory = None;
                member.due = Instant::now();
                if !member.is_doomed {
                    member.due += RESTART_DELAY;
                }
                if !member.is_doomed && !is_excused(member.born, *database_back) {
                    let line = member.last_line(&self.site.logs);
                    ends.push(format!("{}: {status}: {line}", member.name));
                }
            }
            if member.child.is_none() && Instant::now() >= member.due {
                if let Err(error) = member.start(&self.site) {
                    ends.push(format!("{}: {error:#}", member.name));
                }
            } else {
                member.measure();
            }
        }
    }
}

impl Member {
    fn start(&mut self, site: &Site) -> anyhow::Result<()> {
        let binary = match self.role {
            Role::Api => "slipway-api",
            Role::Worker => "slipway-worker",
        };
        let log = site.logs.join(format!("{}.log", self.name));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let program = site
            .program(binary, self.through_proxies)
            .env("SLIPWAY__SERVER__PORT", self.port.to_string())
            // As a unit has it: reading the symbols for a trace takes tens of MiB, once.
            .env("RUST_BACKTRACE", "0");
        self.child = Some(program.spawn_into(log).context(binary)?);
        self.is_doomed = false;
        self.born = Instant::now();
        Ok(())
    }

    /// How it ended, if it has, told once.
    fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status.to_string())
    }

    fn last_line(&self, logs: &Path) -> String {
        let log = fs::read_to_string(logs.join(format!("{}.log", self.name)));
        let log = log.unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// Looks at its memory now and then; what it holds after ten seconds is what it needs.
    fn measure(&mut self) {
        let Some(child) = &self.child else { return };
        let Some(now) = resident_kib(child.id()) else {
            return;
        };
        self.memory = match self.memory {
            _ if self.born.elapsed() < Duration::from_secs(10) => Some((now, now)),
            None => Some((now, now)),
            Some((warm, _)) => Some((warm, now)),
        };
    }

    /// Says so if it lived for a minute and holds half as much again as when it was warm.
    fn growth(&self) -> Option<String> {
        let (warm, now) = self.memory?;
        let is_old = self.born.elapsed() > Duration::from_secs(60);
        let grew = now > warm + warm / 2 + 32 * 1024;
        (is_old && grew).then(|| {
            let age = self.born.elapsed().as_secs();
            format!("{}: from {warm} KiB to {now} KiB in {age} s", self.name)
        })
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended_meanwhile = (child.kill(), child.wait());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

fn resident_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
