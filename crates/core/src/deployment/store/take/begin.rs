//! What a claim writes: the slots, the rows, and what those runs are going to do of which that is
//! known by then.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, DbBackend, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryTrait as _,
    sea_query::{CaseStatement, Expr, SimpleExpr},
};

use super::{
    super::{
        claim::{Claim, Claimant, Planner, Taken},
        snapshot,
        step::{self, Plan},
    },
    look::Seen,
};
use crate::{
    db::{self, Bundle, Done, now_us, padded},
    deployment::{
        brief::Known,
        entity::deployment::{Column, Entity, Model},
        status::{Status, Transition, next},
    },
    error::Result,
    target::entity as target,
};

/// A deployment that starts.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) row: &'a Model,
    pub(super) by: &'a Claimant<'a>,
    pub(super) fence: i64,
    pub(super) lease_until: i64,
    pub(super) told: i64,
}

impl Start<'_> {
    /// The row as it stands after the claim, which saves reading it again.
    pub(super) fn row_after(&self, now: DateTime<Utc>) -> Model {
        let row = self.row.clone();
        Model {
            status: Status::Running,
            attempt: row.attempt + 1,
            fence: self.fence,
            lease_token: Some(self.by.token.as_str().to_owned()),
            lease_owner: Some(self.by.owner.to_owned()),
            lease_until: Some(self.lease_until),
            started_at: Some(row.started_at.unwrap_or(now)),
            ..row
        }
    }
}

/// Deployments that start, as they stand after it.
pub(super) struct Runs {
    rows: Vec<Model>,
    known: Vec<Known>,
    /// Which of them has it, and what it is going to do.
    planned: Vec<usize>,
    plans: Vec<Plan>,
}

impl Runs {
    pub(super) fn new(
        starting: &[Start<'_>],
        seen: &Seen,
        planner: Planner<'_>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut runs = Self {
            rows: Vec::with_capacity(starting.len()),
            known: Vec::with_capacity(starting.len()),
            planned: Vec::new(),
            plans: Vec::new(),
        };
        for (index, it) in starting.iter().enumerate() {
            let mut row = it.row_after(now);
            let brief = seen.brief(it.row);
            let plan = brief.as_ref().and_then(|brief| planner(&row, brief));
            if let Some(plan) = plan {
                row.pipeline = Some(plan.pipeline.clone());
                runs.planned.push(index);
                runs.plans.push(plan);
            }
            let planned = Vec::new();
            runs.rows.push(row);
            runs.known.push(Known { brief, planned });
        }
        runs
    }

    /// Takes the slots and writes that these run; nothing when one of the rows is not as it was
    /// read.
    pub(super) fn beginning(
        &self,
        backend: DbBackend,
        starting: &[Start<'_>],
        now: DateTime<Utc>,
    ) -> Result<Bundle> {
        let Some(Start {
            by, lease_until, ..
        }) = starting.first()
        else {
            return Ok(Bundle::default());
        };
        let to = next(Status::Queued, &Transition::Start)
            .map_err(|illegal| db::broken(illegal.to_string()))?;
        let padding: Vec<Start<'_>> = padded(starting.to_vec());
        let rows = || padding.iter();
        let by_id = |value: fn(&Start<'_>) -> sea_orm::Value| -> SimpleExpr {
            let cases = rows().fold(CaseStatement::new(), |case, it| {
                case.case(Column::Id.eq(it.row.id), Expr::value(value(it)))
            });
            cases.into()
        };
        let mut begun = Entity::update_many()
            .col_expr(Column::Status, Expr::value(to))
            .col_expr(Column::Attempt, Expr::col(Column::Attempt).add(1))
            .col_expr(Column::Fence, by_id(|it| it.fence.into()))
            .col_expr(Column::LeaseToken, by_id(|it| it.by.token.as_str().into()))
            .col_expr(Column::LeaseOwner, Expr::value(by.owner))
            .col_expr(Column::LeaseUntil, Expr::value(*lease_until))
            .col_expr(
                Column::StartedAt,
                Expr::col(Column::StartedAt).if_null(Expr::value(now)),
            )
            .filter(Column::Id.is_in(rows().map(|it| it.row.id)))
            .filter(Column::Status.eq(Status::Queued))
            .filter(Column::CancelRequestedAt.is_null())
            .filter(Expr::col(Column::NotBefore).lte(now_us(backend)));
        if !self.plans.is_empty() {
            begun = begun.col_expr(Column::Pipeline, snapshot::following(&self.plans));
        }
        let claims = Bundle::default()
            .write(slots(&padding).build(backend))
            .write_exactly(starting.len() as u64, begun.build(backend));
        Ok(step::with_claims(backend, claims, &self.plans))
    }

    /// The claims, in order, with what was read when they were written.
    pub(super) fn taken(mut self, done: Vec<Done>) -> Result<Vec<Taken>> {
        if !self.plans.is_empty() {
            let steps = step::of_runs(&self.plans, done)?;
            for ((index, plan), steps) in self.planned.iter().zip(&self.plans).zip(steps) {
                let Some(known) = self.known.get_mut(*index) else {
                    continue;
                };
                known.planned = steps;
                if let (Some(brief), Some(said)) = (&mut known.brief, &plan.greeting) {
                    brief.last_line = said.last();
                }
            }
        }
        let taken = self.rows.into_iter().zip(self.known);
        let taken = taken.map(|(row, known)| Taken {
            claim: Claim::Won(Box::new(row)),
            known,
        });
        Ok(taken.collect())
    }
}

/// Each target's next fence, and who holds it.
fn slots(starting: &[Start<'_>]) -> sea_orm::UpdateMany<target::Entity> {
    let holder = starting.iter().fold(CaseStatement::new(), |case, it| {
        case.case(
            target::Column::Id.eq(it.row.target_id),
            Expr::value(it.row.id),
        )
    });
    target::Entity::update_many()
        .col_expr(
            target::Column::Epoch,
            Expr::col(target::Column::Epoch).add(1),
        )
        .col_expr(target::Column::HolderId, holder.into())
        .filter(target::Column::Id.is_in(starting.iter().map(|it| it.row.target_id)))
}
