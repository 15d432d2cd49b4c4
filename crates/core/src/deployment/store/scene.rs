//! Where somebody wants to deploy: project, role and target with one query.

use sea_orm::{ConnectionTrait, FromQueryResult, sea_query};
use sea_query::{Expr, ExprTrait as _, JoinType, Query, SelectStatement, SimpleExpr};

use crate::{
    access::ProjectRole,
    db::distinct,
    deployment::{entity::deployment, status::Status},
    error::Result,
    field::Slug,
    id::{DeploymentId, ProjectId, TargetId, UserId},
    lock,
    project::{
        entity::{self as project, membership},
        policy::QueuePolicy,
    },
    target::entity as target,
};

/// Who wants to deploy where; project and target by slug or id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Who.
    pub user: UserId,
    /// The project.
    pub project: String,
    /// The target.
    pub target: String,
}

/// A project as a request to deploy needs it.
#[derive(Clone, Debug, FromQueryResult)]
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
    /// The deployment that holds the target.
    pub holder_id: Option<DeploymentId>,
    /// Whether it runs, or waits for its next attempt.
    pub holder_status: Option<Status>,
    /// How many locks there are on anything.
    pub locks: i64,
}

/// The projects that these questions name, each with the asker's role and the target; in order.
///
/// # Errors
/// When the database fails.
pub async fn find(
    conn: &impl ConnectionTrait,
    questions: &[Question],
) -> Result<Vec<Option<Scene>>> {
    let asked = questions
        .iter()
        .map(|question| (question.user, question.project.as_str()));
    let mut found: Vec<Option<Scene>> = questions.iter().map(|_| None).collect();
    for (user, project) in distinct(asked) {
        let of_this = |question: &Question| question.user == user && question.project == project;
        let targets: Vec<&str> = questions
            .iter()
            .filter(|question| of_this(question))
            .map(|question| question.target.as_str())
            .collect();
        let Some(query) = query(user, project, &targets) else {
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

/// Nothing when this cannot be the name of a project.
fn query(user: UserId, project: &str, targets: &[&str]) -> Option<SelectStatement> {
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
        .and(column("m", "user_id").eq(user));
    let held = column("h", "id").equals(("t", "holder_id"));
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
        .column(("t", "holder_id"))
        .expr_as(column("h", "status"), "holder_status")
        .expr_as(SimpleExpr::SubQuery(None, Box::new(locks.into())), "locks")
        .from_as(project::Entity, "p")
        .join_as(JoinType::LeftJoin, membership::Entity, "m", own)
        .join_as(
            JoinType::LeftJoin,
            target::Entity,
            "t",
            of_project.and(wanted),
        )
        .join_as(JoinType::LeftJoin, deployment::Entity, "h", held)
        .and_where(named);
    Some(query)
}
