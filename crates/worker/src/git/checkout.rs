//! From a reference to a folder with the files of one commit.
//!
//! Each project has a mirror on this machine, brought up to date before every checkout. A mirror
//! that turns out to be damaged is replaced once; the old one goes only when the new one is there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use slipway_core::ssh::service::Access;

use super::{
    GitError, Options, Remote,
    agent::Agent,
    command::{Commands, LOCAL_CONFIG, LOCAL_CONFIG_NAME},
    mirror::{Mirror, failed, remove_tree},
    run::{ask, is_so, transfer},
};
use crate::exec::Scope;

/// The repositories of one worker.
#[derive(Clone, Debug)]
pub struct GitStore {
    dir: PathBuf,
    commands: Commands,
}

/// What to check out, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The project, whose mirror is used.
    pub project: i64,
    /// The deployment.
    pub deployment: i64,
    /// Which run of the deployment this is.
    pub run: i64,
    /// Where the commits are.
    pub remote: &'a Remote,
    /// A branch, else a tag, else a full commit id; `refs/heads/..` and `refs/tags/..` say which.
    pub reference: &'a str,
    /// The commit that an earlier run took for the reference, which may mean another one by now.
    pub pinned: Option<&'a str>,
}

/// Keeps the way to a run's repositories open.
#[derive(Debug)]
pub struct Reach {
    _agent: Option<Agent>,
}

/// The files of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The folder.
    pub path: PathBuf,
    /// The full id.
    pub commit: String,
    /// The branch that the reference named; none if it was a tag or an id.
    pub branch: Option<String>,
    /// The first line of the commit's message. Not ours, so not to be trusted, like the author.
    pub subject: String,
    /// The author's name.
    pub author_name: String,
    /// The author's mail address.
    pub author_email: String,
}

impl GitStore {
    /// Uses `dir`, the worker's folder, and makes what is missing in it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(dir: &Path, options: Options) -> io::Result<Self> {
        let home = dir.join("git-home");
        for folder in [&home, &dir.join("mirrors"), &dir.join("runs")] {
            fs::create_dir_all(folder)?;
        }
        fs::write(home.join(LOCAL_CONFIG_NAME), LOCAL_CONFIG)?;
        let dir = dir.canonicalize()?;
        let commands = Commands {
            home: dir.join("git-home"),
            options,
        };
        Ok(Self { dir, commands })
    }

    /// The same repositories, reached over SSH as this run's project says; and what has to be kept
    /// for as long as they are.
    ///
    /// # Errors
    /// When the run's folder cannot be used.
    pub fn reached_with(
        &self,
        access: Access,
        (deployment, run): (i64, i64),
    ) -> Result<(Self, Reach), GitError> {
        let mut store = self.clone();
        let folder = self.run_dir(deployment, run);
        let in_folder = |error: io::Error| failed(&folder, &error);
        fs::create_dir_all(&folder).map_err(in_folder)?;
        let ssh = &mut store.commands.options.ssh;
        if let Some(lines) = access.known_hosts {
            let file = folder.join("known_hosts");
            fs::write(&file, lines).map_err(in_folder)?;
            ssh.known_hosts_file = Some(file);
        }
        let agent = access.key.map(|key| Agent::start(&folder, key));
        let agent = agent.transpose().map_err(in_folder)?;
        if let Some(agent) = &agent {
            ssh.identity_file = None;
            ssh.agent = Some(agent.socket().to_owned());
        }
        Ok((store, Reach { _agent: agent }))
    }

    /// The folder of one run of a deployment; the checkout is `source` in it.
    #[must_use]
    pub fn run_dir(&self, deployment: i64, run: i64) -> PathBuf {
        self.dir.join("runs").join(format!("{deployment}-{run}"))
    }

    /// Removes the folder of one run.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub async fn remove_run(&self, deployment: i64, run: i64) -> Result<(), GitError> {
        let folder = self.run_dir(deployment, run);
        // Most runs without a commit have none, and looking costs less than asking another thread.
        if matches!(folder.try_exists(), Ok(false)) {
            return Ok(());
        }
        remove_tree(&folder).await
    }

    /// Fetches, finds the commit that `request.reference` means now, and writes its files.
    ///
    /// # Errors
    /// See [`GitError`]; after one of them the run's folder may be incomplete.
    pub async fn checkout(
        &self,
        request: Request<'_>,
        scope: &Scope,
    ) -> Result<Checkout, GitError> {
        let mirror = self.lock(request.project, scope).await?;
        let mut renew = false;
        loop {
            let is_new = self.update(&mirror, request.remote, renew, scope).await?;
            match self.extract(&mirror, request, scope).await {
                Err(GitError::Failed(reason)) if !is_new => {
                    tracing::warn!(project.id = request.project, reason, "renewing the mirror");
                    renew = true;
                }
                result => return result,
            }
        }
    }

    /// The paths that differ between two commits of a project that was checked out before. All
    /// paths of the second one, when there is no first or the mirror has it no more.
    ///
    /// # Errors
    /// [`GitError::UnknownRef`] when the mirror does not have the second one.
    pub async fn changed_files(
        &self,
        project: i64,
        (from, to): (Option<&str>, &str),
        scope: &Scope,
    ) -> Result<Vec<String>, GitError> {
        let mirror = self.lock(project, scope).await?.repository();
        if !self.has_commit(&mirror, to, scope).await? {
            return Err(GitError::UnknownRef(to.to_owned()));
        }
        let question = match from {
            Some(from) if self.has_commit(&mirror, from, scope).await? => {
                self.commands.changed_files(&mirror, from, to)
            }
            _ => self.commands.files(&mirror, to),
        };
        let answer = ask(&question, scope).await?;
        let paths = answer
            .split(|&byte| byte == 0)
            .filter(|path| !path.is_empty());
        Ok(paths
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect())
    }

    async fn has_commit(
        &self,
        mirror: &Path,
        commit: &str,
        scope: &Scope,
    ) -> Result<bool, GitError> {
        Ok(is_commit_id(commit) && self.commit_of(mirror, commit, scope).await?.is_some())
    }

    async fn lock(&self, project: i64, scope: &Scope) -> Result<Mirror, GitError> {
        Mirror::lock(self.dir.join("mirrors").join(project.to_string()), scope).await
    }

    /// Brings the mirror up to date; says whether it is a new one.
    async fn update(
        &self,
        mirror: &Mirror,
        remote: &Remote,
        renew: bool,
        scope: &Scope,
    ) -> Result<bool, GitError> {
        if !renew && mirror.is_of(remote.address()) {
            mirror.remove_leftovers();
            let repository = mirror.repository();
            match transfer(&self.commands.fetch_all(remote, &repository), scope).await {
                Ok(()) => {
                    let tidied = transfer(&self.commands.tidy(&repository), scope).await;
                    tidied
                        .inspect_err(|error| tracing::debug!(%error, "mirror left untidy"))
                        .ok();
                    return Ok(false);
                }
                Err(GitError::Failed(reason)) => {
                    tracing::warn!(mirror = %repository.display(), reason, "cannot update");
                }
                Err(error) => return Err(error),
            }
        }
        let incoming = mirror.incoming().await?;
        transfer(&self.commands.clone_bare(remote, &incoming), scope).await?;
        mirror.replace(&incoming, remote.address()).await?;
        Ok(true)
    }

    async fn extract(
        &self,
        mirror: &Mirror,
        request: Request<'_>,
        scope: &Scope,
    ) -> Result<Checkout, GitError> {
        let repository = mirror.repository();
        let (commit, branch) = self.resolve_pinned(&repository, request, scope).await?;
        let description = ask(&self.commands.describe(&repository, &commit), scope).await?;

        let run_dir = self.run_dir(request.deployment, request.run);
        let path = run_dir.join("source");
        remove_tree(&path).await?;
        fs::create_dir_all(&run_dir).map_err(|error| failed(&run_dir, &error))?;
        transfer(&self.commands.clone_local(&repository, &path), scope).await?;
        transfer(&self.commands.name_origin(&path, request.remote), scope).await?;
        transfer(&self.commands.checkout(&path, &commit), scope).await?;

        let description = String::from_utf8_lossy(&description);
        let mut fields = description.split('\0').map(str::to_owned);
        let mut field = || fields.next().unwrap_or_default();
        let (author_name, author_email, subject) = (field(), field(), field());
        Ok(Checkout {
            path,
            commit,
            branch,
            subject,
            author_name,
            author_email,
        })
    }

    /// The pinned commit, with the branch that the reference names if it still does.
    async fn resolve_pinned(
        &self,
        mirror: &Path,
        request: Request<'_>,
        scope: &Scope,
    ) -> Result<(String, Option<String>), GitError> {
        let named = self.resolve(mirror, request, scope).await;
        let Some(reference) = request.pinned else {
            return named;
        };
        let branch = match named {
            Ok((_, branch)) => branch,
            Err(GitError::UnknownRef(_)) => None,
            Err(error) => return Err(error),
        };
        let pinned = Request {
            reference,
            ..request
        };
        let (commit, _) = self.resolve(mirror, pinned, scope).await?;
        Ok((commit, branch))
    }

    /// The commit that a reference means, and the branch if it is one: a branch, else a tag, else a
    /// full commit id.
    async fn resolve(
        &self,
        mirror: &Path,
        request: Request<'_>,
        scope: &Scope,
    ) -> Result<(String, Option<String>), GitError> {
        for name in reference_names(request.reference) {
            if is_so(&self.commands.has_reference(mirror, &name), scope).await? {
                let commit = self.commit_of(mirror, &name, scope).await?;
                let commit =
                    commit.ok_or_else(|| GitError::Failed(format!("{name} has no commit")))?;
                let branch = name.strip_prefix("refs/heads/").map(ToOwned::to_owned);
                return Ok((commit, branch));
            }
        }
        let unknown = || GitError::UnknownRef(request.reference.to_owned());
        let id = request.reference.to_ascii_lowercase();
        if !is_commit_id(&id) {
            return Err(unknown());
        }
        if let Some(commit) = self.commit_of(mirror, &id, scope).await? {
            return Ok((commit, None));
        }
        match transfer(
            &self.commands.fetch_commit(request.remote, mirror, &id),
            scope,
        )
        .await
        {
            Ok(()) => {
                let commit = self.commit_of(mirror, &id, scope).await?;
                Ok((commit.ok_or_else(unknown)?, None))
            }
            Err(error @ (GitError::Unreachable(_) | GitError::Cancelled)) => Err(error),
            Err(_) => Err(unknown()),
        }
    }

    /// The commit a revision leads to, if the mirror has it.
    async fn commit_of(
        &self,
        mirror: &Path,
        revision: &str,
        scope: &Scope,
    ) -> Result<Option<String>, GitError> {
        match ask(&self.commands.commit_of(mirror, revision), scope).await {
            Ok(answer) => {
                let id = String::from_utf8_lossy(&answer).trim().to_owned();
                Ok(is_commit_id(&id).then_some(id))
            }
            Err(GitError::Failed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The full names that a reference may stand for, the first one first.
fn reference_names(reference: &str) -> Vec<String> {
    let is_full = ["refs/heads/", "refs/tags/"]
        .iter()
        .any(|root| reference.starts_with(root));
    if !is_reference_name(reference) {
        Vec::new()
    } else if is_full {
        vec![reference.to_owned()]
    } else {
        vec![
            format!("refs/heads/{reference}"),
            format!("refs/tags/{reference}"),
        ]
    }
}

/// Git's own rules for names. They also keep out every revision expression (`main~1`, `@{u}`),
/// because a name must never be able to mean another commit than the one it names.
fn is_reference_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.ends_with(".lock")
    };
    !name.starts_with('-')
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && name.split('/').all(component)
}

/// A full id: a shortened one may become ambiguous with the next commit.
fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
