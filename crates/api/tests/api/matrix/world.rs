//! The callers of the matrix, and the things that they reach for.

use sea_orm::ActiveValue::Set;
use slipway_core::{
    access::{Actor, ProjectRole, SystemRole},
    account::{
        self,
        service::tokens::{self, NewToken},
    },
    db, deployment,
    field::Remark,
    id::{DeploymentId, TargetId, UserId},
    lock::service::{Address, LockInput},
    project::{self, policy::QueuePolicy, service::NewProject},
    target::{self, entity::TargetKind, service::NewTarget},
    variable, vault,
};

use super::notifications::{self, Notifications};
use crate::app::{Client, TestApp, unique};

pub(super) const PIPELINE: &str = "after: [{ name: a, run: 'true' }]";

/// A kind of caller: roles and how they signed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) role: SystemRole,
    pub(super) member: Option<ProjectRole>,
    pub(super) by_token: bool,
}

impl Class {
    pub(super) fn all() -> Vec<Self> {
        let memberships = [None, Some(ProjectRole::Member), Some(ProjectRole::Owner)];
        let mut all = Vec::new();
        for role in SystemRole::ALL {
            for member in memberships {
                all.extend([false, true].map(|by_token| Self {
                    role,
                    member,
                    by_token,
                }));
            }
        }
        all
    }

    /// The column of the table of rights, in their own project or in one of others.
    pub(super) fn column(self, is_own: bool) -> usize {
        match (self.role, self.member.filter(|_| is_own)) {
            (SystemRole::Admin, _) => 0,
            (SystemRole::Manager, _) => 1,
            (SystemRole::Developer, Some(ProjectRole::Owner)) => 2,
            (SystemRole::Developer, Some(ProjectRole::Member)) => 3,
            (SystemRole::Developer, None) => 4,
            (SystemRole::Viewer, _) => 5,
        }
    }
}

/// A project with one of everything.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) slug: String,
    pub(super) target: TargetId,
    pub(super) member: UserId,
    pub(super) deployment: DeploymentId,
    pub(super) notifications: Notifications,
}

/// A caller with a project of theirs and one of others.
pub(super) struct World<'a> {
    app: &'a TestApp,
    pub(super) class: Class,
    pub(super) client: Client,
    pub(super) token: String,
    /// Proves that a form is from one of the caller's pages.
    pub(super) form_token: String,
    pub(super) own: Place,
    pub(super) foreign: Place,
}

impl<'a> World<'a> {
    pub(super) async fn new(app: &'a TestApp, class: Class) -> Self {
        let email = format!("{}-{}@example.com", class.role, unique());
        let user = app.plain_user(&email, class.role).await;
        let client = app.session_of(user).await;
        let (_, token) = make_token(app, client.actor()).await;
        let form_token = client.get("/").await.token();
        let own = place(app, Some((client.actor(), class.member))).await;
        let foreign = place(app, None).await;
        Self {
            app,
            class,
            client,
            token,
            form_token,
            own,
            foreign,
        }
    }

    /// Puts things back that a caller who may has changed.
    pub(super) async fn renew(&mut self, is_own: bool) {
        if is_own {
            self.own = place(self.app, Some((self.client.actor(), self.class.member))).await;
        } else {
            self.foreign = place(self.app, None).await;
        }
    }

    /// Gives the caller their role back.
    pub(super) async fn renew_role(&self) {
        let values = account::entity::user::ActiveModel {
            role: Set(self.class.role),
            ..Default::default()
        };
        let (conn, id) = (self.app.ctx.db.writer(), self.client.actor().user);
        let counted = deployment::store::revision::count(conn).await.unwrap();
        let written = account::store::update_user(conn, &counted, id, values);
        written.await.unwrap();
    }

    /// Takes the caller's wrong passwords back.
    pub(super) async fn forget_failures(&self) {
        let key = account::sign_in::email_key(&self.client.actor().email);
        let key = account::sign_in::throttled_as(&key);
        account::throttle::succeeded(&self.app.ctx, &key)
            .await
            .unwrap();
    }

    /// Signs in anew, after signing out.
    pub(super) async fn sign_in(&mut self) {
        self.client = self.app.session_of(self.client.actor().user).await;
        self.form_token = self.client.get("/").await.token();
    }

    /// Another token or session of the caller, or of somebody else.
    pub(super) async fn thing(&self, path: &str, is_own: bool) -> i64 {
        let owner = if is_own {
            self.client.actor()
        } else {
            &self.app.admin
        };
        if path.contains("/tokens/") {
            return make_token(self.app, owner).await.0;
        }
        let client = self.app.session_of(owner.user).await;
        let account::entity::session::Model { id, .. } =
            account::service::sessions(&self.app.ctx, client.actor())
                .await
                .unwrap()
                .remove(0);
        id.0
    }
}

async fn make_token(app: &TestApp, actor: &Actor) -> (i64, String) {
    use secrecy::ExposeSecret as _;
    let new = NewToken::unlimited("matrix".parse().unwrap());
    let made = tokens::create(&app.ctx, actor, None, new, db::now());
    let (row, plain) = made.await.unwrap();
    (row.id.0, plain.expose_secret().to_owned())
}

/// A new project; its Owner is an Admin, who may add somebody.
async fn place(app: &TestApp, with: Option<(&Actor, Option<ProjectRole>)>) -> Place {
    let (ctx, admin, now) = (&app.ctx, &app.admin, db::now());
    // As long as all others, so that none is a part of another.
    let slug = format!("place-{:06}", unique());
    let input = NewProject {
        slug: slug.parse().unwrap(),
        name: slug.parse().unwrap(),
        repository: None,
        default_branch: "main".parse().unwrap(),
        queue_policy: QueuePolicy::QueueAll,
        retry_attempts: None,
        retry_delays: None,
    };
    project::service::create(ctx, admin, input, now)
        .await
        .unwrap();
    let pipeline = project::service::set_pipeline(ctx, admin, &slug, PIPELINE, now);
    pipeline.await.unwrap();
    let input = NewTarget {
        slug: "live".parse().unwrap(),
        kind: TargetKind::Local,
        path: "/srv/live".parse().unwrap(),
        strategy: "{}".to_owned(),
        auto_deploy: None,
    };
    let target = target::service::create(ctx, admin, &slug, input, now)
        .await
        .unwrap();
    values(app, &slug).await;
    let email = format!("member-{}@example.com", unique());
    let member = app.plain_user(&email, SystemRole::Developer).await;
    let mut members = vec![(member, Some(ProjectRole::Member))];
    members.extend(with.and_then(|(actor, role)| role.map(|_| (actor.user, role))));
    for change in members {
        let set = project::service::members::set(ctx, admin, &slug, change, now);
        set.await.unwrap();
    }
    for address in [Address::Project(&slug), Address::Target(&slug, "live")] {
        let lock = LockInput {
            reason: "stocktaking".parse().unwrap(),
            expires_at: None,
        };
        slipway_core::lock::service::put(ctx, admin, address, lock, now)
            .await
            .unwrap();
    }
    let note: Remark = format!("note of {slug}").parse().unwrap();
    let input = deployment::service::DeployInput {
        target: "live".to_owned(),
        ref_name: None,
        note: Some(note),
        key: None,
    };
    let made = deployment::service::request(ctx, admin, &slug, input)
        .await
        .unwrap();
    Place {
        notifications: notifications::of(app, &slug).await,
        target: target.id,
        member,
        deployment: made.row.id,
        slug,
    }
}

async fn values(app: &TestApp, slug: &str) {
    let (ctx, admin, now) = (&app.ctx, &app.admin, db::now());
    let input = variable::service::VariableInput {
        name: "NAME".parse().unwrap(),
        value: format!("value of {slug}"),
        target: None,
    };
    variable::service::put(ctx, admin, slug, input, now)
        .await
        .unwrap();
    let input = vault::service::SecretInput {
        name: "NAME".parse().unwrap(),
        value: "hunter2".into(),
        target: None,
    };
    vault::service::put(ctx, admin, slug, input, now)
        .await
        .unwrap();
    slipway_core::ssh::service::generate(ctx, admin, slug, None, now)
        .await
        .unwrap();
}
