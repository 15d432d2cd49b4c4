//! Values that a step makes itself and wants masked: it writes them into a named pipe, one a line.
//!
//! Nothing of them is ever on a disk. What a step writes here before it prints something has come
//! before that is read, so the pipe is emptied before any output is looked at.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkfifoat},
    io::Errno,
};
use zeroize::Zeroizing;

/// The folder with the pipes, within the worker's own.
const FOLDER: &str = "masks";
/// How steps find it.
pub(super) const VARIABLE: &str = "SLIPWAY_MASK";
/// A longer value is looked for in pieces of this size.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// A value that was written, line end and all that is blank around it gone.
pub(super) type Value = Zeroizing<Vec<u8>>;

/// The pipes of a worker, each of which serves one run after the other: making one may cost more
/// than a short run. Cloning it is cheap; pipes that nobody uses go with the last of them.
#[derive(Clone, Debug)]
pub struct Pipes(Arc<Idle>);

#[derive(Debug)]
struct Idle {
    folder: PathBuf,
    pipes: Mutex<Vec<Pipe>>,
}

#[derive(Debug)]
struct Pipe {
    path: PathBuf,
    file: File,
}

/// The pipe of one run.
#[derive(Debug)]
pub(super) struct Masks {
    /// There until this is dropped.
    pipe: Option<Pipe>,
    pipes: Pipes,
    /// A line whose end has not come yet.
    unfinished: Value,
}

impl Pipes {
    /// Those in a worker's folder.
    #[must_use]
    pub fn within(dir: &Path) -> Self {
        Self(Arc::new(Idle {
            folder: dir.join(FOLDER),
            pipes: Mutex::default(),
        }))
    }

    /// An empty pipe for a run; `name` is for a new one.
    pub(super) fn open(&self, name: &str) -> io::Result<Masks> {
        let pipe = match self.idle() {
            Some(pipe) => pipe.named(&self.0.folder.join(name))?,
            None => Pipe::make(&self.0.folder, name)?,
        };
        Ok(Masks {
            pipe: Some(pipe),
            pipes: self.clone(),
            unfinished: Value::default(),
        })
    }

    fn idle(&self) -> Option<Pipe> {
        loop {
            let pipe = self.0.lock().pop()?;
            // Whatever tidies up folders may have taken it away.
            if pipe.is_there() {
                return Some(pipe);
            }
        }
    }
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for pipe in self.lock().drain(..) {
            remove(&pipe.path);
        }
    }
}

impl Pipe {
    fn make(folder: &Path, name: &str) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let (draft, path) = (folder.join(format!(".{name}")), folder.join(name));
        let _left_behind = fs::remove_file(&draft);
        mkfifoat(CWD, &draft, Mode::RUSR | Mode::WUSR)?;
        // Open for writing too: then a writer never waits for a reader, nor the reader for writers.
        let file = open(&draft, (true, true))?;
        fs::rename(&draft, &path)?;
        Ok(Self { path, file })
    }

    fn is_there(&self) -> bool {
        let place = |of: fs::Metadata| (of.dev(), of.ino());
        let there = fs::symlink_metadata(&self.path).map(place).ok();
        there.is_some() && there == self.file.metadata().map(place).ok()
    }

    /// The same elsewhere.
    fn named(self, path: &Path) -> io::Result<Self> {
        fs::rename(&self.path, path)?;
        Ok(Self {
            path: path.to_owned(),
            ..self
        })
    }

    /// The same without what is in it, which goes when nobody has it open any more, and where nobody
    /// of the run before knows it. None, and no pipe there, when one of them still has it: it could
    /// read what others write.
    fn emptied(self) -> Option<Self> {
        let name = self.path.file_name()?.to_string_lossy();
        let hidden = self.path.with_file_name(format!("idle-{name}"));
        let Self { path, file } = self.named(&hidden).ok()?;
        drop(file);
        let Ok(Some(file)) = unused(&path) else {
            remove(&path);
            return None;
        };
        Some(Self { path, file })
    }
}

/// Opens a pipe that nobody else has open.
fn unused(path: &Path) -> io::Result<Option<File>> {
    // Nothing but this says that nobody reads.
    let unread = open(path, (false, true)).err();
    if unread.and_then(|error| error.raw_os_error()) != Some(Errno::NXIO.raw_os_error()) {
        return Ok(None);
    }
    // It is at its end only while nobody writes.
    let mut reader = open(path, (true, false))?;
    if reader.read(&mut [0])? > 0 {
        return Ok(None);
    }
    open(path, (true, true)).map(Some)
}

fn open(path: &Path, (read, write): (bool, bool)) -> io::Result<File> {
    OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(error = %error, "a run's named pipe was left behind");
    }
}

impl Drop for Masks {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take().and_then(Pipe::emptied) {
            self.pipes.0.lock().push(pipe);
        }
    }
}

impl Masks {
    pub(super) fn path(&self) -> PathBuf {
        let pipe = self.pipe.as_ref();
        pipe.map(|pipe| pipe.path.clone()).unwrap_or_default()
    }

    /// The values that have come since. One that has no line end yet is a value already: what follows
    /// may be the output.
    pub(super) fn take(&mut self) -> Vec<Value> {
        let mut buffer = Zeroizing::new([0_u8; 4096]);
        let mut come = false;
        while let Some(Pipe { file, .. }) = &mut self.pipe {
            match file.read(buffer.as_mut_slice()) {
                Ok(count) if count > 0 => {
                    come = true;
                    self.unfinished
                        .extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        if come { self.lines() } else { Vec::new() }
    }

    fn lines(&mut self) -> Vec<Value> {
        let lines = self.unfinished.split(|&byte| byte == b'\n');
        let values: Vec<_> = lines
            .flat_map(|line| line.chunks(LINE_MAX_BYTES))
            .map(|line| Value::new(line.trim_ascii().to_vec()))
            .filter(|value| !value.is_empty())
            .collect();
        let ended = self.unfinished.iter().rposition(|&byte| byte == b'\n');
        let rest = ended.map_or(0, |at| at + 1);
        self.unfinished.drain(..rest);
        if self.unfinished.len() > LINE_MAX_BYTES {
            self.unfinished.clear();
        }
        values
    }
}

/// Takes the pipes away that killed workers have left in a worker's folder: nobody reads them. One
/// that is being made still has its draft's name.
pub(crate) fn remove_abandoned(dir: &Path) {
    let entries = fs::read_dir(dir.join(FOLDER))
        .into_iter()
        .flatten()
        .flatten();
    let paths = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    for path in paths.map(|entry| entry.path()) {
        let opened = open(&path, (false, true));
        if opened.is_err_and(|error| error.raw_os_error() == Some(Errno::NXIO.raw_os_error())) {
            let _somebody_was_faster = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn texts(values: &[Value]) -> Vec<&str> {
        let texts = values.iter().map(|value| std::str::from_utf8(value));
        texts.collect::<Result<_, _>>().unwrap()
    }

    fn write(masks: &Masks, text: &str) {
        let mut pipe = OpenOptions::new().write(true).open(masks.path()).unwrap();
        pipe.write_all(text.as_bytes()).unwrap();
    }

    fn inode(masks: &Masks) -> u64 {
        fs::metadata(masks.path()).unwrap().ino()
    }

    #[test]
    fn value_is_there_as_soon_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut masks = Pipes::within(dir.path()).open("1-1").unwrap();
        assert!(masks.take().is_empty());
        write(&masks, "first one\n  second\r\n\n");
        assert_eq!(texts(&masks.take()), ["first one", "second"]);
        write(&masks, "without an end");
        assert_eq!(texts(&masks.take()), ["without an end"]);
        assert!(masks.take().is_empty());
        write(&masks, " and its end\n");
        assert_eq!(texts(&masks.take()), ["without an end and its end"]);
        assert!(masks.take().is_empty());
    }

    #[test]
    fn pipe_goes_with_its_worker_and_one_of_a_killed_worker_with_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let left = || fs::read_dir(dir.path().join(FOLDER)).unwrap().count();
        let pipes = Pipes::within(dir.path());
        let first = pipes.open("1-1").unwrap();
        let abandoned = dir.path().join(FOLDER).join("0-1");
        mkfifoat(CWD, &abandoned, Mode::RUSR | Mode::WUSR).unwrap();
        let second = pipes.open("2-1").unwrap();
        drop(second);
        remove_abandoned(dir.path());
        assert_eq!(left(), 2, "the one that nobody reads is gone");
        drop(first);
        assert_eq!(left(), 2);
        drop(pipes);
        assert_eq!(left(), 0);
    }

    #[test]
    fn pipe_serves_the_next_run_without_what_was_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let pipes = Pipes::within(dir.path());
        let first = pipes.open("1-1").unwrap();
        let (path, inode) = (first.path(), inode(&first));
        write(&first, "of the first run\n");
        drop(first);
        let mut second = pipes.open("2-1").unwrap();
        assert_eq!(self::inode(&second), inode);
        assert!(!path.exists(), "whoever knows the old name finds nothing");
        assert!(second.take().is_empty());
        write(&second, "of the second run\n");
        assert_eq!(texts(&second.take()), ["of the second run"]);
    }

    #[test]
    fn pipe_that_a_process_still_has_open_or_that_was_removed_serves_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let pipes = Pipes::within(dir.path());
        for (number, access) in [(true, false), (false, true)].into_iter().enumerate() {
            let masks = pipes.open(&format!("{number}-1")).unwrap();
            let path = masks.path();
            let _straggler = open(&path, access).unwrap();
            drop(masks);
            assert!(!path.exists(), "{access:?}");
        }
        let masks = pipes.open("2-1").unwrap();
        let idle = masks.path().with_file_name("idle-2-1");
        drop(masks);
        fs::remove_file(&idle).unwrap();
        let mut masks = pipes.open("3-1").unwrap();
        write(&masks, "value\n");
        assert_eq!(texts(&masks.take()), ["value"]);
    }
}
