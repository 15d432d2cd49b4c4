//! Where things are in a target's folder, who may change them, and how its records are written.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};

use super::{Deadline, ReleaseError, Ticket, tree};

/// The link to the live release.
pub(super) const CURRENT: &str = "current";

/// The folder with our own records.
pub(super) const STATE: &str = ".slipway";

/// The file with the newest ticket.
const FENCE: &str = "fence";

/// How long to wait for whoever is changing the target.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a lock that someone else holds is tried again.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A target's folder on this machine.
#[derive(Debug)]
pub struct Releases {
    pub(super) path: PathBuf,
    /// `<path>` itself.
    pub(super) base: Dir,
    /// `releases`.
    pub(super) releases: Dir,
    /// `shared`.
    pub(super) shared: Dir,
    /// `.slipway`, where our own records are.
    pub(super) state: Dir,
    /// Until when it may be changed.
    pub(super) deadline: Deadline,
    lock_timeout: Duration,
}

/// The right to change the target, for as long as it is kept.
pub(super) struct Guard {
    _lock: File,
}

impl Releases {
    /// Opens a target's folder, and makes it first where it is missing. After `deadline` nothing in
    /// it is changed.
    ///
    /// # Errors
    /// When the folder cannot be made, or one of its own folders is a link.
    pub fn open(path: &Path, deadline: Deadline) -> Result<Self, ReleaseError> {
        let failed = || ReleaseError::io(path.display().to_string());
        fs::create_dir_all(path).map_err(failed())?;
        let base = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed())?;
        let folder = |name: &str| {
            tree::open_or_create(&base, name.as_ref())
                .map_err(ReleaseError::io(path.join(name).display().to_string()))
        };
        Ok(Self {
            releases: folder("releases")?,
            shared: folder("shared")?,
            state: folder(STATE)?,
            path: path.to_owned(),
            base,
            deadline,
            lock_timeout: LOCK_TIMEOUT,
        })
    }

    /// The folder of a release.
    #[must_use]
    pub fn release_path(&self, release: i64) -> PathBuf {
        self.path.join("releases").join(release.to_string())
    }

    /// All complete releases, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<i64>, ReleaseError> {
        let names = tree::names(&self.releases).map_err(ReleaseError::io("releases"))?;
        let mut releases: Vec<_> = names
            .iter()
            .filter_map(|name| release_id(name.to_str()?))
            .collect();
        releases.sort_unstable();
        Ok(releases)
    }

    /// The live release; `None` if there is none, or if it is not one of ours.
    ///
    /// # Errors
    /// When the link cannot be read.
    pub fn active(&self) -> Result<Option<i64>, ReleaseError> {
        let target = match self.base.read_link_contents(CURRENT) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A folder or a file, which activation will refuse to replace.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => return Ok(None),
            Err(error) => return Err(ReleaseError::io(CURRENT)(error)),
        };
        let name = target.strip_prefix("releases").ok().and_then(Path::to_str);
        Ok(name.and_then(release_id))
    }

    /// Opens a complete release.
    pub(super) fn open_release(&self, release: i64) -> Result<Dir, ReleaseError> {
        let name = release.to_string();
        tree::open(&self.releases, name.as_ref()).map_err(|error| {
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    ReleaseError::NoRelease(release)
                }
                _ => ReleaseError::io(format!("releases/{name}"))(error),
            }
        })
    }

    /// Takes the lock and shows the ticket; from then on every older ticket is refused.
    pub(super) fn enter(&self, ticket: &Ticket) -> Result<Guard, ReleaseError> {
        let guard = Guard {
            _lock: self.lock()?,
        };
        self.deadline.check()?;
        match self.newest_ticket()? {
            Some(stored) if stored == *ticket => {}
            Some(stored) if stored.fence >= ticket.fence => {
                return Err(ReleaseError::StaleFence(stored));
            }
            _ => self.record(FENCE, &format!("{} {}\n", ticket.fence, ticket.deployment))?,
        }
        Ok(guard)
    }

    fn lock(&self) -> Result<File, ReleaseError> {
        let failed = || ReleaseError::io(".slipway/lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.state, "lock", flags, Mode::from_raw_mode(0o600));
        let file = File::from(file.map_err(failed())?);
        lock_file(&file, self.lock_timeout)?;
        Ok(file)
    }

    fn newest_ticket(&self) -> Result<Option<Ticket>, ReleaseError> {
        let Some(text) = self.recorded(FENCE)? else {
            return Ok(None);
        };
        let parse = |text: &str| {
            let (fence, deployment) = text.trim_end().split_once(' ')?;
            Some(Ticket {
                fence: fence.parse().ok()?,
                deployment: deployment.parse().ok()?,
            })
        };
        parse(&text)
            .map(Some)
            .ok_or(ReleaseError::Damaged(".slipway/fence"))
    }

    /// Reads one of our records.
    pub(super) fn recorded(&self, name: &str) -> Result<Option<String>, ReleaseError> {
        match self.state.read_to_string(name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReleaseError::io(format!(".slipway/{name}"))(error)),
        }
    }

    /// Writes one of our records; after a crash there is the old one or the new one.
    pub(super) fn record(&self, name: &str, text: &str) -> Result<(), ReleaseError> {
        let draft = format!("{name}.new");
        let written = (|| {
            tree::remove(&self.state, draft.as_ref())?;
            let mut file = self.state.create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            self.state.rename(&draft, &self.state, name)?;
            sync(&self.state)
        })();
        written.map_err(ReleaseError::io(format!(".slipway/{name}")))
    }

    #[cfg(test)]
    pub(super) fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }
}

/// Takes a lock, waiting for whoever has it.
pub(super) fn lock_file(file: &File, timeout: Duration) -> Result<(), ReleaseError> {
    let deadline = Instant::now() + timeout;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(ReleaseError::Locked),
            Err(error) => return Err(ReleaseError::io(".slipway/lock")(error)),
        }
        thread::sleep(LOCK_POLL_INTERVAL);
    }
}

/// Makes the names in a folder survive a loss of power.
pub(super) fn sync(dir: &Dir) -> io::Result<()> {
    // Opened again, because a folder may have been opened for paths only.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fsync(dir)?)
}

/// Everything else in `releases` is unfinished or on its way out.
fn release_id(name: &str) -> Option<i64> {
    let id = name.parse::<i64>().ok()?;
    (id.to_string() == name).then_some(id)
}
