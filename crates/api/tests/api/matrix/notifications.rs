//! What the matrix reaches for below a project's notifications.

use slipway_core::{
    access::Permission,
    db,
    id::{ChannelId, DeliveryId, ProviderId, SubscriptionId},
    notify::{
        Event, Notice,
        channel::service::{self as channels, NewChannel},
        delivery,
        outbox::{self, compose},
        provider::service::{self as providers, NewProvider},
        subscription::service::{self as subscriptions, NewSubscription},
    },
    project,
};

use crate::app::{TestApp, unique};

/// One of each; all of them are in use, and the delivery waits.
#[derive(Clone, Debug)]
pub(super) struct Notifications {
    provider: ProviderId,
    channel: ChannelId,
    pub(super) subscription: SubscriptionId,
    delivery: DeliveryId,
}

impl Notifications {
    /// What `{id}` stands for in the address of a route about one of them.
    pub(super) fn id_of(&self, path: &str) -> Option<i64> {
        let (_, ids) = [
            ("/providers/{id}", self.provider.0),
            ("/channels/{id}", self.channel.0),
            ("/subscriptions/{id}", self.subscription.0),
            ("/deliveries/{id}", self.delivery.0),
        ]
        .into_iter()
        .find(|(part, _)| path.contains(part))?;
        Some(ids)
    }
}

/// A provider and a channel with names that tell nothing of the project, which subscribes to it.
pub(super) async fn of(app: &TestApp, slug: &str) -> Notifications {
    let (ctx, admin, now) = (&app.ctx, &app.admin, db::now());
    let name = format!("carrier {}", unique());
    let settings = [("server", "https://ntfy.example")];
    let input = NewProvider {
        name: name.parse().unwrap(),
        kind: "ntfy".to_owned(),
        settings: settings.into_iter().collect(),
    };
    let provider = providers::create(ctx, admin, input, now).await.unwrap();
    let settings = [("topic", "deployments")];
    let input = NewChannel {
        provider: provider.row.id,
        name: "all".parse().unwrap(),
        settings: settings.into_iter().collect(),
    };
    let channel = channels::create(ctx, admin, input, now).await.unwrap();
    let input = NewSubscription {
        channels: vec![channel.row.id],
        events: vec!["failed".to_owned()],
        ..NewSubscription::default()
    };
    let made = subscriptions::create(ctx, admin, slug, input, now).await;
    Notifications {
        provider: provider.row.id,
        channel: channel.row.id,
        subscription: made.unwrap().row.id,
        delivery: delivery_of(app, slug, channel.row.id).await,
    }
}

/// A message about the project on its way to the channel.
pub(super) async fn delivery_of(app: &TestApp, slug: &str, channel: ChannelId) -> DeliveryId {
    let (ctx, admin) = (&app.ctx, &app.admin);
    let seen = project::service::open(ctx, admin, slug, Permission::ViewProject).await;
    let seen = seen.unwrap();
    let item = compose::Item {
        uid: compose::random_key().unwrap(),
        project: Some(seen.row.id),
        target: None,
        deployment: None,
        notice: Notice {
            event: Event::Failed,
            at: db::now(),
            project: None,
            target: None,
            actor: None,
            text: None,
            deployment: None,
            failure: None,
            url: None,
            folded: 0,
        },
        channels: vec![channel],
        fold: None,
    };
    let tx = ctx.db.begin().await.unwrap();
    outbox::write(&tx, std::slice::from_ref(&item))
        .await
        .unwrap();
    let found = delivery::store::of_uid(&tx, &item.uid).await.unwrap();
    tx.commit().await.unwrap();
    found.unwrap()
}
