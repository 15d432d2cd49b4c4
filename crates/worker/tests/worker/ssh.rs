//! Git over ssh, with a real server on the other side: who is asked, who is believed, and what a
//! user reads when the answer is no.

use std::{fs, path::PathBuf};

use slipway_testkit::{GitRepo, SshServer};
use slipway_worker::{
    exec::Scope,
    git::{Checkout, GitError, GitStore, Options, Remote, Request, Ssh},
};
use tempfile::TempDir;

/// A repository behind a server, and a worker's folder.
struct World {
    server: SshServer,
    repo: GitRepo,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let repo = GitRepo::new();
        repo.commit_file("readme", "first");
        Self {
            server: SshServer::start(),
            repo,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The files with which a checkout succeeds.
    fn ssh(&self) -> Ssh {
        Ssh {
            identity_file: Some(self.server.client_key()),
            known_hosts_file: Some(self.server.known_hosts()),
            agent: None,
        }
    }

    async fn checkout(&self, ssh: Ssh, reference: &str) -> Result<Checkout, GitError> {
        let options = Options {
            ssh,
            ..Options::default()
        };
        let store = GitStore::new(self.dir.path(), options).unwrap();
        let remote = Remote::parse(&self.server.url(self.repo.path()), &[]).unwrap();
        let request = Request {
            project: 1,
            deployment: 7,
            run: 1,
            remote: &remote,
            reference,
            pinned: None,
        };
        store.checkout(request, &Scope::default()).await
    }

    /// The reason, once it is sure that a refused checkout has left nothing behind.
    async fn refusal(&self, ssh: Ssh) -> String {
        let error = self.checkout(ssh, "main").await.unwrap_err();
        let GitError::Refused(reason) = error else {
            panic!("{error:?}; the server says:\n{}", self.server.log())
        };
        for missing in ["runs/7-1/source", "mirrors/1/repository"] {
            assert!(!self.path(missing).exists(), "{missing} was made");
        }
        reason
            .replace(&format!("]:{}", self.server.port()), "]:<port>")
            .replace(&format!("{}@", self.server.user()), "<user>@")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn content(checkout: &Checkout) -> String {
    fs::read_to_string(checkout.path.join("readme")).unwrap()
}

#[tokio::test]
async fn exact_commit_is_checked_out_over_ssh() {
    let world = World::new();
    let first = world.repo.head();
    let second = world.repo.commit_file("readme", "second");
    let checkout = world.checkout(world.ssh(), "main").await.unwrap();
    assert_eq!(
        (&checkout.commit, content(&checkout)),
        (&second, "second".into())
    );
    let checkout = world.checkout(world.ssh(), &first).await.unwrap();
    assert_eq!(
        (&checkout.commit, content(&checkout)),
        (&first, "first".into())
    );
    // The mirror is there now, so this is a fetch rather than a clone.
    let third = world.repo.commit_file("readme", "third");
    let checkout = world.checkout(world.ssh(), "main").await.unwrap();
    assert_eq!(
        (&checkout.commit, content(&checkout)),
        (&third, "third".into())
    );
    // What the test of a changed host key takes for an attempt to log in.
    assert!(world.server.log().contains(LOGIN), "{}", world.server.log());
}

#[tokio::test]
async fn files_of_ssh_may_have_any_usual_name() {
    let world = World::new();
    let odd = world.path("it's 100% \"odd\" \\ here");
    fs::create_dir(&odd).unwrap();
    let Ssh {
        identity_file,
        known_hosts_file,
        agent: _,
    } = world.ssh();
    let moved = |file: Option<PathBuf>| {
        let file = file.unwrap();
        let place = odd.join(file.file_name().unwrap());
        fs::copy(&file, &place).unwrap();
        fs::remove_file(&file).unwrap();
        Some(place)
    };
    let ssh = Ssh {
        identity_file: moved(identity_file),
        known_hosts_file: moved(known_hosts_file),
        agent: None,
    };
    let checkout = world.checkout(ssh, "main").await.unwrap();
    assert_eq!(content(&checkout), "first");
}

/// The line that sshd writes when a client asks to be logged in, in whatever way.
const LOGIN: &str = "userauth-request";

#[tokio::test]
async fn unknown_ssh_host_is_refused() {
    let world = World::new();
    let empty = world.path("known_hosts");
    fs::write(&empty, "").unwrap();
    let ssh = Ssh {
        known_hosts_file: Some(empty),
        ..world.ssh()
    };
    insta::assert_snapshot!(world.refusal(ssh).await, @"the worker does not know its server; add the server's host key to the known hosts, once you are sure that it is the right one (No ED25519 host key is known for [127.0.0.1]:<port> and you have requested strict checking)");
    let log = world.server.log_of_refused_client();
    assert!(!log.contains(LOGIN), "{log}");
}

#[tokio::test]
async fn changed_ssh_host_key_is_refused_before_anyone_logs_in() {
    let world = World::new();
    let ssh = Ssh {
        known_hosts_file: Some(world.server.known_hosts_of_another_key()),
        ..world.ssh()
    };
    let reason = world.refusal(ssh).await;
    let fingerprint = world.server.fingerprint();
    insta::assert_snapshot!(reason.replace(&fingerprint, "<fingerprint>"), @"its server shows another host key than the known one, so it may not be that server; replace the key among the known hosts only if you know why it changed (Host key for [127.0.0.1]:<port> has changed and you have requested strict checking; it shows <fingerprint>)");
    let log = world.server.log_of_refused_client();
    assert!(!log.contains(LOGIN), "{log}");
}

#[tokio::test]
async fn ssh_key_that_the_server_does_not_accept_is_refused() {
    let world = World::new();
    let ssh = Ssh {
        identity_file: Some(world.server.other_client_key()),
        ..world.ssh()
    };
    insta::assert_snapshot!(world.refusal(ssh).await, @"its server does not accept the worker's ssh key; give that key the right to read the repository, or check the key file (<user>@127.0.0.1: Permission denied (publickey))");
}

#[tokio::test]
async fn missing_ssh_key_is_named() {
    let world = World::new();
    let ssh = Ssh {
        identity_file: Some("/nowhere/deploy key".into()),
        ..world.ssh()
    };
    insta::assert_snapshot!(world.refusal(ssh).await, @"its server does not accept the worker's ssh key; give that key the right to read the repository, or check the key file (no such identity: /nowhere/deploy key: No such file or directory; <user>@127.0.0.1: Permission denied (publickey))");
}
