//! A migrated database with people, a project and a queue, and short ways to make rows.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, Value};
use sea_orm::{ConnectionTrait as _, Statement};
use slipway_core::{
    access::{Actor, Credential, ProjectRole, SystemRole},
    account::{
        self,
        sign_in::{self, Bearer, Passed, SignedIn},
        store::{KnownToken, find_tokens},
    },
    audit::entry::{Action, Entry},
    ctx::Ctx,
    db::{self, Db},
    deployment::store::revision::{self, Counted},
    deployment::{
        self,
        admission::NewDeployment,
        entity::{deployment::Model, step},
        run::Ended,
        service::DeployInput,
        store::{
            claim::{Claim, Claimant, claim},
            ending::Last,
        },
        trigger::Trigger,
    },
    error::{Error, Result},
    id::{DeploymentId, SessionId, UserId},
    ports::{Claimed, LeaseToken},
    project::{
        self,
        policy::{QueuePolicy, RetryPolicy},
        service::NewProject,
    },
    schema,
    settings::{
        Settings,
        load::{Source, load},
    },
    target::{self, entity::TargetKind, service::NewTarget},
    vault::{load::key_ring, rotation::service::check_keys},
};
use slipway_queue::memory::{MemoryBus, MemoryQueue};
use slipway_testkit::TestDatabase;

const KEY: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";
/// A pipeline that needs nothing but a target.
pub(crate) const PIPELINE: &str = "after:\n  - name: restart\n    run: 'true'\n";
/// Long enough that no lease runs out by itself while a test looks.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// One test's surroundings. The database goes last.
pub(crate) struct Rig {
    pub(crate) ctx: Ctx,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) database: TestDatabase,
}

/// A project, its only target and its Owner.
pub(crate) struct Site {
    pub(crate) project: project::entity::Model,
    pub(crate) target: target::entity::Model,
    pub(crate) owner: Actor,
}

impl Rig {
    pub(crate) async fn sqlite() -> Self {
        Self::on(slipway_testkit::sqlite_database()).await
    }

    pub(crate) async fn mysql() -> Self {
        Self::on(slipway_testkit::mysql_database()).await
    }

    /// Who an API token belongs to.
    pub(crate) async fn by_token(&self, plain: &str, now: DateTime<Utc>) -> Result<Actor> {
        let bearer = Bearer::new(plain, String::new())?;
        sign_in::by_token(&self.ctx, &bearer, now).await
    }

    /// What is kept of the token with this hash.
    pub(crate) async fn by_hash(&self, hash: &str) -> Vec<Option<KnownToken>> {
        let hashes = [hash.to_owned()];
        find_tokens(self.ctx.db.reader(), &hashes).await.unwrap()
    }

    pub(crate) async fn on(database: TestDatabase) -> Self {
        let settings = settings(&database);
        let db = Db::connect(&settings.database).await.unwrap();
        schema::migrate(&db, &settings.database).await.unwrap();
        let queue = Arc::new(MemoryQueue::new(slipway_queue::HARD_CAP));
        let ctx = context(db, Arc::clone(&queue), settings);
        check_keys(&ctx.db, &ctx.keys, db::now()).await.unwrap();
        ctx.audit.prepare().await.unwrap();
        slipway_core::recovery::duties::probe_once(&ctx).await;
        assert!(ctx.health.is_healthy());
        Self {
            ctx,
            queue,
            database,
        }
    }

    /// The same database as another process sees it, with an empty index of its own.
    pub(crate) async fn restarted(&self, change: impl FnOnce(&mut Settings)) -> (Ctx, Db) {
        let mut settings = settings(&self.database);
        change(&mut settings);
        let db = Db::connect(&settings.database).await.unwrap();
        let queue = Arc::new(MemoryQueue::new(slipway_queue::HARD_CAP));
        let ctx = context(db.clone(), queue, settings);
        slipway_core::recovery::duties::probe_once(&ctx).await;
        (ctx, db)
    }

    /// The same process with another number of deployments that may wait.
    pub(crate) async fn limited(&self, limit: u32) -> Ctx {
        self.restarted(|settings| settings.queue.backlog_limit = limit)
            .await
            .0
    }

    pub(crate) async fn user(&self, email: &str, role: SystemRole) -> Actor {
        let now = db::now();
        let row = account::store::insert_user(
            self.ctx.db.writer(),
            account::entity::user::ActiveModel {
                email: Set(email.to_owned()),
                email_key: Set(email.to_lowercase()),
                name: Set(email.to_owned()),
                role: Set(role),
                password_hash: Set("none".to_owned()),
                created_at: Set(now),
                updated_at: Set(now),
                ..Default::default()
            },
        );
        let row = row.await.unwrap();
        Actor {
            user: row.id,
            email: row.email,
            name: row.name,
            role,
            address: "192.0.2.7".to_owned(),
            limits: None,
            credential: Credential::Session(SessionId(0)),
        }
    }

    /// A project named `slug` with one target and a pipeline; its Owner is a Developer.
    pub(crate) async fn site(&self, slug: &str) -> Site {
        self.site_with(slug, QueuePolicy::QueueAll).await
    }

    pub(crate) async fn site_with(&self, slug: &str, policy: QueuePolicy) -> Site {
        let owner = self
            .user(&format!("{slug}@example.com"), SystemRole::Developer)
            .await;
        let now = db::now();
        let mut input = new_project(slug);
        input.queue_policy = policy;
        let created = project::service::create(&self.ctx, &owner, input, now).await;
        let project = created.unwrap();
        let written = project::service::set_pipeline(&self.ctx, &owner, slug, PIPELINE, now).await;
        written.unwrap();
        let target = self.target(&owner, slug, "live").await;
        Site {
            project,
            target,
            owner,
        }
    }

    pub(crate) async fn target(
        &self,
        owner: &Actor,
        project: &str,
        slug: &str,
    ) -> target::entity::Model {
        let input = NewTarget {
            slug: slug.parse().unwrap(),
            kind: TargetKind::Local,
            path: format!("/srv/{project}/{slug}").parse().unwrap(),
            strategy: "{}".to_owned(),
            auto_deploy: None,
        };
        let created = target::service::create(&self.ctx, owner, project, input, db::now()).await;
        created.unwrap()
    }

    pub(crate) async fn member(&self, site: &Site, user: &Actor, role: ProjectRole) {
        let now = db::now();
        let (conn, who) = (self.ctx.db.writer(), (site.project.id, user.user));
        let counted = self.counted().await;
        project::store::set_role(conn, &counted, who, role, now)
            .await
            .unwrap();
    }

    /// Counts a change of what requests are decided on.
    pub(crate) async fn counted(&self) -> Counted {
        revision::count(self.ctx.db.writer()).await.unwrap()
    }

    /// A deployment that went through the front door: row and index entry.
    pub(crate) async fn deploy(&self, site: &Site) -> DeploymentId {
        let input = deploy_input(&site.target.slug);
        let asked =
            deployment::service::request(&self.ctx, &site.owner, &site.project.slug, input).await;
        asked.unwrap().row.id
    }

    /// A deployment whose process died between the commit and the push.
    pub(crate) async fn deploy_unpushed(&self, site: &Site) -> DeploymentId {
        let admitted = self.ctx.admission.request(site.wanted()).await;
        admitted.unwrap().row.id
    }

    pub(crate) async fn row(&self, id: DeploymentId) -> Model {
        let found = deployment::store::read::find(self.ctx.db.reader(), id).await;
        found.unwrap().expect("the deployment exists")
    }

    pub(crate) async fn steps(&self, id: DeploymentId) -> Vec<step::Model> {
        deployment::store::step::list(self.ctx.db.reader(), id)
            .await
            .unwrap()
    }

    pub(crate) async fn try_claim(&self, id: DeploymentId, token: &LeaseToken) -> Result<Claim> {
        let by = Claimant {
            owner: "worker-1",
            token,
            lease: LEASE,
            max_running: self.ctx.settings.queue.max_running,
        };
        claim(&self.ctx.db, id, &by, db::now()).await
    }

    /// Claims this deployment in the database, as a worker that was handed it does.
    pub(crate) async fn claim(&self, id: DeploymentId) -> Model {
        match self.try_claim(id, &token()).await.unwrap() {
            Claim::Won(row) => *row,
            other => panic!("deployment {id} was not claimed: {other:?}"),
        }
    }

    /// Takes the next entry from the index and claims its row, as a worker does.
    pub(crate) async fn claim_next(&self) -> Model {
        use slipway_core::ports::JobQueue as _;
        let token = token();
        let entry = match self.queue.claim(&token, LEASE, 100).await.unwrap() {
            Claimed::Entry(entry) => entry,
            nothing => panic!("the index has nothing to claim: {nothing:?}"),
        };
        match self.try_claim(entry.id, &token).await.unwrap() {
            Claim::Won(row) => *row,
            other => panic!("deployment {} was not claimed: {other:?}", entry.id),
        }
    }

    /// Ends a run as its worker does, with three attempts without a wait worth mentioning.
    pub(crate) async fn finish(
        &self,
        row: &Model,
        end: deployment::run::RunEnd,
    ) -> deployment::run::Next {
        self.finish_with(row, end, 1).await
    }

    pub(crate) async fn finish_with(
        &self,
        row: &Model,
        end: deployment::run::RunEnd,
        delay_ms: u64,
    ) -> deployment::run::Next {
        let retry = RetryPolicy {
            attempts: 3,
            delays_ms: vec![delay_ms],
        };
        let last = Last::default();
        self.end(row, Ended { end, retry, last }).await
    }

    /// Writes the end of a run.
    pub(crate) async fn end(&self, row: &Model, ended: Ended) -> deployment::run::Next {
        deployment::run::finish(&self.ctx, row, &ended, db::now())
            .await
            .unwrap()
    }

    /// Lets a run's lease run out now.
    pub(crate) async fn expire(&self, id: DeploymentId) {
        self.execute(
            "UPDATE deployments SET lease_until = 1 WHERE id = ?",
            [id.into()],
        )
        .await;
    }

    /// Ends the wait before a deployment's next attempt.
    pub(crate) async fn make_due(&self, id: DeploymentId) {
        self.execute(
            "UPDATE deployments SET not_before = 1 WHERE id = ?",
            [id.into()],
        )
        .await;
    }

    pub(crate) async fn execute<const N: usize>(&self, sql: &str, values: [Value; N]) -> u64 {
        let backend = self.ctx.db.backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let done = self.ctx.db.writer().execute_raw(statement).await.unwrap();
        done.rows_affected()
    }

    /// Every deployment of a site, oldest first.
    pub(crate) async fn all(&self, site: &Site) -> Vec<Model> {
        use deployment::entity::deployment::{Column, Entity};
        use sea_orm::QueryOrder as _;
        Entity::find()
            .filter(Column::ProjectId.eq(site.project.id))
            .order_by_asc(Column::Id)
            .all(self.ctx.db.reader())
            .await
            .unwrap()
    }
}

impl Site {
    /// A checked request to deploy to the site's target.
    pub(crate) fn wanted(&self) -> NewDeployment {
        NewDeployment {
            project: self.project.id,
            target: self.target.id,
            policy: self.project.queue_policy,
            ref_name: None,
            commit_id: None,
            trigger: Trigger::Manual,
            note: None,
            requested_by: Some(self.owner.user),
            retry_of: None,
            idempotency: None,
            told: self.project.told,
            premise: None,
            entry: Entry::by(&self.owner, Action::DeploymentCreate, db::now()),
        }
    }

    /// The site as seen with another target.
    pub(crate) fn at(&self, target: target::entity::Model) -> Self {
        Self {
            project: self.project.clone(),
            target,
            owner: self.owner.clone(),
        }
    }
}

pub(crate) fn settings(database: &TestDatabase) -> Settings {
    let mut environment: std::collections::BTreeMap<String, String> =
        database.environment().into_iter().collect();
    for name in ["ENCRYPTION_KEY", "SESSION_SECRET"] {
        environment.insert(format!("SLIPWAY__SECURITY__{name}"), KEY.to_owned());
    }
    load(&Source::default(), &environment).unwrap()
}

fn context(db: Db, queue: Arc<MemoryQueue>, settings: Settings) -> Ctx {
    let keys = key_ring(&settings.security).unwrap();
    Ctx::new(db, queue, Arc::new(MemoryBus::new()), keys, settings)
}

pub(crate) fn new_project(slug: &str) -> NewProject {
    NewProject {
        slug: slug.parse().unwrap(),
        name: slug.parse().unwrap(),
        repository: None,
        default_branch: "main".parse().unwrap(),
        queue_policy: QueuePolicy::QueueAll,
        retry_attempts: None,
        retry_delays: None,
    }
}

pub(crate) fn deploy_input(target: &str) -> DeployInput {
    DeployInput {
        target: target.to_owned(),
        ref_name: None,
        note: None,
        key: None,
    }
}

pub(crate) fn token() -> LeaseToken {
    LeaseToken::random().unwrap()
}

pub(crate) fn minutes_later(minutes: i64) -> DateTime<Utc> {
    db::now() + chrono::Duration::minutes(minutes)
}

/// The session of somebody who needs no second factor.
#[track_caller]
pub(crate) fn session(passed: Passed) -> SignedIn {
    match passed {
        Passed::SignedIn(signed_in) => signed_in,
        Passed::NeedsFactor(challenge) => panic!("a second factor is asked for: {challenge:?}"),
    }
}

/// The stable name of a conflict, or the whole of any other outcome.
#[track_caller]
pub(crate) fn conflict<T: std::fmt::Debug>(outcome: Result<T>) -> &'static str {
    match outcome {
        Err(Error::Conflict { code, .. }) => code,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

pub(crate) fn nobody() -> UserId {
    UserId(9_999)
}
