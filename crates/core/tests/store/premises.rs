//! Requests that are decided on what is remembered: nothing that has changed since is overlooked.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DbErr, ExecResult, QueryResult, Statement};
use secrecy::ExposeSecret as _;
use slipway_core::{
    access::{Actor, ProjectRole, SystemRole},
    account::{
        service::{
            self as accounts, UserChange,
            tokens::{self, NewToken},
        },
        sign_in::Bearer,
    },
    ctx::Ctx,
    db::{self, Connection, Db, Relay, RelayTransaction},
    deployment::store::revision,
    deployment::{
        by_token,
        queue_place::WaitingFor,
        service::Detail,
        store::{
            premise::REMEMBERED_FOR,
            scene::{self, Asker, Question},
        },
    },
    error::{Error, Result},
    id::TokenId,
    lock::{
        self,
        service::{Address, LockInput},
    },
    project::{
        self,
        policy::QueuePolicy,
        service::{ProjectChange, members},
    },
    target::{self, service::TargetChange},
};

use tokio::sync::Notify;

use crate::rig::{PIPELINE, Rig, Site, deploy_input, minutes_later};

everywhere! {
    nothing_that_was_counted_is_overlooked,
    every_service_counts_what_it_changes,
    a_token_is_seen_to_be_used_although_it_is_remembered,
    processes_that_accept_at_the_same_time_lose_and_repeat_nothing,
    a_key_that_comes_again_is_recognised,
}

/// Somebody's token for a site.
struct Caller {
    site: Site,
    bearer: Bearer,
    token: TokenId,
}

impl Caller {
    async fn new(rig: &Rig, slug: &str) -> Self {
        let site = rig.site(slug).await;
        let new = NewToken::unlimited("ci".parse().unwrap());
        let made = tokens::create(&rig.ctx, &site.owner, None, new, db::now()).await;
        let (row, plain) = made.unwrap();
        let bearer = Bearer::new(plain.expose_secret(), String::new()).unwrap();
        let token = row.id;
        Self {
            site,
            bearer,
            token,
        }
    }

    /// Deploys until that rests on what is remembered.
    async fn warm(&self, ctx: &Ctx) {
        for _ in 0..4 {
            self.deploy(ctx, None).await.unwrap();
        }
        assert!(self.is_remembered(ctx));
    }

    fn is_remembered(&self, ctx: &Ctx) -> bool {
        let question = Question {
            asker: Asker::Token(self.bearer.hash.clone()),
            project: self.site.project.slug.clone(),
            target: self.site.target.slug.clone(),
        };
        ctx.premises.about(&question, Instant::now()).is_some()
    }

    async fn deploy(&self, ctx: &Ctx, key: Option<&str>) -> Result<Detail> {
        let mut input = deploy_input(&self.site.target.slug);
        input.key = key.map(|key| key.parse().unwrap());
        by_token::request(ctx, &self.bearer, &self.site.project.slug, input).await
    }
}

/// A change by somebody else, and what the next request must be answered.
type Case = (&'static str, Expected);

/// Whether an answer is right.
type Expected = fn(&Result<Detail>) -> bool;

const CASES: [Case; 20] = [
    ("DELETE FROM api_tokens WHERE id = @token", is_nobody),
    (
        "UPDATE api_tokens SET expires_at = '2001-01-01 00:00:00' WHERE id = @token",
        is_nobody,
    ),
    (
        "UPDATE api_tokens SET scopes = 'read' WHERE id = @token",
        |answer| matches!(answer, Err(Error::TokenLimited)),
    ),
    (
        "UPDATE api_tokens SET projects = '[]' WHERE id = @token",
        is_hidden,
    ),
    (
        "UPDATE users SET disabled_at = '2001-01-01 00:00:00' WHERE id = @user",
        is_nobody,
    ),
    (
        "UPDATE users SET role = 'viewer' WHERE id = @user",
        |answer| matches!(answer, Err(Error::Forbidden(_))),
    ),
    (
        "UPDATE users SET name = 'Else' WHERE id = @user",
        |answer| {
            let by = answer.as_ref().ok().and_then(|it| it.requested_by.as_ref());
            by.is_some_and(|by| by.name == "Else")
        },
    ),
    ("DELETE FROM memberships WHERE user_id = @user", is_hidden),
    ("DELETE FROM projects WHERE id = @project", is_hidden),
    (
        "UPDATE projects SET slug = 'moved' WHERE id = @project",
        is_hidden,
    ),
    (
        "UPDATE projects SET name = 'New' WHERE id = @project",
        |answer| answer.as_ref().is_ok_and(|it| it.project.name == "New"),
    ),
    (
        "UPDATE projects SET pipeline_source = NULL WHERE id = @project",
        |answer| is_conflict(answer, "pipeline_missing"),
    ),
    (
        "UPDATE projects SET queue_policy = 'reject' WHERE id = @project",
        |answer| is_conflict(answer, "target_busy"),
    ),
    (
        "UPDATE projects SET queue_policy = 'keep_newest' WHERE id = @project",
        |answer| {
            let place = answer.as_ref().ok().and_then(|it| it.queue.as_ref());
            place.is_some_and(|place| place.position == 1)
        },
    ),
    (
        "UPDATE projects SET repository = 'https://example.com/r.git' WHERE id = @project",
        |answer| answer.as_ref().is_ok_and(|it| it.row.ref_name.is_some()),
    ),
    ("DELETE FROM targets WHERE id = @target", is_unknown),
    (
        "UPDATE targets SET slug = 'moved' WHERE id = @target",
        is_unknown,
    ),
    (
        "UPDATE targets SET project_id = @other WHERE id = @target",
        is_unknown,
    ),
    // Somebody else has gone through the gate.
    (
        "UPDATE queue_gate SET last_id = last_id + 5 WHERE id = 1",
        Result::is_ok,
    ),
    (
        "INSERT INTO locks (covers, reason, created_at) \
         VALUES ('everything', 'Freeze', '2001-01-01 00:00:00')",
        |answer| {
            let place = answer.as_ref().ok().and_then(|it| it.queue.as_ref());
            place.is_some_and(|place| place.waiting_for == WaitingFor::Lock)
        },
    ),
];

fn is_nobody(answer: &Result<Detail>) -> bool {
    matches!(answer, Err(Error::Unauthenticated))
}

fn is_hidden(answer: &Result<Detail>) -> bool {
    matches!(answer, Err(Error::NotFound(_)))
}

fn is_unknown(answer: &Result<Detail>) -> bool {
    matches!(answer, Err(Error::Invalid(_)))
}

fn is_conflict(answer: &Result<Detail>, wanted: &str) -> bool {
    matches!(answer, Err(Error::Conflict { code, .. }) if *code == wanted)
}

async fn nothing_that_was_counted_is_overlooked(rig: Rig) {
    let other = rig.site("other").await;
    rig.execute("UPDATE targets SET slug = 'another'", []).await;
    for (number, (change, is_right)) in CASES.into_iter().enumerate() {
        let caller = Caller::new(&rig, &format!("site-{number}")).await;
        caller.warm(&rig.ctx).await;
        let last = rig.all(&caller.site).await.last().unwrap().id;
        let token = format!(
            "(SELECT id FROM (SELECT id FROM api_tokens WHERE token_hash = '{}') own)",
            caller.bearer.hash
        );
        let sql = change
            .replace("@token", &token)
            .replace("@user", &caller.site.owner.user.to_string())
            .replace("@project", &caller.site.project.id.to_string())
            .replace("@target", &caller.site.target.id.to_string())
            .replace("@other", &other.project.id.to_string());
        assert_eq!(rig.execute(&sql, []).await, 1, "{sql}");
        rig.counted().await;
        let answer = caller.deploy(&rig.ctx, None).await;
        assert!(is_right(&answer), "{change}: {answer:?}");
        // Whatever was refused was not accepted on the way.
        let is_new = rig
            .all(&caller.site)
            .await
            .last()
            .is_some_and(|row| row.id > last);
        assert_eq!(is_new, answer.is_ok(), "{change}");
        if let Ok(detail) = answer {
            assert!(detail.row.id > last, "{change}");
        }
    }
}

/// What another process does to what a request rests on, and what the next one must be answered.
const CHANGES: [(Change, Expected); 11] = [
    (Change::TokenRevoked, is_nobody),
    (Change::UserDisabled, is_nobody),
    (Change::UserDemoted, |answer| {
        matches!(answer, Err(Error::Forbidden(_)))
    }),
    (Change::MemberRemoved, is_hidden),
    (Change::ProjectMoved, is_hidden),
    (Change::PolicyChanged, |answer| {
        is_conflict(answer, "target_busy")
    }),
    (Change::ProjectDeleted, is_hidden),
    (Change::TargetMoved, is_unknown),
    (Change::TargetDeleted, is_unknown),
    (Change::Locked, |answer| {
        let place = answer.as_ref().ok().and_then(|it| it.queue.as_ref());
        place.is_some_and(|place| place.waiting_for == WaitingFor::Lock)
    }),
    (Change::PipelineWritten, Result::is_ok),
];

#[derive(Clone, Copy, Debug)]
enum Change {
    TokenRevoked,
    UserDisabled,
    UserDemoted,
    MemberRemoved,
    ProjectMoved,
    PolicyChanged,
    ProjectDeleted,
    TargetMoved,
    TargetDeleted,
    Locked,
    PipelineWritten,
}

impl Change {
    /// Whether the database itself refuses a deployment of what has gone, so that nothing is counted.
    fn is_deletion(self) -> bool {
        matches!(self, Self::ProjectDeleted | Self::TargetDeleted)
    }

    async fn make(self, ctx: &Ctx, admin: &Actor, caller: &Caller) {
        match self {
            Self::TokenRevoked | Self::UserDisabled | Self::UserDemoted | Self::MemberRemoved => {
                self.take_rights(ctx, admin, caller).await;
            }
            _ => self.change_place(ctx, admin, &caller.site).await,
        }
    }

    async fn take_rights(self, ctx: &Ctx, admin: &Actor, caller: &Caller) {
        let (now, owner) = (db::now(), &caller.site.owner);
        let slug = caller.site.project.slug.as_str();
        let mut change = UserChange::default();
        match self {
            Self::TokenRevoked => {
                let revoked = tokens::revoke(ctx, owner, None, caller.token).await;
                return revoked.unwrap();
            }
            Self::MemberRemoved => {
                for (user, role) in [(admin.user, Some(ProjectRole::Owner)), (owner.user, None)] {
                    let set = members::set(ctx, admin, slug, (user, role), now).await;
                    set.unwrap();
                }
                return;
            }
            Self::UserDisabled => change.disabled = Some(true),
            _ => change.role = Some(SystemRole::Viewer),
        }
        let changed = accounts::update_user(ctx, admin, owner.user, change, now).await;
        changed.unwrap();
    }

    async fn change_place(self, ctx: &Ctx, admin: &Actor, site: &Site) {
        let now = db::now();
        let (slug, target) = (site.project.slug.as_str(), site.target.slug.as_str());
        let mut change = ProjectChange::default();
        match self {
            Self::ProjectDeleted => {
                return project::service::delete(ctx, admin, slug).await.unwrap();
            }
            Self::TargetDeleted => {
                let deleted = target::service::delete(ctx, admin, slug, target).await;
                return deleted.unwrap();
            }
            Self::TargetMoved => {
                let change = TargetChange {
                    slug: Some("moved".parse().unwrap()),
                    ..TargetChange::default()
                };
                let moved = target::service::update(ctx, admin, (slug, target), change, now).await;
                moved.unwrap();
                return;
            }
            Self::Locked => {
                let input = LockInput {
                    reason: "Freeze".parse().unwrap(),
                    expires_at: None,
                };
                let put = lock::service::put(ctx, admin, Address::Everything, input, now).await;
                put.unwrap();
                return;
            }
            Self::PipelineWritten => {
                let written = project::service::set_pipeline(ctx, admin, slug, PIPELINE, now).await;
                written.unwrap();
                return;
            }
            Self::ProjectMoved => change.slug = Some(format!("{slug}-moved").parse().unwrap()),
            _ => change.queue_policy = Some(QueuePolicy::Reject),
        }
        let changed = project::service::update(ctx, admin, slug, change, now).await;
        changed.unwrap();
    }
}

/// Answers how often something has changed only after whatever else was asked early on, and after
/// somebody has revoked every token.
#[derive(Debug)]
struct Late {
    db: Db,
    others: Notify,
}

#[async_trait]
impl Relay for Late {
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.db.writer().execute_raw(statement).await
    }

    async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let is_late = statement.sql.contains("revision");
        if is_late {
            let early = Duration::from_millis(100);
            let _nothing = tokio::time::timeout(early, self.others.notified()).await;
            let conn = self.db.writer();
            revision::count(conn).await.unwrap();
            conn.execute_unprepared("DELETE FROM api_tokens").await?;
        }
        let answer = self.db.reader().query_all_raw(statement).await;
        if !is_late {
            self.others.notify_one();
        }
        answer
    }

    async fn begin(&self) -> Result<Box<dyn RelayTransaction>, DbErr> {
        Err(DbErr::Custom("nobody writes".to_owned()))
    }
}

/// Facts from before a change must not look as if they were from after it.
#[tokio::test]
async fn revision_is_asked_before_what_it_stands_for_on_sqlite() {
    let rig = Rig::sqlite().await;
    let caller = Caller::new(&rig, "web").await;
    let before = revision::current(rig.ctx.db.reader()).await.unwrap();
    let late = Late {
        db: rig.ctx.db.clone(),
        others: Notify::new(),
    };
    let db = Db::over(Connection::Relay(Arc::new(late)));
    let question = Question {
        asker: Asker::Token(caller.bearer.hash.clone()),
        project: "web".to_owned(),
        target: caller.site.target.slug.clone(),
    };
    let known = scene::find(&db, &[question]).await.unwrap().pop().unwrap();
    assert_eq!(known.revision, before + 1);
    assert!(known.token.is_none(), "it was revoked by then");
}

async fn every_service_counts_what_it_changes(rig: Rig) {
    let admin = rig.user("root@example.com", SystemRole::Admin).await;
    let elsewhere = rig.limited(1000).await;
    for (number, (change, is_right)) in CHANGES.into_iter().enumerate() {
        let caller = Caller::new(&rig, &format!("site-{number}")).await;
        caller.warm(&rig.ctx).await;
        if change.is_deletion() {
            rig.execute("UPDATE deployments SET status = 'succeeded'", [])
                .await;
        }
        let before = revision::current(rig.ctx.db.reader()).await.unwrap();
        change.make(&elsewhere, &admin, &caller).await;
        let after = revision::current(rig.ctx.db.reader()).await.unwrap();
        assert_eq!(after > before, !change.is_deletion(), "{change:?}");
        let answer = caller.deploy(&rig.ctx, None).await;
        assert!(is_right(&answer), "{change:?}: {answer:?}");
        rig.execute("DELETE FROM locks", []).await;
    }
}

async fn a_token_is_seen_to_be_used_although_it_is_remembered(rig: Rig) {
    let caller = Caller::new(&rig, "web").await;
    caller.warm(&rig.ctx).await;
    let old = minutes_later(-10);
    let used = async || {
        let mut found = rig.by_hash(&caller.bearer.hash).await;
        found.pop().flatten().unwrap().used_at.unwrap()
    };
    rig.execute("UPDATE api_tokens SET used_at = ?", [old.into()])
        .await;
    // The use that is remembered is a recent one: nothing is written for every request.
    caller.deploy(&rig.ctx, None).await.unwrap();
    assert_eq!(used().await, old);
    let question = Question {
        asker: Asker::Token(caller.bearer.hash.clone()),
        project: caller.site.project.slug.clone(),
        target: caller.site.target.slug.clone(),
    };
    let later = Instant::now() + REMEMBERED_FOR + Duration::from_millis(1);
    assert!(rig.ctx.premises.about(&question, later).is_none());
    rig.ctx.premises.forget(&question);
    caller.deploy(&rig.ctx, None).await.unwrap();
    assert!(used().await > old);
}

async fn processes_that_accept_at_the_same_time_lose_and_repeat_nothing(rig: Rig) {
    let caller = Arc::new(Caller::new(&rig, "web").await);
    let processes = [rig.limited(1000).await, rig.limited(1000).await];
    for ctx in &processes {
        caller.warm(ctx).await;
    }
    let before = rig.all(&caller.site).await.len();
    let requests: Vec<_> = (0..60)
        .map(|number| {
            let (caller, ctx) = (Arc::clone(&caller), processes[number % 2].clone());
            tokio::spawn(async move {
                let key = format!("key-{number}");
                caller.deploy(&ctx, Some(&key)).await.unwrap().row.id
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for request in requests {
        ids.insert(request.await.unwrap());
    }
    assert_eq!(ids.len(), 60);
    assert_eq!(rig.all(&caller.site).await.len(), before + 60);
}

async fn a_key_that_comes_again_is_recognised(rig: Rig) {
    let caller = Caller::new(&rig, "web").await;
    caller.warm(&rig.ctx).await;
    let first = caller.deploy(&rig.ctx, Some("once")).await.unwrap();
    assert!(caller.is_remembered(&rig.ctx));
    let again = caller.deploy(&rig.ctx, Some("once")).await.unwrap();
    assert_eq!(first.row.id, again.row.id);
    caller.warm(&rig.ctx).await;
    let other = caller.deploy(&rig.ctx, Some("twice")).await.unwrap();
    assert!(other.row.id > first.row.id);
}
