//! A private ssh server on loopback, for tests of git over ssh.
//!
//! It is the real sshd and lets in whoever runs the tests, with one key that it makes itself. What
//! a session may do is not limited: the tests decide what they ask for.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{
    process::{Program, RunningProgram},
    services::free_port,
};

/// It starts itself anew for each connection, so it wants to be called by its full path.
const SSHD: &str = "/usr/sbin/sshd";

/// Where sshd confines its unprivileged half when root starts it; usually made at boot.
const PRIVILEGE_SEPARATION_FOLDER: &str = "/run/sshd";

const START_DEADLINE: Duration = Duration::from_secs(20);
const START_ATTEMPTS: u32 = 5;

/// An sshd with a host key and an accepted client key of its own, ended when it is dropped.
#[derive(Debug)]
pub struct SshServer {
    folder: TempDir,
    port: u16,
    program: RunningProgram,
}

impl SshServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When sshd is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: run deploy/test.sh, which installs openssh-server"
        );
        make_privilege_separation_folder();
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        for name in [
            "host_key",
            "other_host_key",
            "client_key",
            "other_client_key",
        ] {
            generate_key(&folder.path().join(name));
        }
        let accepted = read(&folder.path().join("client_key.pub"));
        write(&folder.path().join("authorized_keys"), &accepted);
        for _ in 0..START_ATTEMPTS {
            let port = free_port();
            if let Some(program) = launch(folder.path(), port) {
                return Self {
                    folder,
                    port,
                    program,
                };
            }
        }
        panic!("sshd found no free port in {START_ATTEMPTS} attempts");
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The only account that it lets in: the one that runs the tests.
    ///
    /// # Panics
    /// When the account has no name.
    #[must_use]
    pub fn user(&self) -> String {
        let output = Program::new("id").args(["-un"]).run();
        assert!(output.status.success(), "id -un failed: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The address of a repository on this machine, as seen through this server.
    #[must_use]
    pub fn url(&self, repository: &Path) -> String {
        let (user, port) = (self.user(), self.port);
        format!("ssh://{user}@127.0.0.1:{port}{}", repository.display())
    }

    /// The private key that it accepts.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.path("client_key")
    }

    /// A private key that it does not accept.
    #[must_use]
    pub fn other_client_key(&self) -> PathBuf {
        self.path("other_client_key")
    }

    /// Accepts one more public key, as a line of `authorized_keys`.
    ///
    /// # Panics
    /// When its folder is gone.
    pub fn accept(&self, public_key: &str) {
        let file = self.path("authorized_keys");
        write(&file, &format!("{}{public_key}\n", read(&file)));
    }

    /// A file that knows this server by its host key.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.known_hosts_with("host_key")
    }

    /// A file that knows this server by another host key than the one it has.
    #[must_use]
    pub fn known_hosts_of_another_key(&self) -> PathBuf {
        self.known_hosts_with("other_host_key")
    }

    /// The fingerprint of its host key, as ssh prints it.
    ///
    /// # Panics
    /// When ssh-keygen does not tell.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let output = Program::new("ssh-keygen")
            .args(["-l", "-f"])
            .args([self.path("host_key.pub")])
            .run();
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let fingerprint = line.split(' ').find(|word| word.starts_with("SHA256:"));
        fingerprint
            .expect("ssh-keygen prints a fingerprint")
            .to_owned()
    }

    /// Waits until a client has gone without having been let in; gives what the server wrote in
    /// its log until then.
    ///
    /// # Panics
    /// When no client goes like this.
    #[must_use]
    pub fn log_of_refused_client(&self) -> String {
        self.program.wait_for_line(START_DEADLINE, |line| {
            line.starts_with("Connection closed by").then_some(())
        });
        self.log()
    }

    /// What it has written in its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.logs()
    }

    fn known_hosts_with(&self, key: &str) -> PathBuf {
        let public = read(&self.path(&format!("{key}.pub")));
        let file = self.path(&format!("known_hosts_of_{key}"));
        write(&file, &format!("[127.0.0.1]:{} {public}", self.port));
        file
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The running server; none when its port was taken in the meantime.
fn launch(folder: &Path, port: u16) -> Option<RunningProgram> {
    let config = folder.join("sshd_config");
    let place = folder.display();
    write(
        &config,
        &format!(
            "ListenAddress 127.0.0.1:{port}\n\
             HostKey {place}/host_key\n\
             AuthorizedKeysFile {place}/authorized_keys\n\
             PidFile none\n\
             UsePAM no\n\
             StrictModes no\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n\
             LogLevel DEBUG1\n"
        ),
    );
    let program = Program::new(SSHD)
        .args(["-D", "-e", "-f"])
        .args([&config])
        .start();
    let listens = program.wait_for_line(START_DEADLINE, |line| {
        if line.starts_with("Server listening on") {
            Some(true)
        } else {
            line.starts_with("Cannot bind any address").then_some(false)
        }
    });
    listens.then_some(program)
}

fn make_privilege_separation_folder() {
    if geteuid().is_root() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(PRIVILEGE_SEPARATION_FOLDER)
            .expect("root can make sshd's folder");
    }
}

fn generate_key(path: &Path) {
    let output = Program::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .args([path])
        .run();
    assert!(output.status.success(), "ssh-keygen failed: {output:?}");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of the server can be read")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file of the server can be written");
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, process::Output};

    use super::*;
    use crate::poll::eventually_blocking;

    fn whoami(server: &SshServer, key: &Path, known_hosts: &Path) -> Output {
        Program::new("ssh")
            .args(["-F", "none", "-oBatchMode=yes", "-oIdentitiesOnly=yes"])
            .args([
                "-oStrictHostKeyChecking=yes",
                "-p",
                &server.port.to_string(),
            ])
            .args([format!("-oUserKnownHostsFile={}", known_hosts.display())])
            .args([Path::new("-i"), key])
            .args([&format!("{}@127.0.0.1", server.user()), "id -un"])
            .run()
    }

    #[test]
    fn only_the_accepted_key_opens_a_session_over_ssh() {
        let server = SshServer::start();
        let known = server.known_hosts();
        let output = whoami(&server, &server.client_key(), &known);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            server.user(),
            "{}",
            server.log()
        );
        let refused = whoami(&server, &server.other_client_key(), &known);
        assert_eq!(refused.status.code(), Some(255), "{refused:?}");
    }

    #[test]
    fn dropped_ssh_server_is_gone() {
        let server = SshServer::start();
        let port = server.port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        drop(server);
        // The part that serves a connection holds the port a moment longer.
        eventually_blocking(START_DEADLINE, || {
            let answer = TcpStream::connect(("127.0.0.1", port));
            answer.map_or(Ok(()), |_| Err("sshd still answers"))
        });
    }
}
