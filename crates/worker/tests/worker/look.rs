//! What a worker has done: rows, log, files and links.

use std::fs;

use slipway_core::{
    deployment::{
        entity::{deployment::Model, step},
        line::Source,
        status::Status,
        store,
    },
    id::DeploymentId,
    target,
};
use slipway_testkit::eventually;

use crate::{
    process::pid_in,
    rig::{DEADLINE, PROJECT, Rig, TARGET},
};

/// Code and sentence of why a deployment ended as it did.
pub(crate) fn reason(row: &Model) -> (Status, &str, &str) {
    (
        row.status,
        row.reason.as_deref().unwrap_or_default(),
        row.reason_text.as_deref().unwrap_or_default(),
    )
}

impl Rig {
    pub(crate) async fn row(&self, id: DeploymentId) -> Model {
        let found = store::read::find(self.ctx.db.reader(), id).await.unwrap();
        found.expect("the deployment exists")
    }

    /// Waits until a deployment has ended.
    pub(crate) async fn end_of(&self, id: DeploymentId) -> Model {
        self.until(id, |row| row.status.is_terminal()).await
    }

    /// Waits until a deployment's row is as wanted.
    pub(crate) async fn until(
        &self,
        id: DeploymentId,
        mut wanted: impl FnMut(&Model) -> bool,
    ) -> Model {
        eventually(DEADLINE, async || {
            let row = self.row(id).await;
            if wanted(&row) { Ok(row) } else { Err(row) }
        })
        .await
    }

    /// Waits until a file is there.
    pub(crate) async fn until_exists(&self, name: &str) -> String {
        let path = self.path(name);
        eventually(DEADLINE, async || fs::read_to_string(&path)).await
    }

    /// The process that a step wrote down: the whole line, since the file is there before it.
    pub(crate) async fn until_pid(&self) -> String {
        pid_in(&self.path("pid")).await
    }

    pub(crate) async fn step_rows(&self, id: DeploymentId) -> Vec<step::Model> {
        store::step::list(self.ctx.db.reader(), id).await.unwrap()
    }

    /// The steps as one line each: phase, name, status and exit code.
    pub(crate) async fn steps(&self, id: DeploymentId) -> String {
        let rows = self.step_rows(id).await;
        let lines = rows.iter().map(|row| {
            let code = row.exit_code.map(|code| format!(" {code}"));
            format!(
                "{} {} {}{}\n",
                row.phase.as_str(),
                row.name,
                row.status.as_str(),
                code.unwrap_or_default()
            )
        });
        lines.collect()
    }

    /// The log as it is stored, with what differs from run to run replaced by its name. Slipway's
    /// own lines begin with `#`.
    pub(crate) async fn log(&self, id: DeploymentId) -> String {
        let conn = self.ctx.db.reader();
        let lines = store::log::read_after(conn, id, 0, 10_000).await.unwrap();
        let numbers: Vec<i64> = lines.iter().map(|line| line.number).collect();
        let gapless: Vec<i64> = (1..).take(lines.len()).collect();
        assert_eq!(numbers, gapless, "the numbers of the lines");
        let text: String = lines
            .iter()
            .map(|line| match line.source {
                Source::Slipway => format!("# {}\n", line.text),
                Source::Output => format!("{}\n", line.text),
            })
            .collect();
        self.normalised(&text)
    }

    fn normalised(&self, text: &str) -> String {
        let mut text = text.replace(self.dir.path().to_str().unwrap(), "<dir>");
        let commits = self.repo.git(&["rev-list", "--all"]);
        for commit in commits.lines() {
            text = text.replace(commit, "<commit>");
        }
        let worker = text
            .lines()
            .filter_map(|line| line.split_once("on worker "))
            .map(|(_, name)| name.trim_end_matches('.').to_owned())
            .collect::<Vec<_>>();
        for name in worker {
            text = text.replace(&name, "<worker>");
        }
        text
    }

    /// A file of the live release.
    pub(crate) fn live_file(&self, name: &str) -> String {
        let path = self.path(TARGET).join("current").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What `current` points at.
    pub(crate) fn current(&self) -> Option<String> {
        let link = fs::read_link(self.path(TARGET).join("current")).ok()?;
        Some(link.to_str().unwrap().to_owned())
    }

    /// The releases as the database knows them, oldest first.
    pub(crate) async fn releases(&self) -> String {
        let conn = self.ctx.db.reader();
        let target = target::service::get(&self.ctx, &self.admin, PROJECT, TARGET)
            .await
            .unwrap();
        let mut rows = store::release::list(conn, target.id).await.unwrap();
        rows.reverse();
        let shown: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", row.deployment_id, row.state.as_str()))
            .collect();
        shown.join(", ")
    }

    /// Nothing of a run may stay behind in the worker's folder.
    pub(crate) fn assert_no_run_folder(&self) {
        let runs = self.path("worker/runs");
        let left: Vec<_> = fs::read_dir(runs).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
