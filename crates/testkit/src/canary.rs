//! Looks for values that must not be anywhere: as they are, in base64 at each of its three offsets,
//! and in hexadecimal digits.
//!
//! Knows nothing of how the product masks them, and collects every hit instead of stopping at one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use memchr::memmem::Finder;

/// Values that nobody may find.
#[derive(Debug, Default)]
pub struct Canaries {
    traces: Vec<Trace>,
    findings: Vec<String>,
    searched: Searched,
}

/// How much was searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Texts and files.
    pub places: usize,
    /// Bytes in them.
    pub bytes: usize,
    /// Command lines and environments of processes.
    pub processes: usize,
}

#[derive(Debug)]
struct Trace {
    name: String,
    finder: Finder<'static>,
}

impl Canaries {
    /// Looks for one more value from here on.
    pub fn add(&mut self, name: &str, value: &str) {
        let bytes = value.as_bytes();
        let mut forms = vec![
            ("as it is", bytes.to_vec()),
            ("in hex", hex::encode(bytes).into_bytes()),
            ("in upper hex", hex::encode_upper(bytes).into_bytes()),
        ];
        for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
            let text = [vec![0; before], bytes.to_vec()].concat();
            for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let encoded = alphabet.encode(&text).into_bytes();
                // The characters at both ends depend on what stands around the value.
                let whole = text.len() * 8 / 6;
                let own = encoded.get(shared..whole).unwrap_or_default();
                forms.push(("in base64", own.to_vec()));
            }
        }
        forms.sort_unstable();
        forms.dedup();
        self.traces.extend(forms.into_iter().map(|(form, bytes)| {
            let name = format!("{name} {form}");
            let finder = Finder::new(&bytes).into_owned();
            Trace { name, finder }
        }));
    }

    /// Searches some bytes.
    pub fn search(&mut self, place: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.searched.places += 1;
        self.searched.bytes += bytes.len();
        let found = self
            .traces
            .iter()
            .filter(|trace| trace.finder.find(bytes).is_some());
        self.findings
            .extend(found.map(|trace| format!("{} in {place}", trace.name)));
    }

    /// Searches every file below a folder, and the names of all that is in it.
    ///
    /// # Panics
    /// When the folder itself cannot be read.
    pub fn search_folder(&mut self, folder: &Path) {
        let first = fs::read_dir(folder).expect("the folder can be read");
        let mut waiting: Vec<PathBuf> = first.flatten().map(|entry| entry.path()).collect();
        while let Some(path) = waiting.pop() {
            self.search("the name of a file", path.as_os_str().as_encoded_bytes());
            // What goes away meanwhile is not there any more.
            let Ok(kind) = path.symlink_metadata().map(|metadata| metadata.file_type()) else {
                continue;
            };
            if kind.is_dir() {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                waiting.extend(entries.map(|entry| entry.path()));
            } else if kind.is_file()
                && let Ok(bytes) = fs::read(&path)
            {
                self.search(&path.to_string_lossy(), bytes);
            }
        }
    }

    /// Searches the command line of every process of this machine, and the environment of those with
    /// such a name.
    ///
    /// # Panics
    /// When there is no process table.
    pub fn search_processes(&mut self, environment_of: &[&str]) {
        let entries = fs::read_dir("/proc").expect("there is a process table");
        for entry in entries.flatten().map(|entry| entry.path()) {
            let read = |file: &str| fs::read(entry.join(file)).ok();
            let Some(line) = read("cmdline") else {
                continue;
            };
            self.searched.processes += 1;
            let place = format!("{} {}", entry.display(), String::from_utf8_lossy(&line));
            self.search(&format!("the command line of {place}"), &line);
            let name = read("comm").unwrap_or_default();
            let name = String::from_utf8_lossy(&name);
            if environment_of.contains(&name.trim()) {
                let environment = read("environ").unwrap_or_default();
                self.search(&format!("the environment of {place}"), environment);
            }
        }
    }

    /// What was found, and forgets it.
    pub fn take_findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }

    /// How much was searched.
    #[must_use]
    pub fn searched(&self) -> Searched {
        self.searched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Program, eventually_blocking};

    const VALUE: &str = "canary-?>-4f1d";

    fn canaries() -> Canaries {
        let mut canaries = Canaries::default();
        canaries.add("the value", VALUE);
        canaries
    }

    #[test]
    fn value_is_found_in_each_form_and_nothing_else_is() {
        for (text, expected) in [
            (VALUE.to_owned(), "the value as it is in x"),
            (hex::encode(format!("a{VALUE}b")), "the value in hex in x"),
            (hex::encode_upper(VALUE), "the value in upper hex in x"),
        ] {
            let mut canaries = canaries();
            canaries.search("x", format!("before {text} after"));
            assert_eq!(canaries.take_findings(), [expected]);
        }
        for around in ["", "a", "ab", "abc"] {
            for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let mut canaries = canaries();
                canaries.search("x", alphabet.encode(format!("{around}{VALUE}{around}")));
                assert_eq!(canaries.take_findings(), ["the value in base64 in x"]);
            }
        }
        let mut canaries = canaries();
        canaries.search("x", &VALUE[1..]);
        canaries.search("x", STANDARD_NO_PAD.encode("another value"));
        assert_eq!(canaries.take_findings(), [""; 0]);
    }

    #[test]
    fn value_is_found_in_files_and_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), format!("\0\u{ff}{VALUE}\0")).unwrap();
        fs::write(folder.path().join("a/canary-name"), "").unwrap();
        let mut canaries = canaries();
        canaries.add("the name", "canary-name");
        canaries.search_folder(folder.path());
        let found = canaries.take_findings();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found.iter().any(|found| found.ends_with("a/b/file")),
            "{found:?}"
        );
        assert!(
            found
                .iter()
                .any(|found| found.ends_with("the name of a file")),
            "{found:?}"
        );
    }

    #[test]
    fn value_is_found_in_the_process_table() {
        let script = "while read -r _; do :; done < /dev/zero";
        let mut program = Program::new("sh")
            .args(["-c", script, VALUE])
            .env("IN_ENVIRONMENT", "canary-env")
            .start();
        let mut canaries = canaries();
        canaries.add("the other", "canary-env");
        eventually_blocking(std::time::Duration::from_secs(20), || {
            canaries.search_processes(&["sh"]);
            let found = canaries.take_findings().join("\n");
            let both = found.contains("the value as it is in the command line of")
                && found.contains("the other as it is in the environment of");
            if both { Ok(()) } else { Err(found) }
        });
        program.kill();
    }
}
