use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process,
};

use super::*;
use crate::exec::Scope;

/// A repository to deploy from, and a worker's folder.
struct World {
    dir: tempfile::TempDir,
    store: GitStore,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = GitStore::new(&dir.path().join("worker"), Options::default()).unwrap();
        let world = Self { dir, store };
        fs::create_dir(world.origin()).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.commit("readme", "first");
        world
    }

    fn origin(&self) -> PathBuf {
        self.dir.path().join("origin")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn remote(&self) -> Remote {
        self.remote_at(&self.origin())
    }

    fn remote_at(&self, path: &Path) -> Remote {
        Remote::parse(path.to_str().unwrap(), &[self.dir.path().to_owned()]).unwrap()
    }

    fn git(&self, args: &[&str]) -> String {
        git_in(&self.origin(), args)
    }

    /// Writes one file and commits everything; gives the commit's id.
    fn commit(&self, file: &str, content: &str) -> String {
        let path = self.origin().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self.commit_all(&format!("Write {file}"))
    }

    fn commit_all(&self, subject: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    async fn checkout(&self, reference: &str) -> Result<Checkout, GitError> {
        self.checkout_from(&self.remote(), reference).await
    }

    async fn checkout_from(&self, remote: &Remote, reference: &str) -> Result<Checkout, GitError> {
        let request = Request {
            project: 1,
            deployment: 7,
            run: 1,
            remote,
            reference,
            pinned: None,
        };
        self.store.checkout(request, &Scope::default()).await
    }

    /// The mirror of the only project.
    fn mirror(&self) -> PathBuf {
        self.path("worker/mirrors/1/repository")
    }
}

fn git_in(dir: &Path, args: &[&str]) -> String {
    let output = process::Command::new("git")
        .args([
            "-c",
            "user.name=Ann Author",
            "-c",
            "user.email=ann@example.com",
        ])
        .args([
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn content(checkout: &Checkout, file: &str) -> String {
    fs::read_to_string(checkout.path.join(file)).unwrap()
}

#[tokio::test]
async fn branch_is_checked_out_with_what_is_known_of_its_commit() {
    let world = World::new();
    let commit = world.commit("readme", "second");
    let checkout = world.checkout("main").await.unwrap();
    assert_eq!(checkout.commit, commit);
    assert_eq!(
        checkout.path,
        world.path("worker/runs/7-1/source").canonicalize().unwrap()
    );
    assert_eq!(content(&checkout, "readme"), "second");
    assert_eq!(
        [
            checkout.subject,
            checkout.author_name,
            checkout.author_email
        ],
        ["Write readme", "Ann Author", "ann@example.com"]
    );
}

#[tokio::test]
async fn checkout_is_a_repository_of_its_own() {
    let world = World::new();
    world.git(&["tag", "v1"]);
    let checkout = world.checkout("main").await.unwrap();
    fs::remove_dir_all(world.mirror()).unwrap();
    assert_eq!(git_in(&checkout.path, &["describe", "--tags"]), "v1");
    assert_eq!(git_in(&checkout.path, &["status", "--porcelain"]), "");
    let origin = git_in(&checkout.path, &["remote", "get-url", "origin"]);
    assert_eq!(origin, world.remote().address());
}

#[tokio::test]
async fn run_can_be_repeated_and_removed() {
    let world = World::new();
    let first = world.checkout("main").await.unwrap();
    fs::write(first.path.join("leftover"), "").unwrap();
    let second = world.checkout("main").await.unwrap();
    assert!(!second.path.join("leftover").exists());
    world.store.remove_run(7, 1).await.unwrap();
    assert!(!world.store.run_dir(7, 1).exists());
}

#[tokio::test]
async fn branch_wins_over_a_tag_of_the_same_name() {
    let world = World::new();
    let first = world.git(&["rev-parse", "HEAD"]);
    world.git(&["tag", "-a", "release", "-m", "annotated"]);
    let second = world.commit("readme", "second");
    world.git(&["branch", "release"]);
    assert_eq!(world.checkout("release").await.unwrap().commit, second);
    assert_eq!(
        world.checkout("refs/heads/release").await.unwrap().commit,
        second
    );
    assert_eq!(
        world.checkout("refs/tags/release").await.unwrap().commit,
        first
    );
}

#[tokio::test]
async fn tag_leads_to_its_commit() {
    let world = World::new();
    let first = world.git(&["rev-parse", "HEAD"]);
    world.git(&["tag", "-a", "v1.0", "-m", "annotated"]);
    world.commit("readme", "second");
    assert_eq!(world.checkout("v1.0").await.unwrap().commit, first);
}

#[tokio::test]
async fn full_commit_id_is_enough_even_if_no_branch_leads_there() {
    let world = World::new();
    let lost = world.commit("readme", "lost");
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    world.checkout("main").await.unwrap();
    let checkout = world.checkout(&lost.to_uppercase()).await.unwrap();
    assert_eq!(checkout.commit, lost);
    assert_eq!(content(&checkout, "readme"), "lost");
}

#[tokio::test]
async fn reference_that_names_no_commit_is_an_error_of_its_own() {
    let world = World::new();
    world.commit("readme", "second");
    let id = world.git(&["rev-parse", "HEAD"]);
    let zeros = "0".repeat(40);
    for reference in [
        "nothing",
        "",
        "@",
        "HEAD",
        "main~1",
        "main^",
        "main@{0}",
        "main:readme",
        "refs/heads/",
        "../main",
        "main..main",
        ":/first",
        &id[..12],
        &zeros,
        "*",
        "ma?n",
        "main.lock",
        "a b",
    ] {
        let error = world.checkout(reference).await.unwrap_err();
        assert_eq!(error, GitError::UnknownRef(reference.to_owned()));
    }
}

#[tokio::test]
async fn hostile_reference_is_data_and_nothing_else() {
    let world = World::new();
    let canary = world.path("canary");
    for reference in [
        format!("--upload-pack=touch {}", canary.display()),
        format!("main;touch {}", canary.display()),
        format!("$(touch {})", canary.display()),
        format!("`touch {}`", canary.display()),
        format!("main\ntouch {}", canary.display()),
        "-h".to_owned(),
        "--help".to_owned(),
        "-c".to_owned(),
    ] {
        let error = world.checkout(&reference).await.unwrap_err();
        assert_eq!(error, GitError::UnknownRef(reference));
    }
    assert!(!canary.exists());
}

#[tokio::test]
async fn force_pushed_branch_is_followed() {
    let world = World::new();
    world.commit("readme", "before");
    world.checkout("main").await.unwrap();
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let after = world.commit("readme", "after");
    let checkout = world.checkout("main").await.unwrap();
    assert_eq!(
        (checkout.commit.clone(), content(&checkout, "readme")),
        (after, "after".to_owned())
    );
}

#[tokio::test]
async fn deleted_branch_is_gone_and_may_become_a_folder_of_branches() {
    let world = World::new();
    world.git(&["branch", "feature"]);
    world.checkout("feature").await.unwrap();
    world.git(&["branch", "--quiet", "-D", "feature"]);
    world.git(&["branch", "feature/one"]);
    let error = world.checkout("feature").await.unwrap_err();
    assert_eq!(error, GitError::UnknownRef("feature".to_owned()));
    world.checkout("feature/one").await.unwrap();
}

#[tokio::test]
async fn changed_address_brings_another_mirror() {
    let world = World::new();
    world.checkout("main").await.unwrap();
    let moved = world.path("moved");
    fs::create_dir(&moved).unwrap();
    git_in(&moved, &["init", "--quiet", "--initial-branch=trunk"]);
    git_in(
        &moved,
        &["commit", "--quiet", "--allow-empty", "-m", "Moved"],
    );
    let remote = world.remote_at(&moved);
    assert_eq!(
        world.checkout_from(&remote, "trunk").await.unwrap().subject,
        "Moved"
    );
    let error = world.checkout_from(&remote, "main").await.unwrap_err();
    assert_eq!(error, GitError::UnknownRef("main".to_owned()));
}

#[tokio::test]
async fn two_checkouts_of_one_project_do_not_disturb_each_other() {
    let world = World::new();
    let one = world.git(&["rev-parse", "HEAD"]);
    let two = world.commit("readme", "second");
    let remote = world.remote();
    let scope = Scope::default();
    let checkouts = (0..8).map(|i| {
        let reference = if i % 2 == 0 { &one } else { &two };
        let request = Request {
            project: 1,
            deployment: i,
            run: 1,
            remote: &remote,
            reference,
            pinned: None,
        };
        world.store.checkout(request, &scope)
    });
    for (i, checkout) in futures_util::future::join_all(checkouts)
        .await
        .into_iter()
        .enumerate()
    {
        let checkout = checkout.unwrap();
        assert_eq!(&checkout.commit, if i % 2 == 0 { &one } else { &two });
        assert_eq!(git_in(&checkout.path, &["status", "--porcelain"]), "");
    }
}

#[tokio::test]
async fn waiting_for_another_checkout_can_be_cancelled() {
    let world = World::new();
    world.checkout("main").await.unwrap();
    let lock = fs::File::open(world.path("worker/mirrors/1/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (remote, scope) = (world.remote(), Scope::default());
    let request = Request {
        project: 1,
        deployment: 8,
        run: 1,
        remote: &remote,
        reference: "main",
        pinned: None,
    };
    let (result, ()) = tokio::join!(world.store.checkout(request, &scope), async {
        scope.cancel.cancel();
    });
    assert_eq!(result.unwrap_err(), GitError::Cancelled);
}

#[tokio::test]
async fn nothing_of_a_repository_runs_while_it_is_checked_out() {
    let world = World::new();
    let canary = world.path("canary");
    let script = world.path("script");
    fs::write(
        &script,
        format!("#!/bin/sh\ntouch '{}'\ncat\n", canary.display()),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    for hook in [
        "post-checkout",
        "pre-receive",
        "post-upload-pack",
        "reference-transaction",
    ] {
        symlink(script, world.origin().join(".git/hooks").join(hook)).unwrap();
    }
    fs::write(
        world.origin().join(".gitattributes"),
        "* filter=evil diff=evil\n",
    )
    .unwrap();
    fs::write(
        world.origin().join(".lfsconfig"),
        "[lfs]\n\turl = https://127.0.0.1:1/\n",
    )
    .unwrap();
    fs::write(
        world.origin().join(".gitmodules"),
        format!("[submodule \"x\"]\n\tpath = x\n\turl = ext::{script}\n\tupdate = !{script}\n"),
    )
    .unwrap();
    symlink(script, world.origin().join("hooks")).unwrap();
    let commit = world.commit_all("Try everything");
    for (name, value) in [
        ("core.fsmonitor", script),
        ("core.sshCommand", script),
        ("filter.evil.smudge", script),
        ("filter.evil.process", script),
        ("diff.evil.textconv", script),
        ("uploadpack.packObjectsHook", script),
        ("core.pager", script),
    ] {
        world.git(&["config", name, value]);
    }
    let checkout = world.checkout("main").await.unwrap();
    assert_eq!(checkout.commit, commit);
    // A second time through the mirror, for what a fetch may run.
    world.checkout("main").await.unwrap();
    let hooks = fs::read_dir(checkout.path.join(".git/hooks"));
    assert_eq!(hooks.map_or(0, Iterator::count), 0);
    assert!(!canary.exists());
}

/// A commit whose tree has entries that `git add` would refuse.
fn commit_tree(world: &World, entries: &str) -> String {
    let origin = world.origin();
    let list = origin.join(".git/entries");
    fs::write(&list, entries).unwrap();
    let run = |script: &str| {
        let output = process::Command::new("sh")
            .args(["-c", script])
            .current_dir(&origin)
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    let tree = run("git mktree < .git/entries");
    assert_eq!(tree.len(), 40, "{entries}");
    let commit = world.git(&["commit-tree", &tree, "-m", "Hostile tree"]);
    world.git(&["update-ref", "refs/heads/hostile", &commit]);
    commit
}

#[tokio::test]
async fn tree_that_reaches_for_the_git_folder_is_not_checked_out() {
    let world = World::new();
    fs::write(
        world.origin().join("config"),
        "[core]\n\tfsmonitor = touch /tmp/x\n",
    )
    .unwrap();
    let blob = world.git(&["hash-object", "-w", "config"]);
    fs::write(world.origin().join("link"), ".git").unwrap();
    let link = world.git(&["hash-object", "-w", "link"]);
    for entries in [
        format!("100644 blob {blob}\t.git\n"),
        format!("120000 blob {link}\t.git\n"),
        format!("120000 blob {link}\t.GIT\n"),
        format!("100644 blob {blob}\tgit~1\n"),
        format!("100644 blob {blob}\t.g\u{200c}it\n"),
    ] {
        commit_tree(&world, &entries);
        let error = world.checkout("hostile").await.unwrap_err();
        let GitError::Failed(reason) = error else {
            panic!("{entries}: {error}")
        };
        assert!(reason.contains("invalid path"), "{entries}: {reason}");
    }
}

#[tokio::test]
async fn links_in_a_repository_are_checked_out_as_links() {
    let world = World::new();
    symlink("/etc", world.origin().join("outside")).unwrap();
    world.commit_all("Link");
    let checkout = world.checkout("main").await.unwrap();
    assert_eq!(
        fs::read_link(checkout.path.join("outside")).unwrap(),
        Path::new("/etc")
    );
}

#[tokio::test]
async fn locks_and_packs_of_a_killed_git_are_cleared_away() {
    let world = World::new();
    world.checkout("main").await.unwrap();
    let mirror = world.mirror();
    let leftovers = [
        "packed-refs.lock",
        "HEAD.lock",
        "refs/heads/main.lock",
        "objects/pack/tmp_pack_x",
    ];
    for leftover in leftovers {
        fs::create_dir_all(mirror.join(leftover).parent().unwrap()).unwrap();
        fs::write(mirror.join(leftover), "").unwrap();
    }
    fs::write(mirror.join("kept"), "").unwrap();
    let commit = world.commit("readme", "second");
    world.git(&["branch", "other"]);
    assert_eq!(world.checkout("main").await.unwrap().commit, commit);
    for leftover in leftovers {
        assert!(!mirror.join(leftover).exists(), "{leftover}");
    }
    assert!(mirror.join("kept").exists(), "the mirror was cloned anew");
}

fn damage_objects(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            damage_objects(&entry.path());
        } else {
            fs::remove_file(entry.path()).unwrap();
            fs::write(entry.path(), "damaged").unwrap();
        }
    }
}

#[tokio::test]
async fn damaged_mirror_is_replaced() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |mirror| damage_objects(&mirror.join("objects")),
        |mirror| fs::remove_dir_all(mirror.join("objects")).unwrap(),
        |mirror| fs::write(mirror.join("config"), "[[[").unwrap(),
        |mirror| fs::write(mirror.join("HEAD"), "").unwrap(),
    ];
    let world = World::new();
    let commit = world.commit("readme", "second");
    for damage in damages {
        world.checkout("main").await.unwrap();
        damage(&world.mirror());
        let checkout = world.checkout("main").await.unwrap();
        assert_eq!(
            (
                checkout.commit.as_str(),
                content(&checkout, "readme").as_str()
            ),
            (commit.as_str(), "second")
        );
    }
}

#[tokio::test]
async fn mirror_survives_an_unreachable_remote() {
    let world = World::new();
    world.checkout("main").await.unwrap();
    fs::rename(world.origin(), world.path("away")).unwrap();
    fs::create_dir(world.origin()).unwrap();
    let error = world.checkout("main").await.unwrap_err();
    assert!(matches!(error, GitError::Refused(_)), "{error}");
    assert!(world.mirror().is_dir());
    fs::remove_dir(world.origin()).unwrap();
    fs::rename(world.path("away"), world.origin()).unwrap();
    world.checkout("main").await.unwrap();
}

#[tokio::test]
async fn server_that_does_not_answer_is_unreachable() {
    let world = World::new();
    // Bound and dropped, so that nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("https://127.0.0.1:{port}/app.git");
    let error = world
        .checkout_from(&Remote::parse(&address, &[]).unwrap(), "main")
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, GitError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn changed_files_between_two_commits_are_listed() {
    let world = World::new();
    let from = world.commit("kept", "same");
    fs::rename(world.origin().join("readme"), world.origin().join("moved")).unwrap();
    let to = world.commit("dir/with space\nand ünicode", "new");
    world.checkout("main").await.unwrap();
    let scope = Scope::default();
    let mut files = world
        .store
        .changed_files(1, (Some(&from), &to), &scope)
        .await
        .unwrap();
    files.sort();
    assert_eq!(files, ["dir/with space\nand ünicode", "moved", "readme"]);
    // Nothing to compare with: a first release, or a history that was rewritten.
    let missing = "1".repeat(40);
    for from in [None, Some(missing.as_str())] {
        let mut all = world
            .store
            .changed_files(1, (from, &to), &scope)
            .await
            .unwrap();
        all.sort();
        assert_eq!(all, ["dir/with space\nand ünicode", "kept", "moved"]);
    }
    let error = world
        .store
        .changed_files(1, (Some(&from), &missing), &scope)
        .await
        .unwrap_err();
    assert_eq!(error, GitError::UnknownRef(missing));
}

#[tokio::test]
async fn repository_of_another_account_is_read_if_its_path_is_allowed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let chowned = process::Command::new("chown")
        .args(["-R", "65534"])
        .arg(world.origin())
        .status();
    assert!(chowned.unwrap().success());
    let checkout = world.checkout("main").await.unwrap();
    assert_eq!(content(&checkout, "readme"), "first");
}

#[tokio::test]
async fn cancelled_checkout_says_so_and_can_be_done_again() {
    let world = World::new();
    let scope = Scope::default();
    let remote = world.remote();
    let request = Request {
        project: 1,
        deployment: 7,
        run: 1,
        remote: &remote,
        reference: "main",
        pinned: None,
    };
    scope.cancel.cancel();
    let error = world.store.checkout(request, &scope).await.unwrap_err();
    assert_eq!(error, GitError::Cancelled);
    world.checkout("main").await.unwrap();
}
