//! What a request was decided on, remembered from an earlier one, and how the database is asked
//! whether all of it still holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use sea_orm::{
    Value,
    sea_query::{Expr, ExprTrait as _, Func, JoinType, Query, SelectStatement, SimpleExpr},
};

use super::scene::{Question, Scene};
use crate::{
    account::{
        entity::{api_token, user},
        sign_in::TOUCH_EVERY,
        store::KnownToken,
    },
    db::distinct,
    deployment::status::Status,
    id::TargetId,
    lock,
    notify::outbox::deployment::{mask, requested},
    project::{
        entity::{self as project, membership},
        policy::QueuePolicy,
    },
    target::entity as target,
};

/// Most questions that are remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 4096;

/// What a request was decided on.
#[derive(Clone, Debug)]
pub struct Premise {
    /// The token and its owner.
    pub token: KnownToken,
    /// The project, the owner's role in it, and the target.
    pub scene: Scene,
    target: (TargetId, String),
    /// The scene without the target, by which a batch tells who asks for the same but there.
    place: Scene,
}

impl Premise {
    /// Nothing for what the transaction that asks could not accept by itself.
    #[must_use]
    pub fn new(token: Option<KnownToken>, scene: Option<Scene>) -> Option<Self> {
        let (token, scene) = token.zip(scene)?;
        let target = scene.target_id.zip(scene.target_slug.clone())?;
        let is_heard = scene.told & mask(&requested(Status::Queued)) != 0;
        let is_plain = scene.queue_policy == QueuePolicy::QueueAll && scene.locks == 0 && !is_heard;
        is_plain.then(|| Self {
            token,
            place: Scene {
                target_id: None,
                target_slug: None,
                ..scene.clone()
            },
            scene,
            target,
        })
    }
}

/// What this process remembers. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub struct Premises(Arc<Mutex<HashMap<Question, Arc<Premise>>>>);

impl Premises {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Arc<Premise>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an earlier request of the kind was decided on, unless the use of its token is to be
    /// written down again.
    #[must_use]
    pub fn about(&self, question: &Question, now: DateTime<Utc>) -> Option<Arc<Premise>> {
        let premise = self.lock().get(question).map(Arc::clone)?;
        let used = premise.token.used_at?;
        (used + TOUCH_EVERY >= now).then_some(premise)
    }

    /// Remembers.
    pub fn learn(&self, question: Question, premise: Premise) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(question, Arc::new(premise));
    }

    /// Forgets.
    pub fn forget(&self, question: &Question) {
        self.lock().remove(question);
    }
}

/// Conditions that are met together exactly if each of these premises still holds.
#[must_use]
pub fn conditions(premises: &[&Premise]) -> Vec<SimpleExpr> {
    let mut rest: Vec<&Premise> = premises.to_vec();
    let mut conditions = Vec::new();
    while let Some(first) = rest.first().copied() {
        // Who deploys to many targets at once is asked about once.
        let (alike, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|it| it.is_like(first));
        rest = others;
        let targets = distinct(alike.into_iter().map(|premise| premise.target.clone()));
        let count = i64::try_from(targets.len()).unwrap_or(i64::MAX);
        let found = SimpleExpr::SubQuery(None, Box::new(first.found(targets).into()));
        conditions.push(found.eq(count));
    }
    conditions
}

impl Premise {
    /// Whether another one differs in nothing but the target.
    fn is_like(&self, other: &Self) -> bool {
        self.token == other.token && self.place == other.place
    }

    /// Counts those of the targets that are still as they were, which is none of them when anything
    /// else is not.
    fn found(&self, targets: Vec<(TargetId, String)>) -> SelectStatement {
        let (token, scene) = (&self.token, &self.scene);
        let owner = of("u", "id").equals(("k", "user_id"));
        let here = of("p", "id").eq(scene.id);
        let own = of("m", "project_id")
            .equals(("p", "id"))
            .and(of("m", "user_id").equals(("u", "id")));
        let its = of("t", "project_id").equals(("p", "id"));
        let locks = Query::select()
            .expr(Func::count(Expr::col(lock::entity::Column::Id)))
            .from(lock::entity::Entity)
            .to_owned();
        let has_pipeline = if scene.has_pipeline == 0 {
            of("p", "pipeline_source").is_null()
        } else {
            of("p", "pipeline_source").is_not_null()
        };
        let mut query = Query::select();
        query
            .expr(Func::count(of("t", "id")))
            .from_as(api_token::Entity, "k")
            .join_as(JoinType::InnerJoin, user::Entity, "u", owner)
            .join_as(JoinType::InnerJoin, project::Entity, "p", here)
            .join_as(JoinType::LeftJoin, membership::Entity, "m", own)
            .join_as(JoinType::InnerJoin, target::Entity, "t", its)
            .and_where(of("k", "id").eq(token.id))
            .and_where(of("k", "token_hash").eq(token.token_hash.as_str()))
            .and_where(same("k", "expires_at", token.expires_at))
            .and_where(of("k", "scopes").eq(token.scopes.as_str()))
            .and_where(same("k", "projects", token.projects.as_deref()))
            .and_where(of("u", "id").eq(token.user_id))
            .and_where(of("u", "email").eq(token.email.as_str()))
            .and_where(of("u", "name").eq(token.name.as_str()))
            .and_where(of("u", "role").eq(token.role))
            .and_where(same("u", "disabled_at", token.disabled_at))
            .and_where(of("p", "slug").eq(scene.slug.as_str()))
            .and_where(of("p", "name").eq(scene.name.as_str()))
            .and_where(same("p", "repository", scene.repository.as_deref()))
            .and_where(of("p", "default_branch").eq(scene.default_branch.as_str()))
            .and_where(of("p", "told").eq(scene.told))
            .and_where(of("p", "queue_policy").eq(scene.queue_policy))
            .and_where(has_pipeline)
            .and_where(same("m", "role", scene.role))
            .and_where(SimpleExpr::SubQuery(None, Box::new(locks.into())).eq(scene.locks));
        let named = targets.into_iter().map(|(id, slug)| {
            let is = of("t", "id").eq(id);
            is.and(of("t", "slug").eq(slug))
        });
        if let Some(any) = named.reduce(SimpleExpr::or) {
            query.and_where(any);
        }
        query
    }
}

fn of(table: &'static str, column: &'static str) -> Expr {
    Expr::col((table, column))
}

fn same(table: &'static str, column: &'static str, value: Option<impl Into<Value>>) -> SimpleExpr {
    match value {
        Some(value) => of(table, column).eq(value.into()),
        None => of(table, column).is_null(),
    }
}
