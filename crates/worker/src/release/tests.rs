use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;

/// A target, a build, and a folder outside both that must never change.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.source()).unwrap();
        fs::create_dir(world.outside()).unwrap();
        write(&world.outside().join("kept"), "kept");
        world
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn open(&self) -> Releases {
        self.open_until(Deadline::new(|| false))
    }

    fn open_until(&self, deadline: Deadline) -> Releases {
        Releases::open(&self.target(), deadline).unwrap()
    }

    /// Ships and activates release after release, each with its number in `version`.
    fn deploy(&self, deployments: impl IntoIterator<Item = i64>) {
        let releases = self.open();
        for id in deployments {
            write(&self.source().join("version"), &id.to_string());
            releases.ship(&ticket(id), &self.source(), None).unwrap();
            releases.activate(&ticket(id), id).unwrap();
        }
    }

    fn live_version(&self) -> String {
        fs::read_to_string(self.target().join("current/version")).unwrap()
    }

    /// The paths that a check looks at when it says that nothing outside was touched.
    fn assert_outside_untouched(&self) {
        assert_eq!(names(&self.outside()), ["kept"]);
        assert_eq!(
            fs::read_to_string(self.outside().join("kept")).unwrap(),
            "kept"
        );
        assert!(
            !fs::symlink_metadata(self.outside().join("kept"))
                .unwrap()
                .is_symlink()
        );
    }
}

/// The deployment's own ticket, with a fence that rises along.
fn ticket(deployment: i64) -> Ticket {
    Ticket {
        fence: deployment * 10,
        deployment,
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

#[test]
fn shipped_release_has_the_files_with_their_modes() {
    let world = World::new();
    let source = world.source();
    write(&source.join("bin/run"), "#!/bin/sh\n");
    write(&source.join("secret"), "x");
    write(&source.join("locked/file"), "y");
    set_mode(&source.join("bin/run"), 0o4755);
    set_mode(&source.join("secret"), 0o640);
    set_mode(&source.join("locked"), 0o555);
    set_mode(&source, 0o700);
    let release = world.open().ship(&ticket(1), &source, None).unwrap();
    set_mode(&source.join("locked"), 0o755);

    assert_eq!(release, world.target().join("releases/1"));
    assert_eq!(
        fs::read_to_string(release.join("bin/run")).unwrap(),
        "#!/bin/sh\n"
    );
    assert_eq!(mode(&release), 0o755);
    assert_eq!(mode(&release.join("bin/run")), 0o755);
    assert_eq!(mode(&release.join("secret")), 0o640);
    assert_eq!(mode(&release.join("locked")), 0o555);
    assert_eq!(
        fs::read_to_string(release.join("locked/file")).unwrap(),
        "y"
    );
}

#[test]
fn version_control_sockets_and_pipes_are_not_shipped() {
    let world = World::new();
    let source = world.source();
    write(&source.join(".git/config"), "x");
    write(&source.join("vendor/lib/.git/config"), "x");
    write(&source.join("vendor/lib/.gitignore"), "x");
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let fifo = source.join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let release = world.open().ship(&ticket(1), &source, None).unwrap();
    assert_eq!(names(&release), ["vendor"]);
    assert_eq!(names(&release.join("vendor/lib")), [".gitignore"]);
}

#[test]
fn artifact_is_a_folder_of_the_checkout() {
    let world = World::new();
    write(&world.source().join("dist/app/index.html"), "hello");
    write(&world.source().join("src/main"), "x");
    symlink("dist/app", world.source().join("latest")).unwrap();
    let releases = world.open();
    for (id, artifact) in [(1, "dist/app"), (2, "./dist/app/"), (3, "latest")] {
        let release = releases
            .ship(&ticket(id), &world.source(), Some(artifact))
            .unwrap();
        assert_eq!(names(&release), ["index.html"]);
    }
}

#[test]
fn artifact_outside_the_checkout_is_refused() {
    let world = World::new();
    write(&world.source().join("file"), "x");
    symlink(world.outside(), world.source().join("absolute")).unwrap();
    symlink("../outside", world.source().join("relative")).unwrap();
    let outside = world.outside();
    let releases = world.open();
    let artifacts = [
        "../outside",
        "a/../../outside",
        outside.to_str().unwrap(),
        "absolute",
        "relative",
        "file",
        "missing",
    ];
    for artifact in artifacts {
        let error = releases
            .ship(&ticket(1), &world.source(), Some(artifact))
            .unwrap_err();
        assert!(
            matches!(error, ReleaseError::Refused(_)),
            "{artifact}: {error}"
        );
    }
    assert_eq!(releases.list().unwrap(), Vec::<i64>::new());
}

#[test]
fn links_in_a_build_stay_links_and_are_never_followed() {
    let world = World::new();
    let source = world.source();
    for name in ["current", "releases", "shared", ".slipway", "dir"] {
        symlink(world.outside(), source.join(name)).unwrap();
    }
    symlink("missing", source.join("dangling")).unwrap();
    symlink(".", source.join("loop")).unwrap();
    let releases = world.open();
    let release = releases.ship(&ticket(1), &source, None).unwrap();
    for name in ["current", "releases", "shared", ".slipway", "dir"] {
        assert_eq!(fs::read_link(release.join(name)).unwrap(), world.outside());
    }
    assert_eq!(fs::read_link(release.join("loop")).unwrap(), Path::new("."));
    releases.activate(&ticket(1), 1).unwrap();
    // Replacing and pruning such a release must not reach through its links either.
    releases.ship(&ticket(2), &source, None).unwrap();
    releases.ship(&ticket(2), &source, None).unwrap();
    releases.activate(&ticket(2), 2).unwrap();
    assert_eq!(releases.prune(&ticket(2), 1, &[]).unwrap().removed, [1]);
    world.assert_outside_untouched();
}

#[test]
fn release_of_an_interrupted_run_is_replaced() {
    let world = World::new();
    let releases = world.open();
    write(&world.source().join("old"), "");
    releases.ship(&ticket(1), &world.source(), None).unwrap();
    // As if a worker had died within the second copy.
    write(&world.target().join("releases/1.partial/half"), "");
    fs::rename(world.source().join("old"), world.source().join("new")).unwrap();
    let release = releases.ship(&ticket(1), &world.source(), None).unwrap();
    assert_eq!(names(&release), ["new"]);
    assert_eq!(names(&world.target().join("releases")), ["1"]);
}

#[test]
fn half_shipped_release_is_no_release() {
    let world = World::new();
    let releases = world.open();
    write(&world.target().join("releases/1.partial/half"), "");
    assert_eq!(releases.list().unwrap(), Vec::<i64>::new());
    let error = releases.activate(&ticket(1), 1).unwrap_err();
    assert!(matches!(error, ReleaseError::NoRelease(1)));
    assert!(!world.target().join("current").exists());
}

#[test]
fn live_release_is_not_replaced() {
    let world = World::new();
    world.deploy([1]);
    let error = world
        .open()
        .ship(&ticket(1), &world.source(), None)
        .unwrap_err();
    assert!(matches!(error, ReleaseError::Live(1)));
    assert_eq!(world.live_version(), "1");
}

#[test]
fn bottomless_tree_is_refused_and_leaves_no_release() {
    let world = World::new();
    let deep: PathBuf = std::iter::repeat_n("d", 300).collect();
    fs::create_dir_all(world.source().join(deep)).unwrap();
    let releases = world.open();
    assert!(releases.ship(&ticket(1), &world.source(), None).is_err());
    assert_eq!(releases.list().unwrap(), Vec::<i64>::new());
}

#[test]
fn activation_switches_and_says_what_was_live_before() {
    let world = World::new();
    world.deploy([1]);
    let releases = world.open();
    releases.ship(&ticket(2), &world.source(), None).unwrap();
    let activation = releases.activate(&ticket(2), 2).unwrap();
    assert_eq!(activation, Activation::Switched { previous: Some(1) });
    assert_eq!(releases.active().unwrap(), Some(2));
    let link = fs::read_link(world.target().join("current")).unwrap();
    assert_eq!(link, Path::new("releases/2"));
}

#[test]
fn activation_after_a_crash_still_knows_what_was_live_before() {
    let world = World::new();
    world.deploy([1, 2]);
    let activation = world.open().activate(&ticket(2), 2).unwrap();
    assert_eq!(activation, Activation::AlreadyActive { previous: Some(1) });
}

#[test]
fn crash_between_record_and_switch_changes_nothing() {
    let world = World::new();
    world.deploy([1]);
    let releases = world.open();
    releases.ship(&ticket(2), &world.source(), None).unwrap();
    releases.record("activation", "2 1\n").unwrap();
    symlink("releases/2", world.target().join(".slipway/current")).unwrap();
    assert_eq!(releases.active().unwrap(), Some(1));
    let activation = releases.activate(&ticket(1 + 1), 2).unwrap();
    assert_eq!(activation, Activation::Switched { previous: Some(1) });
}

#[test]
fn older_fence_is_refused_everywhere_and_changes_nothing() {
    let world = World::new();
    world.deploy([1, 2]);
    let releases = world.open();
    let stale = ticket(1);
    let errors = [
        releases.ship(&stale, &world.source(), None).unwrap_err(),
        releases
            .link_shared(&stale, &paths(&["storage"]))
            .unwrap_err(),
        releases.activate(&stale, 1).unwrap_err(),
        releases.restore(&stale, 1).unwrap_err(),
        releases.prune(&stale, 0, &[]).unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(error, ReleaseError::StaleFence(newest) if newest == ticket(2)),
            "{error}"
        );
    }
    assert_eq!(releases.active().unwrap(), Some(2));
    assert_eq!(releases.list().unwrap(), [1, 2]);
}

#[test]
fn equal_fence_of_another_deployment_is_refused() {
    let world = World::new();
    world.deploy([1]);
    let other = Ticket {
        fence: 10,
        deployment: 9,
    };
    let error = world.open().activate(&other, 1).unwrap_err();
    assert!(matches!(error, ReleaseError::StaleFence(newest) if newest == ticket(1)));
}

/// A deadline that passes once it was asked `times` times.
fn deadline_after(times: usize) -> Deadline {
    let asked = AtomicUsize::new(0);
    Deadline::new(move || asked.fetch_add(1, Ordering::Relaxed) >= times)
}

/// Everything that a target says about which release is live.
fn standing(world: &World) -> (PathBuf, Vec<String>, [String; 2]) {
    let state = world.target().join(".slipway");
    (
        fs::read_link(world.target().join("current")).unwrap(),
        names(&world.target().join("releases")),
        ["fence", "activation"].map(|name| fs::read_to_string(state.join(name)).unwrap()),
    )
}

#[test]
fn run_whose_time_is_over_changes_nothing() {
    let world = World::new();
    world.deploy([1, 2]);
    world
        .open()
        .ship(&ticket(3), &world.source(), None)
        .unwrap();
    let before = standing(&world);
    // Its fence is newer than any: nobody was at the target since.
    let late = world.open_until(deadline_after(0));
    for (what, refused) in [
        ("activate", late.activate(&ticket(3), 3).map(drop)),
        ("stay", late.activate(&ticket(4), 2).map(drop)),
        ("restore", late.restore(&ticket(3), 1)),
        (
            "ship",
            late.ship(&ticket(4), &world.source(), None).map(drop),
        ),
        ("share", late.link_shared(&ticket(4), &[])),
        ("prune", late.prune(&ticket(4), 1, &[]).map(drop)),
    ] {
        assert!(
            matches!(refused, Err(ReleaseError::TooLate)),
            "{what}: {refused:?}"
        );
    }
    assert_eq!(standing(&world), before);
    world.open().activate(&ticket(3), 3).unwrap();
    assert_eq!(world.open().active().unwrap(), Some(3));
}

#[test]
fn run_whose_time_ends_within_the_switch_does_not_switch() {
    let world = World::new();
    world.deploy([1, 2]);
    world
        .open()
        .ship(&ticket(3), &world.source(), None)
        .unwrap();
    for refused in [
        world
            .open_until(deadline_after(1))
            .activate(&ticket(3), 3)
            .map(drop),
        world.open_until(deadline_after(1)).restore(&ticket(3), 1),
    ] {
        assert!(matches!(refused, Err(ReleaseError::TooLate)), "{refused:?}");
        assert_eq!(world.open().active().unwrap(), Some(2));
    }
    world.open().activate(&ticket(3), 3).unwrap();
    assert_eq!(world.open().active().unwrap(), Some(3));
}

#[test]
fn newer_ticket_shuts_out_the_older_one_before_it_switches_anything() {
    let world = World::new();
    let releases = world.open();
    releases.ship(&ticket(1), &world.source(), None).unwrap();
    releases.ship(&ticket(2), &world.source(), None).unwrap();
    assert!(matches!(
        releases.activate(&ticket(1), 1),
        Err(ReleaseError::StaleFence(_))
    ));
    assert_eq!(releases.active().unwrap(), None);
}

#[test]
fn damaged_fence_lets_nobody_in() {
    let world = World::new();
    write(&world.target().join(".slipway/fence"), "nonsense");
    let error = world
        .open()
        .ship(&ticket(1), &world.source(), None)
        .unwrap_err();
    assert!(matches!(error, ReleaseError::Damaged(_)));
}

#[test]
fn target_in_use_is_locked() {
    let world = World::new();
    let releases = world.open();
    let _guard = releases.enter(&ticket(1)).unwrap();
    let other = world.open().with_lock_timeout(Duration::ZERO);
    let error = other.ship(&ticket(2), &world.source(), None).unwrap_err();
    assert!(matches!(error, ReleaseError::Locked));
}

#[test]
fn simultaneous_activations_end_with_the_newest() {
    let world = World::new();
    let releases = world.open();
    for id in 1..=8 {
        write(&world.source().join("version"), &id.to_string());
        releases
            .ship(
                &Ticket {
                    fence: 1,
                    deployment: 0,
                },
                &world.source(),
                None,
            )
            .unwrap();
        fs::rename(
            world.target().join("releases/0"),
            world.target().join(format!("releases/{id}")),
        )
        .unwrap();
    }
    std::thread::scope(|scope| {
        for id in (1..=8).rev() {
            let world = &world;
            scope.spawn(move || world.open().activate(&ticket(id), id));
        }
    });
    assert_eq!(world.live_version(), "8");
}

#[test]
fn link_that_others_made_is_replaced_but_a_folder_is_not() {
    let world = World::new();
    let releases = world.open();
    releases.ship(&ticket(1), &world.source(), None).unwrap();
    let current = world.target().join("current");
    fs::create_dir(&current).unwrap();
    assert!(matches!(
        releases.activate(&ticket(1), 1),
        Err(ReleaseError::Refused(_))
    ));
    fs::remove_dir(&current).unwrap();
    symlink(world.outside(), &current).unwrap();
    let activation = releases.activate(&ticket(1), 1).unwrap();
    assert_eq!(activation, Activation::Switched { previous: None });
    world.assert_outside_untouched();
}

#[test]
fn restored_release_is_live_again() {
    let world = World::new();
    world.deploy([1, 2]);
    let releases = world.open();
    releases.restore(&ticket(2), 1).unwrap();
    assert_eq!(
        (releases.active().unwrap(), world.live_version()),
        (Some(1), "1".to_owned())
    );
    releases.restore(&ticket(2), 1).unwrap();
    assert!(matches!(
        releases.restore(&ticket(2), 7),
        Err(ReleaseError::NoRelease(7))
    ));
    assert_eq!(releases.active().unwrap(), Some(1));
}

#[test]
fn older_release_can_be_activated_by_a_later_deployment() {
    let world = World::new();
    world.deploy([1, 2]);
    let activation = world.open().activate(&ticket(3), 1).unwrap();
    assert_eq!(activation, Activation::Switched { previous: Some(2) });
    assert_eq!(world.live_version(), "1");
}

#[test]
fn prune_keeps_the_newest_the_live_and_the_protected() {
    let world = World::new();
    world.deploy(1..=6);
    let releases = world.open();
    releases.restore(&ticket(6), 2).unwrap();
    let pruned = releases.prune(&ticket(6), 2, &[3]).unwrap();
    assert_eq!(pruned.removed, [4, 1]);
    assert_eq!(releases.list().unwrap(), [2, 3, 5, 6]);
    assert_eq!(
        releases.prune(&ticket(6), 0, &[]).unwrap().removed,
        [6, 5, 3]
    );
    assert_eq!(
        (releases.list().unwrap(), world.live_version()),
        (vec![2], "2".to_owned())
    );
}

#[test]
fn prune_clears_leftovers_and_nothing_it_did_not_make() {
    let world = World::new();
    world.deploy([1]);
    let folder = world.target().join("releases");
    for name in [
        "2.partial",
        "1.stale-0123",
        "20240131120000",
        "backup",
        "1.old",
        "x.partial",
    ] {
        write(&folder.join(name).join("file"), "");
    }
    let pruned = world.open().prune(&ticket(1), 0, &[]).unwrap();
    assert!(pruned.failed.is_empty());
    assert_eq!(
        names(&folder),
        ["1", "1.old", "20240131120000", "backup", "x.partial"]
    );
}

#[test]
fn read_only_release_can_be_pruned() {
    let world = World::new();
    world.deploy([1]);
    let release = world.target().join("releases/1");
    write(&release.join("a/b/file"), "");
    for (path, mode) in [("a/b/file", 0o400), ("a/b", 0o500), ("a", 0o000)] {
        set_mode(&release.join(path), mode);
    }
    world.deploy([2]);
    let pruned = world.open().prune(&ticket(2), 1, &[]).unwrap();
    assert_eq!((pruned.removed, pruned.failed), (vec![1], vec![]));
    assert_eq!(names(&world.target().join("releases")), ["2"]);
}

#[test]
fn shared_paths_outlive_the_release_they_came_from() {
    let world = World::new();
    write(&world.source().join("storage/seed"), "first");
    write(&world.source().join(".env"), "KEY=1");
    let releases = world.open();
    let shared = paths(&["storage", ".env", "var/log", "config/local.yml"]);
    for id in [1, 2] {
        let release = releases.ship(&ticket(id), &world.source(), None).unwrap();
        releases.link_shared(&ticket(id), &shared).unwrap();
        // A second time is no different from the first.
        releases.link_shared(&ticket(id), &shared).unwrap();
        let link = |path: &str| fs::read_link(release.join(path)).unwrap();
        assert_eq!(link("storage"), Path::new("../../shared/storage"));
        assert_eq!(link("var/log"), Path::new("../../../shared/var/log"));
        assert_eq!(
            fs::read_to_string(release.join("storage/seed")).unwrap(),
            "first"
        );
        assert_eq!(fs::read_to_string(release.join(".env")).unwrap(), "KEY=1");
        write(&release.join("var/log/app.log"), "line");
        write(&world.source().join("storage/seed"), "second");
    }
    let folder = world.target().join("shared");
    assert!(folder.join("var/log/app.log").is_file());
    assert!(!folder.join("config/local.yml").exists());
    write(
        &world.target().join("releases/2/config/local.yml"),
        "written through the link",
    );
    assert!(folder.join("config/local.yml").is_file());
}

#[test]
fn shared_path_that_leaves_the_release_is_refused() {
    let world = World::new();
    let releases = world.open();
    releases.ship(&ticket(1), &world.source(), None).unwrap();
    let outside = world.outside();
    for path in [
        "",
        ".",
        "..",
        "../../outside/x",
        "a/../../x",
        outside.to_str().unwrap(),
    ] {
        let error = releases
            .link_shared(&ticket(1), &paths(&[path]))
            .unwrap_err();
        assert!(matches!(error, ReleaseError::Refused(_)), "{path}: {error}");
    }
    for nested in [["a", "a/b"], ["a/b", "a"], ["a", "a"]] {
        let error = releases
            .link_shared(&ticket(1), &paths(&nested))
            .unwrap_err();
        assert!(
            matches!(error, ReleaseError::Refused(_)),
            "{nested:?}: {error}"
        );
    }
    world.assert_outside_untouched();
}

#[test]
fn shared_path_through_a_link_is_refused() {
    let world = World::new();
    symlink(world.outside(), world.source().join("a")).unwrap();
    symlink(".", world.source().join("here")).unwrap();
    let releases = world.open();
    releases.ship(&ticket(1), &world.source(), None).unwrap();
    for path in ["a/b", "a/kept", "here/b", "a"] {
        let error = releases
            .link_shared(&ticket(1), &paths(&[path]))
            .unwrap_err();
        assert!(matches!(error, ReleaseError::Refused(_)), "{path}: {error}");
    }
    // The same on the other side, where a step of an earlier release may have left the link.
    symlink(world.outside(), world.target().join("shared/logs")).unwrap();
    let error = releases
        .link_shared(&ticket(1), &paths(&["logs/app"]))
        .unwrap_err();
    assert!(matches!(error, ReleaseError::Refused(_)), "{error}");
    world.assert_outside_untouched();
}

#[test]
fn own_folder_that_is_a_link_is_refused() {
    for name in ["releases", "shared", ".slipway"] {
        let world = World::new();
        fs::create_dir(world.target()).unwrap();
        symlink(world.outside(), world.target().join(name)).unwrap();
        assert!(
            Releases::open(&world.target(), Deadline::new(|| false)).is_err(),
            "{name}"
        );
        world.assert_outside_untouched();
    }
}

#[test]
fn switching_never_leaves_a_moment_without_a_release() {
    let world = World::new();
    world.deploy([1, 2]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !done.load(Ordering::Relaxed) {
                assert!(["1", "2"].contains(&world.live_version().as_str()));
                reads += 1;
            }
            reads
        });
        let releases = world.open();
        for turn in 0..300 {
            releases.activate(&ticket(2), 1 + turn % 2).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}
