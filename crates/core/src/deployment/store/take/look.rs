//! What a claim sees while it holds the rows of its targets; it decides nothing.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{
        Expr, Order, Query, SelectStatement, SimpleExpr,
        extension::mysql::{IndexHintScope, MySqlSelectStatementExt as _},
    },
};

use crate::{
    db::{Line, now_us},
    deployment::{
        brief::{Brief, Followed, followed},
        entity::deployment::{Column, Entity, Model},
        status::Status,
    },
    error::Result,
    id::{DeploymentId, TargetId},
    lock,
    project::entity as project,
    target::entity as target,
    variable, vault,
};

/// The index of a target's line.
const LINE_INDEX: &str = "ix_deployments_target_id_status_id";

/// What is known of a target while its row is held.
pub(super) struct Slot {
    pub(super) target: target::Model,
    pub(super) queued: Option<DeploymentId>,
    pub(super) running: Option<DeploymentId>,
    /// Its runs are given values, plain or secret.
    is_given: bool,
}

/// A project whose pipeline is read once it is asked for.
struct Read {
    project: Arc<project::Model>,
    pipeline: OnceLock<Followed>,
}

impl From<project::Model> for Read {
    fn from(project: project::Model) -> Self {
        Self {
            project: Arc::new(project),
            pipeline: OnceLock::new(),
        }
    }
}

/// What was seen while the rows of the targets were held.
pub(super) struct Seen {
    pub(super) slots: HashMap<TargetId, Slot>,
    pub(super) locks: lock::store::Left,
    pub(super) rows: Vec<Model>,
    projects: Vec<Read>,
    /// How many run everywhere.
    pub(super) running: u64,
    /// How many more may.
    pub(super) room: u64,
    /// The database's clock.
    pub(super) now_us: i64,
}

impl Seen {
    /// The project of a deployment.
    pub(super) fn project(&self, row: &Model) -> Option<&Arc<project::Model>> {
        self.read(row).map(|it| &it.project)
    }

    fn read(&self, row: &Model) -> Option<&Read> {
        let mut projects = self.projects.iter();
        projects.find(|it| it.project.id == row.project_id)
    }

    /// What a deployment's run needs to know, if that was all seen here: most first runs need no
    /// more.
    pub(super) fn brief(&self, row: &Model) -> Option<Brief> {
        let (Read { project, pipeline }, slot) = (self.read(row)?, self.slots.get(&row.target_id)?);
        let is_first = row.fence == 0;
        if !is_first || slot.is_given || project.repository.is_some() {
            return None;
        }
        Some(Brief {
            project: Arc::clone(project),
            pipeline: pipeline.get_or_init(|| followed(project)).clone(),
            target: slot.target.clone(),
            variables: Vec::new(),
            secrets: Vec::new(),
            previous_commit: None,
            last_line: 0,
        })
    }
}

/// Holds the rows of the targets until the transaction ends, and only then looks at their lines and
/// at the locks: so nothing that is seen here can have begun or been locked meanwhile.
pub(super) async fn look(tx: Line, targets: Vec<TargetId>, ids: Vec<DeploymentId>) -> Result<Seen> {
    let held = target::Entity::find()
        .filter(target::Column::Id.is_in(targets.iter().copied()))
        .order_by_asc(target::Column::Id)
        .lock_exclusive();
    type Lined = (
        TargetId,
        Option<DeploymentId>,
        Option<DeploymentId>,
        i64,
        i64,
        i64,
    );
    let lines = target::Entity::find()
        .select_only()
        .column(target::Column::Id)
        .expr_as(nested(first(Status::Queued)), "queued")
        .expr_as(nested(first(Status::Running)), "running")
        .expr_as(nested(count(Status::Running)), "everywhere")
        .expr_as(now_us(tx.get_database_backend()), "now_us")
        .expr_as(nested(given()), "given")
        .filter(target::Column::Id.is_in(targets.iter().copied()))
        .into_tuple::<Lined>();
    let rows = Entity::find().filter(Column::Id.is_in(ids));
    let projects = project::Entity::find().filter(project::Column::Id.in_subquery(of(targets)));
    let (held, lines, locks, rows, projects) = tokio::try_join!(
        biased;
        async { Ok(held.all(&tx).await?) },
        async { Ok(lines.all(&tx).await?) },
        lock::store::left(&tx),
        async { Ok(rows.all(&tx).await?) },
        async { Ok(projects.all(&tx).await?) },
    )?;
    let (running, now_us) = lines.first().map_or((0, 0), |line| (line.3, line.4));
    let slots = held.into_iter().filter_map(|target| {
        let (_, queued, running, .., given) = lines.iter().find(|(id, ..)| *id == target.id)?;
        let slot = Slot {
            queued: *queued,
            running: *running,
            is_given: *given > 0,
            target,
        };
        Some((slot.target.id, slot))
    });
    Ok(Seen {
        slots: slots.collect(),
        locks,
        rows,
        projects: projects.into_iter().map(Read::from).collect(),
        running: u64::try_from(running).unwrap_or_default(),
        room: u64::MAX,
        now_us,
    })
}

/// The first of the target's line in a state; an index answers it however long the line is. MySQL
/// has to be told which: it may go through everything that runs for each target.
fn first(status: Status) -> SelectStatement {
    Query::select()
        .column((Entity, Column::Id))
        .from(Entity)
        .and_where(
            Expr::col((Entity, Column::TargetId)).equals((target::Entity, target::Column::Id)),
        )
        .and_where(Expr::col((Entity, Column::Status)).eq(status))
        .order_by((Entity, Column::Id), Order::Asc)
        .force_index(LINE_INDEX, IndexHintScope::All)
        .limit(1)
        .to_owned()
}

/// The projects of targets.
fn of(targets: Vec<TargetId>) -> SelectStatement {
    Query::select()
        .column(target::Column::ProjectId)
        .from(target::Entity)
        .and_where(target::Column::Id.is_in(targets))
        .to_owned()
}

/// Whether the target's runs are given values, plain or secret.
fn given() -> SelectStatement {
    use variable::entity as plain;
    use vault::entity as secret;
    let is_own = |project: SimpleExpr, scope: SimpleExpr| {
        let target = |column| Expr::col((target::Entity, column));
        let is_its = scope.clone().eq(target(target::Column::Id));
        let of_project = project.eq(target(target::Column::ProjectId));
        of_project.and(scope.eq(0_i64).or(is_its))
    };
    let plain = Query::select()
        .expr(Expr::value(1_i64))
        .from(plain::Entity)
        .and_where(is_own(
            Expr::col((plain::Entity, plain::Column::ProjectId)),
            Expr::col((plain::Entity, plain::Column::Scope)),
        ))
        .to_owned();
    let secret = Query::select()
        .expr(Expr::value(1_i64))
        .from(secret::Entity)
        .and_where(is_own(
            Expr::col((secret::Entity, secret::Column::ProjectId)),
            Expr::col((secret::Entity, secret::Column::Scope)),
        ))
        .to_owned();
    let either = Expr::exists(plain).or(Expr::exists(secret));
    Query::select().expr(either).to_owned()
}

pub(super) fn count(status: Status) -> SelectStatement {
    Query::select()
        .expr(Expr::col((Entity, Column::Id)).count())
        .from(Entity)
        .and_where(Expr::col((Entity, Column::Status)).eq(status))
        .to_owned()
}

fn nested(query: SelectStatement) -> SimpleExpr {
    SimpleExpr::SubQuery(None, Box::new(query.into()))
}
