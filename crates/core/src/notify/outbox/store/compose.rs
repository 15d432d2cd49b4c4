//! Notices and deliveries as statements, which leave with whatever else their transaction writes.

use sea_orm::{
    ColumnTrait as _, DbBackend, Statement, Value,
    sea_query::{Expr, Query, SelectStatement, SimpleExpr},
};

use crate::{
    db::now_us,
    error::Result,
    id::{ChannelId, DeploymentId, ProjectId, TargetId},
    notify::{
        delivery::{
            entity::{Column, Entity, notice},
            state::State,
        },
        notice::Notice,
    },
};

/// Most characters of what repetitions have in common.
const FOLD_CHARACTERS_MAX: usize = 255;

/// One event and the channels that are told of it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Random, or what makes it the only one of its kind: a second one with it is refused.
    pub uid: String,
    /// The project, unless it concerns everything.
    pub project: Option<ProjectId>,
    /// The target, if it concerns one.
    pub target: Option<TargetId>,
    /// The deployment, if it is about one.
    pub deployment: Option<DeploymentId>,
    /// What is told.
    pub notice: Notice,
    /// Where.
    pub channels: Vec<ChannelId>,
    /// What repetitions of the same have in common, if they are folded.
    pub fold: Option<String>,
}

/// A key that nobody can guess.
///
/// # Errors
/// When the system has no randomness.
pub fn random_key() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// The statements that write these; none when there is nothing to write.
///
/// # Errors
/// When the system has no randomness, or a notice cannot be written as JSON.
pub fn statements(backend: DbBackend, items: &[Item]) -> Result<Vec<Statement>> {
    let items: Vec<&Item> = items
        .iter()
        .filter(|item| !item.channels.is_empty())
        .collect();
    if items.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![
        notices(backend, &items)?,
        deliveries(backend, &items)?,
    ])
}

fn notices(backend: DbBackend, items: &[&Item]) -> Result<Statement> {
    let mut insert = Query::insert();
    insert.into_table(notice::Entity).columns([
        notice::Column::Uid,
        notice::Column::Event,
        notice::Column::ProjectId,
        notice::Column::TargetId,
        notice::Column::DeploymentId,
        notice::Column::Body,
        notice::Column::CreatedUs,
    ]);
    for item in items {
        insert.values_panic([
            value(item.uid.as_str()),
            value(item.notice.event.as_str()),
            value(item.project),
            value(item.target),
            value(item.deployment),
            value(serde_json::to_string(&item.notice)?),
            now_us(backend),
        ]);
    }
    Ok(backend.build(&insert))
}

fn deliveries(backend: DbBackend, items: &[&Item]) -> Result<Statement> {
    let mut insert = Query::insert();
    insert.into_table(Entity).columns([
        Column::NoticeId,
        Column::ChannelId,
        Column::State,
        Column::Tries,
        Column::NextUs,
        Column::Key,
        Column::Fold,
        Column::Folded,
        Column::CreatedUs,
    ]);
    for item in items {
        let fold = item.fold.as_ref().map(|fold| {
            let cut = fold.chars().take(FOLD_CHARACTERS_MAX);
            cut.collect::<String>()
        });
        for channel in &item.channels {
            insert.values_panic([
                SimpleExpr::SubQuery(None, Box::new(numbered(&item.uid).into())),
                value(*channel),
                value(State::Pending.as_str()),
                value(0_i64),
                now_us(backend),
                value(random_key()?),
                value(fold.clone()),
                value(0_i64),
                now_us(backend),
            ]);
        }
    }
    Ok(backend.build(&insert))
}

/// The number that the database gave the notice a moment ago.
fn numbered(uid: &str) -> SelectStatement {
    Query::select()
        .column(notice::Column::Id)
        .from(notice::Entity)
        .and_where(notice::Column::Uid.eq(uid))
        .to_owned()
}

fn value(value: impl Into<Value>) -> SimpleExpr {
    Expr::value(value)
}
