//! The control group that a service manager has put this process into, and who else is in it.
//!
//! What a service has started stays in its group wherever its sessions and parents are, so a group
//! without strangers proves that nothing of an earlier start is left.

use std::{fs, io, path::Path};

/// Where control groups are found.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// This process's own group; none if it is in the one of the whole machine or container, which says
/// nothing about anybody.
pub(crate) fn own() -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    (path != "/" && !path.contains("..")).then(|| path.to_owned())
}

/// Whether groups can be looked at under the names that processes know them by.
pub(crate) fn is_visible(root: &Path) -> bool {
    let members = own().map(|group| {
        root.join(group.trim_start_matches('/'))
            .join("cgroup.procs")
    });
    let members = members.and_then(|file| fs::read_to_string(file).ok());
    let me = std::process::id().to_string();
    members.is_some_and(|members| members.lines().any(|line| line == me))
}

/// Whether nobody but these processes is in a group and those below it. A group that is gone has
/// nobody in it, so [`is_visible`] has to be asked before.
pub(crate) fn is_empty_but_for(root: &Path, group: &str, known: &[u32]) -> io::Result<bool> {
    has_only(&root.join(group.trim_start_matches('/')), known)
}

fn has_only(group: &Path, known: &[u32]) -> io::Result<bool> {
    let members = match fs::read_to_string(group.join("cgroup.procs")) {
        Ok(members) => members,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let is_known = |line: &str| line.parse().is_ok_and(|id| known.contains(&id));
    if !members.lines().all(is_known) {
        return Ok(false);
    }
    for below in fs::read_dir(group)? {
        let below = below?;
        if below.file_type()?.is_dir() && !has_only(&below.path(), known)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_empty_when_everybody_in_it_is_known() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("system.slice/worker");
        fs::create_dir_all(group.join("below")).unwrap();
        let members = |folder: &Path, text: &str| {
            fs::write(folder.join("cgroup.procs"), text).unwrap();
        };
        let has_only = |known: &[u32]| {
            is_empty_but_for(root.path(), "/system.slice/worker", known).unwrap_or(false)
        };
        members(&group, "7\n8\n");
        assert!(has_only(&[7, 8]));
        assert!(!has_only(&[7]));
        members(&group.join("below"), "9\n");
        assert!(!has_only(&[7, 8]));
        assert!(has_only(&[7, 8, 9]));
    }

    #[test]
    fn group_that_is_gone_has_nobody_in_it() {
        let root = tempfile::tempdir().unwrap();
        assert!(is_empty_but_for(root.path(), "/gone", &[]).unwrap());
    }
}
