//! One project with a repository and a target, one worker, and ways to look at what they did.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use slipway_core::{
    access::{Actor, Credential},
    account::{
        first_admin::{self, Wanted},
        store::list_users,
    },
    ctx::Ctx,
    db::{self, Db},
    deployment::{
        entity::deployment::Model,
        service::{self, DeployInput},
        store,
    },
    id::{DeploymentId, UserId},
    project::{self, policy::QueuePolicy, repository::RepositoryUrl, service::NewProject},
    recovery::duties::probe_once,
    schema,
    settings::load::{Source, load},
    start,
    target::{self, entity::TargetKind, service::NewTarget},
    variable::{self, service::VariableInput},
    vault::{self, service::SecretInput},
};
use slipway_testkit::{GitRepo, TestDatabase, built, eventually, sqlite_database};
use slipway_worker::{guard::Program, runner::Runner};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing here takes long; a machine that is busy with something else gets this much patience.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const PROJECT: &str = "shop";
pub(crate) const TARGET: &str = "prod";

/// Everything around a worker.
pub(crate) struct Rig {
    pub(crate) ctx: Ctx,
    pub(crate) admin: Actor,
    pub(crate) repo: GitRepo,
    pub(crate) dir: TempDir,
    pub(crate) guard: Program,
    _database: TestDatabase,
}

/// A worker; dropping it ends its lease keeper.
pub(crate) struct TestWorker {
    pub(crate) runner: Runner,
    pub(crate) hand_back: CancellationToken,
    _over: DropGuard,
}

/// A worker that takes whatever comes.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    worker: TestWorker,
}

impl Rig {
    /// A rig on SQLite whose project has this pipeline.
    pub(crate) async fn new(pipeline: &str) -> Self {
        Self::with(pipeline, &[]).await
    }

    /// The same with other settings.
    pub(crate) async fn with(pipeline: &str, settings: &[(&str, &str)]) -> Self {
        let rig = Self::bare(sqlite_database(), settings).await;
        rig.project(Some(rig.repo.path())).await;
        rig.pipeline(pipeline).await;
        rig
    }

    /// A rig without a project.
    pub(crate) async fn bare(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        // Health checks need one; whichever test of this process is first installs it.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let (dir, repo) = (TempDir::new().unwrap(), GitRepo::new());
        repo.commit_file("index.html", "one\n");
        let mut environment: BTreeMap<String, String> =
            database.environment().into_iter().collect();
        let own = [
            ("SECURITY__ENCRYPTION_KEY", KEY),
            ("SECURITY__SESSION_SECRET", KEY),
            ("WORKER__DIR", dir.path().join("worker").to_str().unwrap()),
            (
                "REPOSITORIES__LOCAL_PATHS",
                repo.path().parent().unwrap().to_str().unwrap(),
            ),
            ("QUEUE__RETRY_DELAYS", "[1]"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        let given = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        for (name, value) in own.into_iter().chain(given) {
            environment.insert(format!("SLIPWAY__{name}"), value);
        }
        let settings = load(&Source::default(), &environment).unwrap();
        settings.check().unwrap();
        let db = Db::connect(&settings.database).await.unwrap();
        schema::migrate(&db, &settings.database).await.unwrap();
        let backends = slipway_queue::in_memory();
        let ctx = start::open(settings, backends.queue, backends.bus)
            .await
            .unwrap();
        probe_once(&ctx).await;
        Self {
            admin: admin(&ctx).await,
            ctx,
            repo,
            dir,
            guard: guard_program(),
            _database: database,
        }
    }

    /// A path beside the worker's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes the project and its target.
    pub(crate) async fn project(&self, repository: Option<&Path>) {
        let local = &self.ctx.settings.repositories.local_paths;
        let new = NewProject {
            slug: PROJECT.parse().unwrap(),
            name: "Shop".parse().unwrap(),
            repository: repository
                .map(|path| RepositoryUrl::parse(path.to_str().unwrap(), local).unwrap()),
            default_branch: "main".parse().unwrap(),
            queue_policy: QueuePolicy::QueueAll,
            retry_attempts: None,
            retry_delays: None,
        };
        project::service::create(&self.ctx, &self.admin, new, db::now())
            .await
            .unwrap();
        self.target(TARGET).await;
    }

    /// Makes a target in a folder of its own name.
    pub(crate) async fn target(&self, slug: &str) {
        let path = self.path(slug);
        let new = NewTarget {
            slug: slug.parse().unwrap(),
            kind: TargetKind::Local,
            path: path.to_str().unwrap().parse().unwrap(),
            strategy: "{}".to_owned(),
            auto_deploy: None,
        };
        target::service::create(&self.ctx, &self.admin, PROJECT, new, db::now())
            .await
            .unwrap();
    }

    pub(crate) async fn pipeline(&self, source: &str) {
        project::service::set_pipeline(&self.ctx, &self.admin, PROJECT, source, db::now())
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
    }

    pub(crate) async fn variable(&self, name: &str, value: &str, target: Option<&str>) {
        let input = VariableInput {
            name: name.parse().unwrap(),
            value: value.to_owned(),
            target: target.map(ToOwned::to_owned),
        };
        variable::service::put(&self.ctx, &self.admin, PROJECT, input, db::now())
            .await
            .unwrap();
    }

    pub(crate) async fn secret(&self, name: &str, value: &str, target: Option<&str>) {
        let input = SecretInput {
            name: name.parse().unwrap(),
            value: value.into(),
            target: target.map(ToOwned::to_owned),
        };
        vault::service::put(&self.ctx, &self.admin, PROJECT, input, db::now())
            .await
            .unwrap();
    }

    /// Asks for a deployment of the default branch to the usual target.
    pub(crate) async fn deploy(&self) -> DeploymentId {
        self.deploy_to(TARGET, None).await
    }

    pub(crate) async fn deploy_ref(&self, reference: &str) -> DeploymentId {
        self.deploy_to(TARGET, Some(reference)).await
    }

    pub(crate) async fn deploy_to(&self, target: &str, reference: Option<&str>) -> DeploymentId {
        let wanted = DeployInput {
            target: target.to_owned(),
            ref_name: reference.map(|name| name.parse().unwrap()),
            note: None,
            key: None,
        };
        service::request(&self.ctx, &self.admin, PROJECT, wanted)
            .await
            .unwrap_or_else(|error| panic!("{error:?}"))
            .row
            .id
    }

    pub(crate) async fn cancel(&self, id: DeploymentId) {
        service::cancel(&self.ctx, &self.admin, id, db::now())
            .await
            .unwrap();
    }

    /// Writes down that somebody wants a deployment to stop, and tells nobody.
    pub(crate) async fn cancel_is_asked_for(&self, id: DeploymentId) {
        let (conn, row) = (self.ctx.db.writer(), self.row(id).await);
        let asked = store::apply::request_cancel(conn, &row, self.admin.user, db::now()).await;
        assert!(asked.unwrap());
    }

    /// Deploys and runs everything to its end with a worker of its own.
    pub(crate) async fn deployed(&self) -> Model {
        let id = self.deploy().await;
        self.finished(id).await
    }

    /// Runs what waits until this deployment has ended.
    pub(crate) async fn finished(&self, id: DeploymentId) -> Model {
        let worker = self.worker();
        worker.finish(self, id).await
    }

    /// A worker that runs only when it is told to.
    pub(crate) fn worker(&self) -> TestWorker {
        let (over, hand_back) = (CancellationToken::new(), CancellationToken::new());
        let runner = slipway_worker::start::prepare(
            &self.ctx,
            self.guard.clone(),
            over.clone(),
            hand_back.clone(),
        );
        let runner = runner.unwrap();
        TestWorker {
            runner,
            hand_back,
            _over: over.drop_guard(),
        }
    }

    /// A worker that takes whatever comes.
    pub(crate) fn start(&self) -> Running {
        let (worker, stop) = (self.worker(), CancellationToken::new());
        let (runner, token) = (worker.runner.clone(), stop.clone());
        let task = tokio::spawn(async move { runner.run(&token).await });
        Running { stop, task, worker }
    }
}

impl TestWorker {
    /// Ends the guard as nobody should.
    pub(crate) fn kill_guard(&self) {
        let guard = self.runner.work().guard.id().expect("it has one");
        let guard = rustix::process::Pid::from_raw(guard).unwrap();
        rustix::process::kill_process(guard, rustix::process::Signal::KILL).unwrap();
    }

    /// Runs one deployment, which has to be there.
    pub(crate) async fn once(&self) {
        assert!(self.runner.run_once().await, "nothing to run");
    }

    /// Runs what waits until this deployment has ended.
    pub(crate) async fn finish(&self, rig: &Rig, id: DeploymentId) -> Model {
        eventually(DEADLINE, async || {
            self.runner.run_once().await;
            let row = rig.row(id).await;
            if row.status.is_terminal() {
                Ok(row)
            } else {
                Err(row)
            }
        })
        .await
    }
}

impl Running {
    /// Lets what runs come to its end, and ends the worker.
    pub(crate) async fn drain(self) {
        self.stop.cancel();
        self.task.await.expect("the worker's loop does not panic");
    }

    /// Ends the worker and makes it give back what it runs.
    pub(crate) async fn hand_back(self) {
        self.worker.hand_back.cancel();
        self.drain().await;
    }
}

/// Tests are no guards, so the worker's own binary is the guard of workers in tests.
pub(crate) fn guard_program() -> Program {
    Program::at(built("slipway-worker"))
}

async fn admin(ctx: &Ctx) -> Actor {
    let wanted = Wanted {
        email: Some("ann@example.com".to_owned()),
        password: Some("correct horse battery staple".into()),
    };
    first_admin::ensure(ctx, wanted, db::now()).await.unwrap();
    let users = list_users(ctx.db.reader(), UserId(0), 1).await.unwrap();
    let user = users.into_iter().next().expect("the Admin exists");
    Actor {
        user: user.id,
        email: user.email,
        name: user.name,
        role: user.role,
        address: String::new(),
        limits: None,
        credential: Credential::Console,
    }
}

/// A master key for tests.
const KEY: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";
