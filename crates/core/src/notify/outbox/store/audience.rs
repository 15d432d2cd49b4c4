//! Who listens: the subscriptions of projects whose channels are in use.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult, JoinType,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use crate::{
    db::distinct,
    error::Result,
    id::{ChannelId, ProjectId},
    notify::{
        channel::entity as channel,
        event::Event,
        provider::entity as provider,
        subscription::{
            entity::{Column, Entity, Model, pair},
            filter::{Occasion, wants},
        },
    },
};

/// One channel of one subscription.
#[derive(Debug, FromQueryResult)]
struct Listener {
    #[sea_orm(nested)]
    subscription: Model,
    #[sea_orm(nested)]
    place: Place,
}

#[derive(Debug, FromQueryResult)]
struct Place {
    told_in: ChannelId,
}

/// The subscriptions of some projects, as they are at this moment.
#[derive(Debug, Default)]
pub struct Audience(Vec<Listener>);

/// Reads who listens to these projects; nothing means to any.
///
/// # Errors
/// When the database fails.
pub async fn of(conn: &impl ConnectionTrait, projects: Option<&[ProjectId]>) -> Result<Audience> {
    let mut query = Entity::find()
        .expr_as(
            Expr::col((pair::Entity, pair::Column::ChannelId)),
            "told_in",
        )
        .join(JoinType::InnerJoin, to_pairs())
        .join(JoinType::InnerJoin, to_channels())
        .join(JoinType::InnerJoin, to_providers())
        .filter(channel::Column::Disabled.eq(false))
        .filter(provider::Column::Disabled.eq(false))
        .order_by_asc(Column::Id);
    if let Some(projects) = projects {
        let projects = distinct(projects.iter().copied());
        query = query.filter(Column::ProjectId.is_in(projects));
    }
    Ok(Audience(query.into_model().all(conn).await?))
}

fn to_pairs() -> sea_orm::RelationDef {
    Entity::belongs_to(pair::Entity)
        .from(Column::Id)
        .to(pair::Column::SubscriptionId)
        .into()
}

fn to_channels() -> sea_orm::RelationDef {
    pair::Entity::belongs_to(channel::Entity)
        .from(pair::Column::ChannelId)
        .to(channel::Column::Id)
        .into()
}

fn to_providers() -> sea_orm::RelationDef {
    channel::Entity::belongs_to(provider::Entity)
        .from(channel::Column::ProviderId)
        .to(provider::Column::Id)
        .into()
}

impl Audience {
    /// Whether nobody listens to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The channels that are told of something in a project, or in any; each once, as the first of
    /// these events that one of its subscriptions wants. The most telling one comes first.
    #[must_use]
    pub fn told(
        &self,
        project: Option<ProjectId>,
        events: &[Event],
        occasion: &Occasion<'_>,
    ) -> Vec<(Event, Vec<ChannelId>)> {
        let mut told: Vec<ChannelId> = Vec::new();
        let mut by_event = Vec::new();
        for event in events {
            let occasion = Occasion {
                event: *event,
                ..*occasion
            };
            let wanting = self.0.iter().filter(|it| {
                project.is_none_or(|project| it.subscription.project_id == project)
                    && wants(&it.subscription, &occasion)
            });
            let new = distinct(wanting.map(|it| it.place.told_in));
            let new: Vec<_> = new.into_iter().filter(|id| !told.contains(id)).collect();
            if !new.is_empty() {
                told.extend(&new);
                by_event.push((*event, new));
            }
        }
        by_event
    }
}
