//! Who wants to deploy where: the token's owner; project, role and target with one query.

use sea_orm::{ConnectionTrait, FromQueryResult, sea_query};
use sea_query::{Expr, ExprTrait as _, JoinType, Query, SelectStatement, SimpleExpr};

use crate::{
    access::ProjectRole,
    account::{
        entity::api_token,
        store::{KnownToken, find_tokens},
    },
    db::{Db, distinct},
    deployment::store::revision,
    error::Result,
    field::Slug,
    id::{ProjectId, TargetId, UserId},
    lock,
    project::{
        entity::{self as project, membership},
        policy::QueuePolicy,
    },
    target::entity as target,
};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Asker {
    /// Somebody who is known.
    User(UserId),
    /// The owner of the API token with this hash.
    Token(String),
}

/// Who wants to deploy where; project and target by slug or id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Who.
    pub asker: Asker,
    /// The project.
    pub project: String,
    /// The target.
    pub target: String,
}

/// A project as a request to deploy needs it.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Scene {
    /// The project.
    pub id: ProjectId,
    /// Its short name.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Where its commits come from.
    pub repository: Option<String>,
    /// What is deployed unless the request says otherwise.
    pub default_branch: String,
    /// A bit for each event that anybody is told of.
    pub told: i64,
    /// What happens to requests while others wait.
    pub queue_policy: QueuePolicy,
    /// Not 0 when it has a pipeline.
    pub has_pipeline: i64,
    /// The asker's role in it.
    pub role: Option<ProjectRole>,
    /// The target, if the project has one by that name.
    pub target_id: Option<TargetId>,
    /// The target's short name.
    pub target_slug: Option<String>,
    /// How many locks there are on anything.
    pub locks: i64,
}

/// What is known of a question.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The asker's token, if there is one with that hash.
    pub token: Option<KnownToken>,
    /// The project with the asker's role and the target.
    pub scene: Option<Scene>,
    /// How often anything like it had changed before that was read.
    pub revision: i64,
}

/// What is known of these questions, in order; asked with one trip to the database.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Db, questions: &[Question]) -> Result<Vec<Known>> {
    let hashes: Vec<String> = questions
        .iter()
        .filter_map(|question| match &question.asker {
            Asker::User(_) => None,
            Asker::Token(hash) => Some(hash.clone()),
        })
        .collect();
    db.ask_at_once(|line| async move {
        let tokens = async {
            if hashes.is_empty() {
                Ok(Vec::new())
            } else {
                find_tokens(&line, &hashes).await
            }
        };
        let revision = revision::current(&line);
        let (revision, tokens, scenes) =
            tokio::try_join!(biased; revision, tokens, scenes(&line, questions))?;
        let mut tokens = tokens.into_iter();
        let each = questions.iter().zip(scenes);
        let known = each.map(|(question, scene)| Known {
            token: match question.asker {
                Asker::User(_) => None,
                Asker::Token(_) => tokens.next().flatten(),
            },
            scene,
            revision,
        });
        Ok(known.collect())
    })
    .await
}

async fn scenes(conn: &impl ConnectionTrait, questions: &[Question]) -> Result<Vec<Option<Scene>>> {
    let asked = questions
        .iter()
        .map(|question| (&question.asker, question.project.as_str()));
    let mut found: Vec<Option<Scene>> = questions.iter().map(|_| None).collect();
    for (asker, project) in distinct(asked) {
        let of_this = |question: &Question| question.asker == *asker && question.project == project;
        let targets: Vec<&str> = questions
            .iter()
            .filter(|question| of_this(question))
            .map(|question| question.target.as_str())
            .collect();
        let Some(query) = query(asker, project, &targets) else {
            continue;
        };
        let statement = conn.get_database_backend().build(&query);
        let scenes = Scene::find_by_statement(statement).all(conn).await?;
        for (question, place) in questions.iter().zip(&mut found) {
            if of_this(question) {
                let named = scenes.iter().find(|scene| scene.is_at(&question.target));
                *place = named.or(scenes.first()).map(|scene| Scene {
                    target_id: named.and_then(|scene| scene.target_id),
                    ..scene.clone()
                });
            }
        }
    }
    Ok(found)
}

impl Scene {
    fn is_at(&self, target: &str) -> bool {
        match target.parse::<TargetId>() {
            Ok(id) => self.target_id == Some(id),
            Err(_) => self.target_slug.as_deref() == Some(target),
        }
    }
}

fn owner_of(hash: &str) -> SimpleExpr {
    let owner = Query::select()
        .column(api_token::Column::UserId)
        .from(api_token::Entity)
        .and_where(Expr::col(api_token::Column::TokenHash).eq(hash))
        .to_owned();
    SimpleExpr::SubQuery(None, Box::new(owner.into()))
}

/// Nothing when this cannot be the name of a project.
fn query(asker: &Asker, project: &str, targets: &[&str]) -> Option<SelectStatement> {
    let column = |table: &'static str, name: &'static str| Expr::col((table, name));
    let named = match project.parse::<ProjectId>() {
        Ok(id) => column("p", "id").eq(id),
        // MySQL overlooks spaces at the end; an address names a project exactly or not at all.
        Err(_) => {
            project.parse::<Slug>().ok()?;
            column("p", "slug").eq(project)
        }
    };
    let (mut ids, mut slugs) = (Vec::new(), Vec::new());
    for name in targets {
        match name.parse::<TargetId>() {
            Ok(id) => ids.push(id),
            Err(_) if name.parse::<Slug>().is_ok() => slugs.push((*name).to_owned()),
            Err(_) => {}
        }
    }
    let of_project = column("t", "project_id").equals(("p", "id"));
    let wanted = column("t", "slug")
        .is_in(slugs)
        .or(column("t", "id").is_in(ids));
    let own = column("m", "project_id")
        .equals(("p", "id"))
        .and(match asker {
            Asker::User(id) => column("m", "user_id").eq(*id),
            Asker::Token(hash) => column("m", "user_id").eq(owner_of(hash)),
        });
    let locks = Query::select()
        .expr(Expr::col(lock::entity::Column::Id).count())
        .from(lock::entity::Entity)
        .to_owned();
    let mut query = Query::select();
    for name in [
        "id",
        "slug",
        "name",
        "repository",
        "default_branch",
        "queue_policy",
        "told",
    ] {
        query.column(("p", name));
    }
    query
        .expr_as(
            Expr::cust("CASE WHEN p.pipeline_source IS NULL THEN 0 ELSE 1 END"),
            "has_pipeline",
        )
        .column(("m", "role"))
        .expr_as(column("t", "id"), "target_id")
        .expr_as(column("t", "slug"), "target_slug")
        .expr_as(SimpleExpr::SubQuery(None, Box::new(locks.into())), "locks")
        .from_as(project::Entity, "p")
        .join_as(JoinType::LeftJoin, membership::Entity, "m", own)
        .join_as(
            JoinType::LeftJoin,
            target::Entity,
            "t",
            of_project.and(wanted),
        )
        .and_where(named);
    Some(query)
}
