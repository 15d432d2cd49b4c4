//! Which workers that used a folder of this machine are certainly dead, with all they had started.
//!
//! Each start of a worker has a file of its own, locked by the worker and by its guard for as long
//! as they live. A lock that is free says that both are gone; that nothing of theirs is left says
//! the guard's last word in the file, or that the machine was started anew since, or that the
//! service manager's group of that start has nobody in it (systemd kills a worker's whole group, the
//! guard too). Otherwise its runs wait for the end of their leases.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{cgroup, guard::ALL_DEAD};

/// The folder with the files, within the worker's own.
const FOLDER: &str = "instances";

/// This start of a worker.
#[derive(Debug)]
pub struct Instance {
    path: PathBuf,
    _locked: File,
}

/// One that is over.
#[derive(Debug)]
pub struct Over {
    /// The worker's name, under which it owned its leases.
    pub name: String,
    /// Whether nothing that it had started can be alive.
    pub all_dead: bool,
    path: PathBuf,
    /// Nobody else looks at it meanwhile.
    _locked: File,
}

impl Instance {
    /// Makes and locks the file of this start.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn enter(dir: &Path, name: &str) -> io::Result<Self> {
        let folder = dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let (draft, path) = (folder.join(format!(".{name}")), folder.join(name));
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(origin()?.as_bytes())?;
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        // Only now: what others find is locked from the beginning.
        fs::rename(&draft, &path)?;
        Ok(Self {
            path,
            _locked: file,
        })
    }

    /// The file, for the guard to share the lock on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the file away: nobody has to look after what this start has left.
    pub fn leave(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(error = %error, "the worker's own file was left behind");
        }
    }
}

impl Over {
    /// Takes its file away.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// The starts of workers in this folder that are over. `own` are the processes of the one that asks.
///
/// # Errors
/// When the folder cannot be read.
pub fn over(dir: &Path, own: &[u32]) -> io::Result<Vec<Over>> {
    let origin = origin()?;
    let entries = match fs::read_dir(dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut over = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let name = name.to_owned();
        over.extend(look_at(path, name, (&origin, own))?);
    }
    Ok(over)
}

fn look_at(path: PathBuf, name: String, (origin, own): (&str, &[u32])) -> io::Result<Option<Over>> {
    let mut file = match File::open(&path) {
        Ok(file) => file,
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(Over {
        all_dead: text.ends_with(ALL_DEAD)
            || is_from_an_earlier_boot(&text, origin)
            || left_nobody_in_its_group(&text, origin, own),
        name,
        path,
        _locked: file,
    }))
}

/// Host, boot, and the service manager's group if there is one, each on a line.
fn origin() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let group = cgroup::own().map(|group| format!("{group}\n"));
    Ok(format!(
        "{host}\n{}\n{}",
        boot.trim(),
        group.unwrap_or_default()
    ))
}

/// The folder may be on a disk that several hosts share, each with boots of its own.
fn is_from_an_earlier_boot(text: &str, origin: &str) -> bool {
    let (mut then, mut now) = (text.lines(), origin.lines());
    then.next() == now.next() && then.next() != now.next()
}

fn left_nobody_in_its_group(text: &str, origin: &str, own: &[u32]) -> bool {
    let (mut then, now) = (text.lines(), origin.lines());
    let is_here = then.by_ref().take(2).eq(now.take(2));
    let group = then.next().filter(|line| line.starts_with('/'));
    let is_empty = |group| cgroup::is_empty_but_for(Path::new(cgroup::ROOT), group, own);
    is_here
        && cgroup::is_visible(Path::new(cgroup::ROOT))
        && group.is_some_and(|group| is_empty(group).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<(String, bool)> {
        let mut names: Vec<_> = over(dir, &[])
            .unwrap()
            .into_iter()
            .map(|over| (over.name.clone(), over.all_dead))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn worker_that_lives_is_not_over() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::enter(dir.path(), "a").unwrap();
        assert_eq!(names(dir.path()), []);
        drop(instance);
        assert_eq!(names(dir.path()), [("a".to_owned(), false)]);
    }

    #[test]
    fn guard_that_still_kills_keeps_its_worker_from_being_over() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::enter(dir.path(), "a").unwrap();
        let mut guard = OpenOptions::new()
            .append(true)
            .open(instance.path())
            .unwrap();
        flock(&guard, FlockOperation::NonBlockingLockShared).unwrap();
        drop(instance);
        assert_eq!(names(dir.path()), []);
        guard.write_all(ALL_DEAD.as_bytes()).unwrap();
        assert_eq!(names(dir.path()), []);
        drop(guard);
        assert_eq!(names(dir.path()), [("a".to_owned(), true)]);
    }

    #[test]
    fn restart_of_the_machine_is_proof_enough_but_not_that_of_another_one() {
        let dir = tempfile::tempdir().unwrap();
        drop(Instance::enter(dir.path(), "earlier").unwrap());
        drop(Instance::enter(dir.path(), "elsewhere").unwrap());
        let folder = dir.path().join(FOLDER);
        let own = origin().unwrap();
        let host = own.lines().next().unwrap();
        fs::write(folder.join("earlier"), format!("{host}\nother-boot\n")).unwrap();
        fs::write(folder.join("elsewhere"), "other-host\nother-boot\n").unwrap();
        assert_eq!(
            names(dir.path()),
            [
                ("earlier".to_owned(), true),
                ("elsewhere".to_owned(), false)
            ]
        );
    }

    #[test]
    fn group_of_the_service_manager_proves_nothing_about_another_host() {
        let own = "here\nboot\n/a-group-that-is-gone\n";
        assert!(!left_nobody_in_its_group(
            "there\nboot\n/a-group-that-is-gone\n",
            own,
            &[]
        ));
        assert!(!left_nobody_in_its_group("here\nboot\n", own, &[]));
    }

    #[test]
    fn what_is_over_is_looked_at_by_one_and_then_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        drop(Instance::enter(dir.path(), "a").unwrap());
        let mut first = over(dir.path(), &[]).unwrap();
        assert_eq!(names(dir.path()), [], "somebody is at it");
        first.pop().unwrap().forget().unwrap();
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn folder_without_workers_has_none_that_are_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(names(dir.path()), []);
    }
}
