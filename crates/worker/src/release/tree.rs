//! Copies and removes whole folders without ever following a link.
//!
//! Every step opens one name in a folder that is already open, so nothing that is moved or linked
//! meanwhile can lead anywhere else. Names given to these functions are single components.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

/// Deeper trees are refused: each level holds open files.
const DEPTH_MAX: usize = 256;

/// What version control keeps beside the files; not part of any release.
const REPOSITORY: &str = ".git";

/// Opens a folder within `parent`; a link is an error.
pub(super) fn open(parent: &Dir, name: &OsStr) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    Ok(Dir::from_std_file(file.into()))
}

/// Opens a folder within `parent`, and makes it first if it is missing.
pub(super) fn open_or_create(parent: &Dir, name: &OsStr) -> io::Result<Dir> {
    match parent.create_dir(name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    open(parent, name)
}

/// The names in a folder.
pub(super) fn names(dir: &Dir) -> io::Result<Vec<OsString>> {
    dir.entries()?.map(|entry| Ok(entry?.file_name())).collect()
}

/// What kind of thing a name is, links not followed; `None` if there is no such name.
pub(super) fn kind(parent: &Dir, name: &OsStr) -> io::Result<Option<FileType>> {
    Ok(stat(parent, name)?.map(|(kind, _)| kind))
}

fn stat(parent: &Dir, name: &OsStr) -> io::Result<Option<(FileType, Mode)>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            // No set-user-id and the like: a release must not hand out rights.
            let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
            Ok(Some((FileType::from_raw_mode(stat.st_mode), mode)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Copies what is in one folder into another, empty one: files with their modes, links as links.
///
/// Sockets, pipes and devices are left out, and so is version control.
pub(super) fn copy_content(from: &Dir, to: &Dir) -> io::Result<()> {
    copy_level(from, to, 0)
}

/// Copies one file, link or folder.
pub(super) fn copy(from: &Dir, name: &OsStr, to: &Dir, new_name: &OsStr) -> io::Result<()> {
    copy_entry((from, name), (to, new_name), 0)
}

fn copy_level(from: &Dir, to: &Dir, depth: usize) -> io::Result<()> {
    check_depth(depth)?;
    for name in names(from)? {
        if name != REPOSITORY {
            copy_entry((from, &name), (to, &name), depth)?;
        }
    }
    Ok(())
}

fn copy_entry(
    (from, name): (&Dir, &OsStr),
    (to, new_name): (&Dir, &OsStr),
    depth: usize,
) -> io::Result<()> {
    let Some((kind, mode)) = stat(from, name)? else {
        return Ok(());
    };
    if kind == FileType::Symlink {
        return to.symlink_contents(from.read_link_contents(name)?, new_name);
    }
    if kind == FileType::RegularFile {
        return copy_file((from, name), (to, new_name), mode);
    }
    if kind != FileType::Directory {
        return Ok(());
    }
    to.create_dir(new_name)?;
    let copy = open(to, new_name)?;
    copy_level(&open(from, name)?, &copy, depth + 1)?;
    // Last, or nothing could be written into a folder that is read-only.
    Ok(rustix::fs::fchmod(&copy, mode)?)
}

fn copy_file(
    (from, name): (&Dir, &OsStr),
    (to, new_name): (&Dir, &OsStr),
    mode: Mode,
) -> io::Result<()> {
    // It may have become a pipe since we looked, and opening one of those waits.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    if !source.metadata()?.is_file() {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(
        to,
        new_name,
        flags,
        Mode::RUSR | Mode::WUSR,
    )?);
    io::copy(&mut source, &mut copy)?;
    Ok(rustix::fs::fchmod(&copy, mode)?)
}

/// Removes a name and everything below it, if it is there. Read-only folders do not stop it.
pub(super) fn remove(parent: &Dir, name: &OsStr) -> io::Result<()> {
    remove_entry(parent, name, 0)
}

fn remove_entry(parent: &Dir, name: &OsStr, depth: usize) -> io::Result<()> {
    check_depth(depth)?;
    match stat(parent, name)? {
        None => Ok(()),
        Some((FileType::Directory, mode)) => {
            if !mode.contains(Mode::RWXU) {
                rustix::fs::chmodat(parent, name, mode | Mode::RWXU, AtFlags::empty())?;
            }
            let dir = open(parent, name)?;
            for child in names(&dir)? {
                remove_entry(&dir, &child, depth + 1)?;
            }
            parent.remove_dir(name)
        }
        Some(_) => parent.remove_file(name),
    }
}

fn check_depth(depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!(
            "more than {DEPTH_MAX} folders within one another"
        )));
    }
    Ok(())
}
