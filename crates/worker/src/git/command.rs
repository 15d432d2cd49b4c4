//! The git commands that are ever run, as values; nothing is run here.
//!
//! Each of them stands on the same ground: no configuration but what is written here, no prompt,
//! no hook, no helper, and only the transports the repository's address calls for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::remote::{Remote, Transport};
use crate::exec::Command;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings that no repository can change, as the command line is stronger than its files.
const FIXED: [&str; 14] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.symlinks=true",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "protocol.ext.allow=never",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "log.showSignature=false",
    "advice.detachedHead=false",
    "gc.auto=0",
    "gc.autoDetach=false",
];

/// How the installation reaches its repositories.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keys and known hosts.
    pub ssh: Ssh,
    /// What else git needs to know about the network: a proxy, a bundle of certificates.
    pub environment: BTreeMap<String, String>,
}

/// How ssh proves who it is, and who the other side is. Without a file, the account's own are used.
#[derive(Clone, Debug, Default)]
pub struct Ssh {
    /// The private key.
    pub identity_file: Option<PathBuf>,
    /// The socket of the agent that signs instead; then no key of the account is used, and nothing
    /// of its configuration.
    pub agent: Option<PathBuf>,
    /// The keys of known hosts; a host that is not among them is refused.
    pub known_hosts_file: Option<PathBuf>,
}

/// Builds commands for one installation.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    /// An empty folder that stands for the home folder.
    pub(super) home: PathBuf,
    pub(super) options: Options,
}

impl Commands {
    /// Copies all branches and tags of `remote` into a new bare repository.
    pub(super) fn clone_bare(&self, remote: &Remote, into: &Path) -> Command {
        self.remote(remote)
            .args(["clone", "--quiet", "--bare", "--no-local", "--template="])
            .args([
                "--no-recurse-submodules",
                "--end-of-options",
                remote.address(),
            ])
            .arg(into)
    }

    /// Brings all branches and tags of a bare repository up to date, and drops what is gone.
    pub(super) fn fetch_all(&self, remote: &Remote, mirror: &Path) -> Command {
        fetch(self.remote(remote), mirror)
            .args(["--prune", "--end-of-options", remote.address()])
            .args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
    }

    /// Fetches one commit that no branch or tag may lead to.
    pub(super) fn fetch_commit(&self, remote: &Remote, mirror: &Path, commit: &str) -> Command {
        fetch(self.remote(remote), mirror).args(["--end-of-options", remote.address(), commit])
    }

    /// Says whether a full reference name exists: 0 yes, 1 no, anything else is damage.
    pub(super) fn has_reference(&self, mirror: &Path, name: &str) -> Command {
        at(self.offline(), mirror).args(["show-ref", "--verify", "--quiet", "--", name])
    }

    /// Prints the full id of the commit that `revision` leads to.
    pub(super) fn commit_of(&self, mirror: &Path, revision: &str) -> Command {
        at(self.offline(), mirror)
            .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
            .arg(format!("{revision}^{{commit}}"))
            .discard_errors()
    }

    /// Makes a repository that shares no file name with the mirror, so either may go first.
    pub(super) fn clone_local(&self, mirror: &Path, into: &Path) -> Command {
        self.with_transports("file")
            .args([
                "clone",
                "--quiet",
                "--local",
                "--no-checkout",
                "--template=",
            ])
            .args(["--no-recurse-submodules", "--end-of-options"])
            .arg(mirror)
            .arg(into)
    }

    /// Lets `origin` mean the real repository rather than our mirror.
    pub(super) fn name_origin(&self, source: &Path, remote: &Remote) -> Command {
        self.offline()
            .args(["remote", "set-url", "--", "origin", remote.address()])
            .dir(source)
    }

    /// Writes the files of a commit.
    pub(super) fn checkout(&self, source: &Path, commit: &str) -> Command {
        self.offline()
            .args([
                "checkout",
                "--quiet",
                "--force",
                "--detach",
                "--no-recurse-submodules",
            ])
            .args([commit, "--"])
            .dir(source)
    }

    /// Prints author, address and subject, each ended by a zero byte.
    pub(super) fn describe(&self, mirror: &Path, commit: &str) -> Command {
        at(self.offline(), mirror)
            .args([
                "log",
                "-1",
                "--no-show-signature",
                "--no-mailmap",
                "--encoding=UTF-8",
            ])
            .args([
                "--format=%an%x00%ae%x00%s%x00",
                "--end-of-options",
                commit,
                "--",
            ])
            .discard_errors()
    }

    /// Prints the paths that differ between two commits, each ended by a zero byte.
    pub(super) fn changed_files(&self, mirror: &Path, from: &str, to: &str) -> Command {
        at(self.offline(), mirror)
            .args([
                "diff-tree",
                "-r",
                "-z",
                "--name-only",
                "--no-renames",
                "--no-ext-diff",
            ])
            .args(["--end-of-options", from, to, "--"])
            .discard_errors()
    }

    /// Prints the paths of a commit, each ended by a zero byte.
    pub(super) fn files(&self, mirror: &Path, commit: &str) -> Command {
        at(self.offline(), mirror)
            .args(["ls-tree", "-r", "-z", "--name-only", "--full-tree"])
            .args(["--end-of-options", commit])
            .discard_errors()
    }

    /// Packs a mirror when it has become untidy.
    pub(super) fn tidy(&self, mirror: &Path) -> Command {
        at(self.offline(), mirror).args(["-c", "gc.auto=6700", "gc", "--auto", "--quiet"])
    }

    fn remote(&self, remote: &Remote) -> Command {
        let command = self.with_transports(match remote.transport() {
            Transport::Https => "https",
            Transport::Ssh => "ssh",
            Transport::Local => "file",
        });
        if remote.transport() == Transport::Local {
            // An accepted local repository may belong to another account. Only the serving side
            // looks at it, and that side reads none of our `-c`.
            return command.env("GIT_CONFIG_GLOBAL", self.home.join(LOCAL_CONFIG_NAME));
        }
        command
    }

    fn offline(&self) -> Command {
        // No transport has this name, so none is allowed.
        self.with_transports("none")
    }

    fn with_transports(&self, transports: &str) -> Command {
        let mut command = Command::new("git");
        for (name, value) in &self.options.environment {
            command = command.env(name, value);
        }
        command
            .env("PATH", PATH)
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", transports)
            .env("GIT_SSH_COMMAND", self.ssh_command())
            .args(FIXED.iter().flat_map(|setting| ["-c", setting]))
    }

    fn ssh_command(&self) -> String {
        let mut command =
            "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=30".to_owned();
        let Ssh {
            identity_file,
            agent,
            known_hosts_file,
        } = &self.options.ssh;
        if let Some(socket) = agent {
            command += " -Fnone -oIdentityFile=none -oPreferredAuthentications=publickey";
            command += &ssh_option("IdentityAgent", socket);
        }
        if let Some(file) = identity_file {
            command += " -oIdentitiesOnly=yes";
            command += &ssh_option("IdentityFile", file);
        }
        if let Some(file) = known_hosts_file {
            command += " -oGlobalKnownHostsFile=/dev/null";
            command += &ssh_option("UserKnownHostsFile", file);
        }
        command
    }
}

/// The file in the home folder that makes local repositories of other accounts readable.
pub(super) const LOCAL_CONFIG_NAME: &str = "local-repositories.gitconfig";

/// Its content.
pub(super) const LOCAL_CONFIG: &str = "[safe]\n\tdirectory = *\n";

fn fetch(command: Command, mirror: &Path) -> Command {
    at(command, mirror).args([
        "fetch",
        "--quiet",
        "--force",
        "--no-tags",
        "--no-auto-maintenance",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
    ])
}

fn at(command: Command, mirror: &Path) -> Command {
    command.arg("--git-dir").arg(mirror)
}

/// An option whose value is a path, quoted twice: git hands its ssh command to a shell, and ssh
/// splits the value at spaces and expands what follows a `%`.
fn ssh_option(name: &str, path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path.replace('\\', r"\\").replace('"', r#"\""#);
    let option = format!(r#"-o{name}="{}""#, path.replace('%', "%%"));
    format!(" '{}'", option.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Commands {
        Commands {
            home: "/home".into(),
            options: Options::default(),
        }
    }

    /// What is particular to a command: its arguments after the fixed settings.
    fn arguments(command: &Command) -> String {
        let printed = command.to_string();
        let (_, arguments) = printed.split_once("-c gc.autoDetach=false ").unwrap();
        arguments.to_owned()
    }

    fn remote(address: &str) -> Remote {
        Remote::parse(address, &[]).unwrap()
    }

    #[test]
    fn every_command_stands_on_the_same_ground() {
        let printed = commands().describe(Path::new("/m"), "abc").to_string();
        let fixed: Vec<_> = FIXED
            .iter()
            .map(|setting| format!("-c {setting}"))
            .collect();
        assert_eq!(
            printed,
            format!(
                "GIT_ALLOW_PROTOCOL=none GIT_ATTR_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \
                 GIT_CONFIG_NOSYSTEM=1 GIT_NO_LAZY_FETCH=1 \
                 GIT_SSH_COMMAND='ssh -oBatchMode=yes -oStrictHostKeyChecking=yes \
                 -oConnectTimeout=30' GIT_TERMINAL_PROMPT=0 HOME=/home LC_ALL=C PATH={PATH} \
                 git {} --git-dir /m log -1 --no-show-signature --no-mailmap --encoding=UTF-8 \
                 --format=%an%x00%ae%x00%s%x00 --end-of-options abc --",
                fixed.join(" ")
            )
        );
    }

    #[test]
    fn address_never_stands_where_an_option_could() {
        let remote = remote("git@example.com:app");
        assert_eq!(
            arguments(&commands().clone_bare(&remote, Path::new("/m"))),
            "clone --quiet --bare --no-local --template= --no-recurse-submodules \
             --end-of-options git@example.com:app /m"
        );
        assert_eq!(
            arguments(&commands().fetch_all(&remote, Path::new("/m"))),
            "--git-dir /m fetch --quiet --force --no-tags --no-auto-maintenance \
             --no-recurse-submodules --no-write-fetch-head --prune --end-of-options \
             git@example.com:app '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*'"
        );
    }

    #[test]
    fn revision_never_stands_where_an_option_could() {
        let hostile = "--upload-pack=touch x";
        assert_eq!(
            arguments(&commands().commit_of(Path::new("/m"), hostile)),
            "--git-dir /m rev-parse --verify --quiet --end-of-options \
             '--upload-pack=touch x^{commit}'"
        );
        assert_eq!(
            arguments(&commands().has_reference(Path::new("/m"), hostile)),
            "--git-dir /m show-ref --verify --quiet -- '--upload-pack=touch x'"
        );
        assert!(
            arguments(&commands().changed_files(Path::new("/m"), hostile, hostile))
                .ends_with("--end-of-options '--upload-pack=touch x' '--upload-pack=touch x' --")
        );
    }

    #[test]
    fn files_of_a_commit_are_asked_for_by_a_revision_that_is_no_option() {
        assert_eq!(
            arguments(&commands().files(Path::new("/m"), "--x")),
            "--git-dir /m ls-tree -r -z --name-only --full-tree --end-of-options --x"
        );
    }

    #[test]
    fn only_the_transport_of_the_address_is_allowed() {
        for (address, transport) in [("https://e.com/a", "https"), ("git@e.com:a", "ssh")] {
            let printed = commands()
                .fetch_all(&remote(address), Path::new("/m"))
                .to_string();
            assert!(
                printed.contains(&format!("GIT_ALLOW_PROTOCOL={transport} ")),
                "{printed}"
            );
        }
    }

    #[test]
    fn installation_cannot_loosen_what_is_fixed() {
        let environment = [
            ("GIT_CONFIG_GLOBAL", "/etc/x"),
            ("https_proxy", "http://proxy:3128"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = Options {
            environment: environment.into(),
            ..Options::default()
        };
        let printed = Commands {
            options,
            ..commands()
        }
        .tidy(Path::new("/m"))
        .to_string();
        assert!(printed.contains("GIT_CONFIG_GLOBAL=/dev/null"), "{printed}");
        assert!(
            printed.contains("https_proxy=http://proxy:3128"),
            "{printed}"
        );
    }

    #[test]
    fn ssh_takes_its_files_from_the_installation() {
        let ssh = Ssh {
            agent: None,
            identity_file: Some("/keys/it's".into()),
            known_hosts_file: Some("/keys/hosts".into()),
        };
        let options = Options {
            ssh,
            ..Options::default()
        };
        let ssh_command = Commands {
            options,
            ..commands()
        }
        .ssh_command();
        assert!(ssh_command.ends_with(
            r#" -oIdentitiesOnly=yes '-oIdentityFile="/keys/it'\''s"' -oGlobalKnownHostsFile=/dev/null '-oUserKnownHostsFile="/keys/hosts"'"#
        ));
    }
}
