//! Projects and deployments for tests, and a stand-in for the worker that runs them: it writes what
//! a worker writes, through the same functions of core.

use std::time::Duration;

use slipway_core::{
    access::{Actor, ProjectRole},
    ctx::Ctx,
    db,
    deployment::{
        self,
        entity::{deployment::Model, step},
        line::Source,
        service::DeployInput,
        status::Transition,
        step::{Phase, StepStatus},
        store::{
            self, Guard,
            claim::{Claim, Claimant},
            log::Chunk,
            snapshot::Snapshot,
            step::{Plan, PlannedStep, RunKey, StepEnd},
        },
    },
    id::DeploymentId,
    ports::{Event, LeaseToken},
    project::{self, policy::QueuePolicy, repository::RepositoryUrl, service::NewProject},
    target::{self, entity::TargetKind, service::NewTarget},
};

use crate::app::TestApp;

/// The pipeline of [`TestApp::project`].
pub(crate) const PIPELINE: &str = "build:\n  - name: install\n    run: npm ci\nartifact: dist\n\
                                   release:\n  - name: migrate\n    run: ./bin/migrate\n";

impl TestApp {
    /// A project with a repository, a pipeline and the target `production`.
    pub(crate) async fn project(&self, slug: &str) {
        self.bare_project(slug, slug).await;
        self.target(slug, "production").await;
        project::service::set_pipeline(&self.ctx, &self.admin, slug, PIPELINE, db::now())
            .await
            .unwrap();
    }

    /// A project with a repository and nothing else.
    pub(crate) async fn bare_project(&self, slug: &str, name: &str) {
        let input = NewProject {
            slug: slug.parse().unwrap(),
            name: name.parse().unwrap(),
            repository: Some(RepositoryUrl::from_stored(
                "https://example.com/a.git".to_owned(),
            )),
            default_branch: "main".parse().unwrap(),
            queue_policy: QueuePolicy::QueueAll,
            retry_attempts: None,
            retry_delays: None,
        };
        project::service::create(&self.ctx, &self.admin, input, db::now())
            .await
            .unwrap();
    }

    /// A target of a project.
    pub(crate) async fn target(&self, project: &str, slug: &str) {
        let input = NewTarget {
            slug: slug.parse().unwrap(),
            kind: TargetKind::Local,
            path: format!("/srv/{project}/{slug}").parse().unwrap(),
            strategy: "{}".to_owned(),
            auto_deploy: None,
        };
        target::service::create(&self.ctx, &self.admin, project, input, db::now())
            .await
            .unwrap();
    }

    /// Makes somebody a member of a project.
    pub(crate) async fn member(&self, project: &str, of: &Actor, role: ProjectRole) {
        let change = (of.user, Some(role));
        project::service::members::set(&self.ctx, &self.admin, project, change, db::now())
            .await
            .unwrap();
    }

    /// A queued deployment of `production`.
    pub(crate) async fn deployment(&self, project: &str, note: Option<&str>) -> DeploymentId {
        let input = DeployInput {
            target: "production".to_owned(),
            ref_name: None,
            note: note.map(|note| note.parse().unwrap()),
            key: None,
        };
        let detail = deployment::service::request(&self.ctx, &self.admin, project, input).await;
        detail.unwrap().row.id
    }
}

/// A run of a deployment.
pub(crate) struct Run {
    ctx: Ctx,
    pub(crate) row: Model,
    line: i64,
}

impl Run {
    /// Claims a queued deployment.
    pub(crate) async fn begin(app: &TestApp, id: DeploymentId) -> Self {
        Self::begin_as(app, id, "worker-1").await
    }

    /// Claims it as the worker of this name.
    pub(crate) async fn begin_as(app: &TestApp, id: DeploymentId, owner: &str) -> Self {
        let token = LeaseToken::random().unwrap();
        let by = Claimant {
            owner,
            token: &token,
            lease: Duration::from_secs(60),
            max_running: app.ctx.settings.queue.max_running,
        };
        let claim = store::claim::claim(&app.ctx.db, id, &by, db::now())
            .await
            .unwrap();
        let Claim::Won(row) = claim else {
            panic!("not claimed: {claim:?}");
        };
        let line = store::log::last_line(app.ctx.db.reader(), id)
            .await
            .unwrap();
        app.ctx.bus.publish(Event::Changed(id)).await;
        Self {
            ctx: app.ctx.clone(),
            row: *row,
            line,
        }
    }

    /// Notes which commit it found.
    pub(crate) async fn found(&self, subject: &str, author: &str) {
        let snapshot = Snapshot {
            commit_id: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            commit_subject: Some(subject.to_owned()),
            commit_author: Some(author.to_owned()),
        };
        let conn = self.ctx.db.writer();
        let kept = store::snapshot::set_snapshot(conn, self.row.id, self.row.fence, snapshot).await;
        assert!(kept.unwrap());
        self.changed().await;
    }

    /// Plans steps.
    pub(crate) async fn plan(&self, names: &[(Phase, &str)]) -> Vec<step::Model> {
        let run = RunKey {
            deployment: self.row.id,
            fence: self.row.fence,
            attempt: self.row.attempt,
        };
        let steps: Vec<PlannedStep> = names
            .iter()
            .map(|(phase, name)| PlannedStep {
                phase: *phase,
                name: (*name).to_owned(),
                host: "local".to_owned(),
                begins: None,
            })
            .collect();
        let plan = Plan {
            run,
            pipeline: "{}".to_owned(),
            steps,
            greeting: None,
        };
        let planned = store::step::plan(&self.ctx.db, &[plan]).await;
        let ids = planned.unwrap().remove(0);
        let rows = store::step::list(self.ctx.db.reader(), self.row.id).await;
        let rows = rows.unwrap().into_iter();
        rows.filter(|row| ids.contains(&row.id)).collect()
    }

    /// Begins a step.
    pub(crate) async fn step(&self, step: &step::Model) {
        store::step::begin(self.ctx.db.writer(), &[step.id], db::now())
            .await
            .unwrap();
        self.changed().await;
    }

    /// Ends a step with an exit code.
    pub(crate) async fn step_ended(&self, step: &step::Model, code: i64) {
        let end = StepEnd {
            status: if code == 0 {
                StepStatus::Succeeded
            } else {
                StepStatus::Failed
            },
            exit_code: Some(code),
            signal: None,
        };
        store::step::end(self.ctx.db.writer(), &[(step.id, end)], db::now())
            .await
            .unwrap();
        self.changed().await;
    }

    /// Writes output, as a step or as the run itself.
    pub(crate) async fn write(&mut self, step: Option<&step::Model>, lines: &[&str]) {
        let at = db::now().timestamp_micros();
        let step_id = step.map(|step| step.id);
        let (id, fence) = (self.row.id, self.row.fence);
        let mut chunk = Chunk::new(id, fence, step_id, self.line + 1, at);
        let source = if step.is_some() {
            Source::Output
        } else {
            Source::Slipway
        };
        for line in lines {
            chunk.push(source, at, line);
        }
        self.line = chunk.last();
        assert!(
            store::log::append(self.ctx.db.writer(), &chunk)
                .await
                .unwrap()
        );
        self.ctx.bus.publish(Event::Log(id, self.line)).await;
    }

    /// Ends the run.
    pub(crate) async fn end(&self, how: &Transition) {
        let tx = self.ctx.db.begin().await.unwrap();
        let guard = Guard::Fence(self.row.fence);
        assert!(
            store::apply(&tx, &self.row, guard, how, db::now())
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        self.changed().await;
    }

    async fn changed(&self) {
        self.ctx.bus.publish(Event::Changed(self.row.id)).await;
    }
}
