//! Values that a step makes itself and wants masked: it writes them into a named pipe, one a line.
//!
//! Nothing of them is ever on a disk. What a step writes here before it prints something has come
//! before that is read, so the pipe is emptied before any output is looked at.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
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

/// The pipe of one run; it goes when this does.
#[derive(Debug)]
pub(super) struct Masks {
    path: PathBuf,
    pipe: File,
    /// A line whose end has not come yet.
    unfinished: Value,
}

impl Masks {
    /// Makes the pipe of a run in the worker's folder.
    pub(super) fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let folder = dir.join(FOLDER);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let (draft, path) = (folder.join(format!(".{name}")), folder.join(name));
        let _left_behind = fs::remove_file(&draft);
        mkfifoat(CWD, &draft, Mode::RUSR | Mode::WUSR)?;
        // Open for writing too: then a writer never waits for a reader, nor the reader for writers.
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&draft)?;
        fs::rename(&draft, &path)?;
        Ok(Self {
            path,
            pipe,
            unfinished: Value::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The values that have come since. One that has no line end yet is a value already: what follows
    /// may be the output.
    pub(super) fn take(&mut self) -> Vec<Value> {
        let mut buffer = Zeroizing::new([0_u8; 4096]);
        let mut come = false;
        loop {
            match self.pipe.read(buffer.as_mut_slice()) {
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

impl Drop for Masks {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(error = %error, "a run's named pipe was left behind");
        }
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
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path);
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

    #[test]
    fn value_is_there_as_soon_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut masks = Masks::open(dir.path(), "1-1").unwrap();
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
    fn pipe_goes_with_its_run_and_one_of_a_killed_worker_with_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let left = || fs::read_dir(dir.path().join(FOLDER)).unwrap().count();
        let first = Masks::open(dir.path(), "1-1").unwrap();
        let abandoned = dir.path().join(FOLDER).join("0-1");
        mkfifoat(CWD, &abandoned, Mode::RUSR | Mode::WUSR).unwrap();
        let second = Masks::open(dir.path(), "2-1").unwrap();
        remove_abandoned(dir.path());
        assert_eq!(left(), 2, "the one that nobody reads is gone");
        drop(first);
        assert_eq!(left(), 1);
        drop(second);
        assert_eq!(left(), 0);
    }
}
