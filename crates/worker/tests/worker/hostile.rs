//! Repositories, refs and pipelines that mean harm.

use std::{fs, path::Path};

use slipway_core::{db, deployment::status::Status, error::Error, project};

use crate::{
    look::reason,
    rig::{PROJECT, Rig, TARGET},
};

const ONCE: &[(&str, &str)] = &[("QUEUE__RETRY_ATTEMPTS", "1")];

#[tokio::test]
async fn ref_with_shell_characters_is_only_a_name() {
    let rig =
        Rig::new("build:\n  - name: show\n    run: echo \"$SLIPWAY_REF\" \"$SLIPWAY_BRANCH\"\n")
            .await;
    let names = [
        "$(touch${IFS}pwned)",
        "`touch${IFS}pwned`",
        "main;touch${IFS}pwned",
        "'|touch${IFS}pwned|'",
        "\"&&touch${IFS}pwned&&\"",
    ];
    for name in names {
        rig.repo.branch(name);
        let id = rig.deploy_ref(name).await;
        let row = rig.finished(id).await;
        assert_eq!(reason(&row), (Status::Succeeded, "", ""), "{name}");
        let log = rig.log(id).await;
        assert!(log.contains(&format!("\n{name} {name}\n")), "{log}");
    }
    assert!(!contains_file(rig.dir.path(), "pwned"));
}

fn contains_file(folder: &Path, name: &str) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let is_dir = entry.file_type().unwrap().is_dir();
        entry.file_name() == name || (is_dir && contains_file(&entry.path(), name))
    })
}

#[tokio::test]
async fn nothing_in_a_repository_runs_while_it_is_checked_out() {
    let rig = Rig::new("build:\n  - name: show\n    run: cat secret.txt\n").await;
    let script = format!("#!/bin/sh\ntouch '{}'\ncat\n", rig.path("pwned").display());
    let program = rig.path("program");
    fs::write(&program, &script).unwrap();
    rig.repo
        .write(".gitattributes", "*.txt filter=evil diff=evil\n")
        .write("secret.txt", "plain\n")
        .write(
            ".gitmodules",
            "[submodule \"evil\"]\n\tpath = sub\n\turl = ext::sh -c id\n",
        )
        .write_script("hooks/post-checkout", &script)
        .commit("Mean harm");
    for hook in ["post-checkout", "pre-commit", "update", "post-upload-pack"] {
        rig.repo
            .write_script(&format!(".git/hooks/{hook}"), &script);
    }
    for (name, value) in [
        ("filter.evil.smudge", program.to_str().unwrap()),
        ("filter.evil.process", program.to_str().unwrap()),
        ("diff.evil.textconv", program.to_str().unwrap()),
        ("core.fsmonitor", program.to_str().unwrap()),
        ("core.sshCommand", program.to_str().unwrap()),
        ("uploadpack.packObjectsHook", program.to_str().unwrap()),
        ("core.hooksPath", "hooks"),
    ] {
        rig.repo.git(&["config", name, value]);
    }
    let row = rig.deployed().await;
    assert_eq!(reason(&row), (Status::Succeeded, "", ""));
    assert!(rig.log(row.id).await.contains("\nplain\n"));
    assert!(!rig.path("pwned").exists());
}

#[tokio::test]
async fn path_that_leaves_the_release_is_refused_when_it_is_written() {
    let rig = Rig::new("build:\n  - name: nothing\n    run: 'true'\n").await;
    for section in [
        "activate: { shared: [../x] }",
        "activate: { shared: [/etc] }",
        "activate: { shared: [a/../../x] }",
        "artifact: ../x",
    ] {
        let source = format!("build:\n  - name: nothing\n    run: 'true'\n{section}\n");
        let refused =
            project::service::set_pipeline(&rig.ctx, &rig.admin, PROJECT, &source, db::now()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{section}");
    }
}

#[tokio::test]
async fn artifact_that_leads_out_of_the_checkout_is_refused() {
    let rig = Rig::with(
        "build:\n  - name: link\n    run: ln -s /etc dist\nartifact: dist\n",
        ONCE,
    )
    .await;
    let row = rig.deployed().await;
    let (status, code, text) = reason(&row);
    assert_eq!((status, code), (Status::Failed, "configuration_invalid"));
    assert!(
        text.starts_with("The release was refused: the artifact dist"),
        "{text}"
    );
    assert_eq!(rig.current(), None);
    let shipped: Vec<_> = fs::read_dir(rig.path(TARGET).join("releases"))
        .unwrap()
        .collect();
    assert!(shipped.is_empty(), "{shipped:?}");
}

#[tokio::test]
async fn shared_path_through_a_link_is_refused() {
    let rig = Rig::with(
        "build:\n  - name: link\n    run: ln -s /tmp uploads\nactivate: { shared: [uploads/x] }\n",
        ONCE,
    )
    .await;
    let row = rig.deployed().await;
    assert_eq!(reason(&row).1, "configuration_invalid");
    assert_eq!(rig.current(), None);
}

#[tokio::test]
async fn folder_in_the_place_of_the_link_is_left_alone() {
    let rig = Rig::with("build:\n  - name: nothing\n    run: 'true'\n", ONCE).await;
    let current = rig.path(TARGET).join("current");
    fs::create_dir_all(&current).unwrap();
    fs::write(current.join("precious"), "kept").unwrap();
    let row = rig.deployed().await;
    let text = "The release was refused: current is not a link; move it away so that it can become \
                one.";
    assert_eq!(
        reason(&row),
        (Status::Failed, "configuration_invalid", text)
    );
    assert_eq!(
        fs::read_to_string(current.join("precious")).unwrap(),
        "kept"
    );
}
