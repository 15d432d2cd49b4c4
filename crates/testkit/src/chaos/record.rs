//! What a deployment's own step writes down, and the program that writes it.
//!
//! The step is all that is believed about what ran: it takes its target's lock, which nobody else
//! may hold, and appends one line for each thing that happens, with one write each.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::{
    fs::{FlockOperation, flock},
    process::{getpid, getppid},
    time::{ClockId, clock_gettime},
};

use crate::environment::variables;

/// The exit code of a step that fails because it is meant to.
const MEANT: u8 = 10;
/// The exit code of a step that found its target taken.
const OVERLAP: u8 = 11;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A run's step began and holds its target's lock.
    Started,
    /// It did its work.
    Ended,
    /// It failed, as it was meant to.
    Failed,
    /// It found the lock taken: two runs on one target.
    Overlapped,
}

impl Moment {
    fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Overlapped => "overlapped",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// What happened.
    pub moment: Moment,
    /// The target's slug.
    pub target: String,
    /// The deployment.
    pub deployment: i64,
    /// The run's fence.
    pub fence: i64,
    /// The process that started the step.
    pub parent: u32,
    /// The step's own process.
    pub process: u32,
    /// When, on the monotonic clock, in nanoseconds.
    pub at_ns: u64,
}

impl Record {
    fn line(&self) -> String {
        format!(
            "{} {} {} {} {} {} {}\n",
            self.moment.word(),
            self.target,
            self.deployment,
            self.fence,
            self.parent,
            self.process,
            self.at_ns
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let moment = words.next()?;
        let all = [
            Moment::Started,
            Moment::Ended,
            Moment::Failed,
            Moment::Overlapped,
        ];
        Some(Self {
            moment: all.into_iter().find(|known| known.word() == moment)?,
            target: words.next()?.to_owned(),
            deployment: words.next()?.parse().ok()?,
            fence: words.next()?.parse().ok()?,
            parent: words.next()?.parse().ok()?,
            process: words.next()?.parse().ok()?,
            at_ns: words.next()?.parse().ok()?,
        })
    }
}

/// Reads every line that was written so far, in the order of writing.
///
/// # Errors
/// When the file cannot be read, or a line was not written whole.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    let lines = text.lines();
    lines
        .map(|line| Record::parse(line).with_context(|| format!("a broken record: {line}")))
        .collect()
}

/// The monotonic clock, which all processes of a machine share.
#[must_use]
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// How deployments are meant to go: some fail, some take longer than a lease.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Design {
    /// Whether some fail on purpose.
    pub failures: bool,
    /// How long the work takes.
    pub work: Duration,
    /// Every so many deployments, one takes `long`; 0 is none.
    pub long_every: u32,
    /// How long those take.
    pub long: Duration,
}

/// What is meant to become of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It succeeds.
    Succeeds,
    /// It fails once and succeeds then.
    FailsOnce,
    /// It fails each time.
    Fails,
}

impl Design {
    /// The fate of a deployment.
    #[must_use]
    pub(crate) fn fate(self, deployment: i64) -> Fate {
        match deployment {
            _ if !self.failures => Fate::Succeeds,
            id if id % 50 == 13 => Fate::Fails,
            id if id % 20 == 7 => Fate::FailsOnce,
            _ => Fate::Succeeds,
        }
    }

    fn work_of(self, deployment: i64) -> Duration {
        let every = i64::from(self.long_every);
        if every > 0 && deployment % every == every / 2 {
            self.long
        } else {
            self.work
        }
    }

    /// The pipeline whose only step is `program` with the word `step`.
    #[must_use]
    pub(crate) fn pipeline(self, program: &Path, folder: &Path) -> String {
        format!(
            "env:\n  CHAOS_FOLDER: {}\n  CHAOS_FAILURES: '{}'\n  CHAOS_WORK_MS: '{}'\n  \
             CHAOS_LONG_EVERY: '{}'\n  CHAOS_LONG_MS: '{}'\nafter:\n  - name: record\n    \
             run: exec {} step\n",
            folder.display(),
            u32::from(self.failures),
            self.work.as_millis(),
            self.long_every,
            self.long.as_millis(),
            program.display()
        )
    }
}

/// Where records and locks lie below the folder of a run.
#[must_use]
pub(crate) fn records_file(folder: &Path) -> PathBuf {
    folder.join("records")
}

/// The step itself: answers its exit code.
///
/// # Errors
/// When its environment is incomplete, or its folder cannot be used.
pub fn step() -> anyhow::Result<u8> {
    let environment = variables();
    let text = |name: &str| environment.get(name).with_context(|| format!("no {name}"));
    let number = |name: &str| -> anyhow::Result<u64> { Ok(text(name)?.parse()?) };
    let folder = PathBuf::from(text("CHAOS_FOLDER")?);
    let design = Design {
        failures: number("CHAOS_FAILURES")? > 0,
        work: Duration::from_millis(number("CHAOS_WORK_MS")?),
        long_every: number("CHAOS_LONG_EVERY")?.try_into()?,
        long: Duration::from_millis(number("CHAOS_LONG_MS")?),
    };
    let writer = Writer::open(&folder, &environment)?;
    let lock = folder.join("locks").join(&writer.of.target);
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&lock)
        .with_context(|| format!("opening {}", lock.display()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        writer.write(Moment::Overlapped)?;
        return Ok(OVERLAP);
    }
    writer.write(Moment::Started)?;
    let deployment = writer.of.deployment;
    // pause: this is the work
    thread::sleep(design.work_of(deployment));
    if is_meant_to_fail(design.fate(deployment), &folder, deployment)? {
        writer.write(Moment::Failed)?;
        return Ok(MEANT);
    }
    writer.write(Moment::Ended)?;
    Ok(0)
}

fn is_meant_to_fail(fate: Fate, folder: &Path, deployment: i64) -> io::Result<bool> {
    match fate {
        Fate::Succeeds => Ok(false),
        Fate::Fails => Ok(true),
        Fate::FailsOnce => {
            let mark = folder.join("failed").join(deployment.to_string());
            match OpenOptions::new().write(true).create_new(true).open(mark) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        }
    }
}

struct Writer {
    file: File,
    of: Record,
}

impl Writer {
    fn open(folder: &Path, environment: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let text = |name: &str| environment.get(name).with_context(|| format!("no {name}"));
        let path = records_file(folder);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let number = |pid: rustix::process::Pid| pid.as_raw_nonzero().get().unsigned_abs();
        Ok(Self {
            file,
            of: Record {
                moment: Moment::Started,
                target: text("SLIPWAY_TARGET")?.clone(),
                deployment: text("SLIPWAY_DEPLOYMENT")?.parse()?,
                fence: text("SLIPWAY_FENCE")?.parse()?,
                parent: getppid().map(number).unwrap_or_default(),
                process: number(getpid()),
                at_ns: 0,
            },
        })
    }

    fn write(&self, moment: Moment) -> anyhow::Result<()> {
        let record = Record {
            moment,
            at_ns: now_ns(),
            ..self.of.clone()
        };
        let line = record.line();
        let written = (&self.file).write(line.as_bytes())?;
        anyhow::ensure!(written == line.len(), "a record was cut short");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_read_as_it_was_written() {
        let record = Record {
            moment: Moment::Overlapped,
            target: "t1".to_owned(),
            deployment: 5,
            fence: 9,
            parent: 100,
            process: 101,
            at_ns: now_ns(),
        };
        assert_eq!(Record::parse(record.line().trim_end()), Some(record));
        assert_eq!(Record::parse("started t1 5 9 100"), None);
    }

    #[test]
    fn fates_do_not_depend_on_the_run() {
        let design = Design {
            failures: true,
            ..Design::default()
        };
        assert_eq!(design.fate(7), Fate::FailsOnce);
        assert_eq!(design.fate(13), Fate::Fails);
        assert_eq!(design.fate(8), Fate::Succeeds);
        assert_eq!(Design::default().fate(13), Fate::Succeeds);
    }
}
