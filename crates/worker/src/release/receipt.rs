//! What a folder remembers about the runs of one target: the newest fence, and whether the newest
//! run has done all it had to do.
//!
//! One small file for each target, rewritten in place and never synced, as it costs every run: a
//! process that is killed leaves what it wrote. After a loss of power nothing of before is left
//! running that would have to be refused, but a deployment that was done may be done again.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};

use super::{
    Deadline, ReleaseError, Ticket,
    layout::{LOCK_TIMEOUT, STATE, lock_file},
    tree,
};

/// Longer than any record.
const RECORD_MAX_BYTES: usize = 128;

/// A deployment, told from one of the same number in another database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number.
    pub deployment: i64,
    /// When it was accepted, in microseconds.
    pub born: i64,
}

/// The record of one target's runs.
#[derive(Debug)]
pub struct Receipt {
    file: File,
}

/// How far a deployment has got on a target before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It was not here before, or another one was since.
    First,
    /// It has begun, and may have done anything.
    Again,
    /// It has done everything.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    fence: i64,
    identity: Identity,
    done: bool,
}

impl Record {
    fn begun(self, by: Identity) -> Begun {
        match self {
            Self { identity, .. } if identity != by => Begun::First,
            Self { done: false, .. } => Begun::Again,
            Self { done: true, .. } => Begun::Done,
        }
    }

    /// Always as long, so that one write replaces another completely.
    fn text(self) -> String {
        let Identity { deployment, born } = self.identity;
        let state = if self.done { "done" } else { "runs" };
        format!("{:020} {deployment:020} {born:020} {state}\n", self.fence)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (fence, deployment, born) = (number()?, number()?, number()?);
        Some(Self {
            fence,
            identity: Identity { deployment, born },
            done: match words.next()? {
                "done" => true,
                "runs" => false,
                _ => return None,
            },
        })
    }
}

impl Receipt {
    /// Opens the record of the target called `name`, and makes it and its folder where they are
    /// missing.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn open(folder: &Path, name: &str) -> Result<Self, ReleaseError> {
        let failed = || ReleaseError::io(folder.display().to_string());
        fs::create_dir_all(folder).map_err(failed())?;
        let base = Dir::open_ambient_dir(folder, ambient_authority()).map_err(failed())?;
        let state = tree::open_or_create(&base, STATE.as_ref())
            .map_err(ReleaseError::io(folder.join(STATE).display().to_string()))?;
        Self::within(&state, name, OFlags::CREATE).map_err(ReleaseError::io(STATE))
    }

    /// The same without making anything; none if it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be opened.
    pub fn find(folder: &Path, name: &str) -> Result<Option<Self>, ReleaseError> {
        let found = (|| {
            let base = Dir::open_ambient_dir(folder, ambient_authority())?;
            let state = tree::open(&base, STATE.as_ref())?;
            Self::within(&state, name, OFlags::empty())
        })();
        match found {
            Ok(receipt) => Ok(Some(receipt)),
            // What is no folder is for whoever wants to use it to complain about.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(ReleaseError::io(folder.join(STATE).display().to_string())(
                error,
            )),
        }
    }

    fn within(state: &Dir, name: &str, create: OFlags) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | create;
        let file = rustix::fs::openat(state, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(Self { file: file.into() })
    }

    /// How far this deployment has got before.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn look(&self, identity: Identity) -> Result<Begun, ReleaseError> {
        let record = self.locked(|| self.read())?;
        Ok(record.map_or(Begun::First, |record| record.begun(identity)))
    }

    /// Shows a run's fence: from then on every older run is refused.
    ///
    /// # Errors
    /// [`ReleaseError::StaleFence`] if a newer run was here.
    pub fn begin(&self, fence: i64, identity: Identity) -> Result<Begun, ReleaseError> {
        self.locked(|| {
            let before = self.read()?;
            refuse_if_older(before, fence, identity)?;
            let begun = before.map_or(Begun::First, |record| record.begun(identity));
            let done = begun == Begun::Done;
            self.write(Record {
                fence,
                identity,
                done,
            })?;
            Ok(begun)
        })
    }

    /// Notes that a run has done everything.
    ///
    /// # Errors
    /// [`ReleaseError::StaleFence`] if a newer run was here, [`ReleaseError::TooLate`] after
    /// `deadline`.
    pub fn complete(
        &self,
        fence: i64,
        identity: Identity,
        deadline: &Deadline,
    ) -> Result<(), ReleaseError> {
        self.locked(|| {
            deadline.check()?;
            refuse_if_older(self.read()?, fence, identity)?;
            self.write(Record {
                fence,
                identity,
                done: true,
            })
        })
    }

    fn locked<T>(&self, work: impl FnOnce() -> Result<T, ReleaseError>) -> Result<T, ReleaseError> {
        lock_file(&self.file, LOCK_TIMEOUT)?;
        let done = work();
        // It would go with the file at the latest.
        let _unlocked: Result<(), Errno> = flock(&self.file, FlockOperation::Unlock);
        done
    }

    /// What cannot be understood was cut off by a loss of power, and says nothing.
    fn read(&self) -> Result<Option<Record>, ReleaseError> {
        let mut buffer = [0_u8; RECORD_MAX_BYTES];
        let count = self
            .file
            .read_at(&mut buffer, 0)
            .map_err(ReleaseError::io(STATE))?;
        let text = buffer.get(..count).unwrap_or_default();
        Ok(str::from_utf8(text).ok().and_then(Record::parse))
    }

    fn write(&self, record: Record) -> Result<(), ReleaseError> {
        let written = self.file.write_all_at(record.text().as_bytes(), 0);
        written.map_err(ReleaseError::io(STATE))
    }
}

fn refuse_if_older(
    before: Option<Record>,
    fence: i64,
    identity: Identity,
) -> Result<(), ReleaseError> {
    match before {
        Some(record)
            if record.fence > fence || record.fence == fence && record.identity != identity =>
        {
            Err(ReleaseError::StaleFence(Ticket {
                fence: record.fence,
                deployment: record.identity.deployment,
            }))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(deployment: i64) -> Identity {
        Identity {
            deployment,
            born: 1_700_000_000_000_000 + deployment,
        }
    }

    fn never() -> Deadline {
        Deadline::new(|| false)
    }

    fn receipt(dir: &tempfile::TempDir) -> Receipt {
        Receipt::open(dir.path(), "run-1").unwrap()
    }

    #[test]
    fn deployment_that_has_done_everything_is_recognised_by_its_next_run() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(receipt(&dir).begin(1, identity(1)).unwrap(), Begun::First);
        assert_eq!(receipt(&dir).begin(2, identity(1)).unwrap(), Begun::Again);
        receipt(&dir).complete(2, identity(1), &never()).unwrap();
        assert_eq!(receipt(&dir).look(identity(1)).unwrap(), Begun::Done);
        assert_eq!(receipt(&dir).begin(3, identity(1)).unwrap(), Begun::Done);
        assert_eq!(receipt(&dir).begin(4, identity(1)).unwrap(), Begun::Done);
        assert_eq!(receipt(&dir).begin(5, identity(2)).unwrap(), Begun::First);
        assert_eq!(receipt(&dir).look(identity(1)).unwrap(), Begun::First);
    }

    #[test]
    fn older_run_is_refused_whatever_it_wants() {
        let dir = tempfile::tempdir().unwrap();
        receipt(&dir).begin(7, identity(1)).unwrap();
        for (fence, deployment) in [(6, 1), (6, 2), (7, 2)] {
            let late = identity(deployment);
            for refused in [
                receipt(&dir).begin(fence, late).map(drop),
                receipt(&dir).complete(fence, late, &never()),
            ] {
                let Err(ReleaseError::StaleFence(newer)) = refused else {
                    panic!("{refused:?}")
                };
                assert_eq!((newer.fence, newer.deployment), (7, 1));
            }
        }
        assert_eq!(receipt(&dir).look(identity(1)).unwrap(), Begun::Again);
    }

    #[test]
    fn run_whose_time_is_over_does_not_say_that_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        receipt(&dir).begin(1, identity(1)).unwrap();
        let late = receipt(&dir).complete(1, identity(1), &Deadline::new(|| true));
        assert!(matches!(late, Err(ReleaseError::TooLate)), "{late:?}");
        assert_eq!(receipt(&dir).look(identity(1)).unwrap(), Begun::Again);
    }

    #[test]
    fn same_number_in_another_database_is_another_deployment() {
        let dir = tempfile::tempdir().unwrap();
        receipt(&dir).begin(1, identity(1)).unwrap();
        receipt(&dir).complete(1, identity(1), &never()).unwrap();
        let other = Identity {
            deployment: 1,
            born: 5,
        };
        assert_eq!(receipt(&dir).look(other).unwrap(), Begun::First);
        assert_eq!(receipt(&dir).begin(2, other).unwrap(), Begun::First);
    }

    #[test]
    fn targets_in_one_folder_do_not_mind_each_other() {
        let dir = tempfile::tempdir().unwrap();
        receipt(&dir).begin(9, identity(1)).unwrap();
        let other = Receipt::open(dir.path(), "run-2").unwrap();
        assert_eq!(other.begin(1, identity(2)).unwrap(), Begun::First);
    }

    #[test]
    fn record_that_was_cut_off_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        receipt(&dir).begin(9, identity(1)).unwrap();
        let file = dir.path().join(STATE).join("run-1");
        for text in [
            "",
            "\0\0\0\0",
            "00000000000000000009 0000000000000000",
            "x y z done\n",
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(
                receipt(&dir).look(identity(1)).unwrap(),
                Begun::First,
                "{text:?}"
            );
        }
        receipt(&dir).begin(1, identity(1)).unwrap();
        assert_eq!(receipt(&dir).look(identity(1)).unwrap(), Begun::Again);
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Receipt::find(dir.path(), "run-1").unwrap().is_none());
        assert!(
            Receipt::find(&dir.path().join("none"), "run-1")
                .unwrap()
                .is_none()
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        receipt(&dir);
        assert!(Receipt::find(dir.path(), "run-1").unwrap().is_some());
    }
}
