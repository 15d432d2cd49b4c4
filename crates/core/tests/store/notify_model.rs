//! Providers, channels and subscriptions: who may do what, what is shown, what is in use.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, Statement};
use slipway_core::{
    access::{Actor, ProjectRole, SystemRole},
    ctx::Ctx,
    db,
    error::{Error, FieldError},
    id::{ChannelId, ProviderId},
    notify::{
        Event, Field, FieldKind, Parcel, Provider, Registry, Values, Verdict,
        channel::service::{self as channel, ChannelChange, NewChannel},
        provider::service::{self as provider, NewProvider, ProviderChange},
        subscription::service::{self as subscription, Mute, NewSubscription, SubscriptionChange},
    },
};

use crate::rig::{Rig, conflict, minutes_later};

on_both! {
    secrets_are_kept_and_never_shown,
    a_form_is_checked_by_fields_and_by_its_service,
    only_admins_see_providers_and_only_operators_channels,
    what_is_in_use_is_not_deleted,
    projects_subscribe_to_channels_by_name,
    a_project_knows_which_events_anybody_wants,
    a_mute_has_an_end_and_a_reason,
    every_change_is_audited_without_secrets,
}

const fn field(name: &'static str, kind: FieldKind) -> Field {
    Field {
        name,
        label: name,
        help: "",
        required: false,
        secret: false,
        kind,
    }
}

const PROVIDER: [Field; 2] = [
    Field {
        required: true,
        secret: true,
        ..field("token", FieldKind::Text)
    },
    field("host", FieldKind::Text),
];
const CHANNEL: [Field; 2] = [
    Field {
        required: true,
        ..field("url", FieldKind::Url)
    },
    Field {
        secret: true,
        ..field("password", FieldKind::Text)
    },
];

/// A service that sends nothing.
#[derive(Debug)]
pub(crate) struct Pigeon;

#[async_trait]
impl Provider for Pigeon {
    fn kind(&self) -> &'static str {
        "pigeon"
    }

    fn label(&self) -> &'static str {
        "Pigeon"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &CHANNEL
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        match values.get("token") {
            Some(token) if token.starts_with("coo-") => Ok(()),
            _ => Err(vec![FieldError::new("token", "must begin with coo-")]),
        }
    }

    fn check_channel(&self, provider: &Values, values: &Values) -> Result<(), Vec<FieldError>> {
        self.check_provider(provider)?;
        match values.get("url") {
            Some(url) if url.contains("roof") => Ok(()),
            _ => Err(vec![FieldError::new("url", "must lead to a roof")]),
        }
    }

    async fn send(&self, _parcel: Parcel<'_>) -> Verdict {
        Verdict::Refused {
            answer: "it stays at home".to_owned(),
        }
    }
}

pub(crate) struct Scene {
    pub(crate) rig: Rig,
    pub(crate) ctx: Ctx,
    pub(crate) admin: Actor,
    pub(crate) manager: Actor,
}

pub(crate) async fn scene(rig: Rig) -> Scene {
    let ctx = rig
        .ctx
        .clone()
        .with_providers(Registry::default().with(Pigeon));
    Scene {
        admin: rig.user("admin@example.com", SystemRole::Admin).await,
        manager: rig.user("manager@example.com", SystemRole::Manager).await,
        ctx,
        rig,
    }
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().copied().collect()
}

/// Everything that the audit trail says.
const TRAIL: &str = "SELECT action AS text FROM audit_entries UNION ALL SELECT `before` FROM \
    audit_entries UNION ALL SELECT `after` FROM audit_entries";

impl Scene {
    pub(crate) async fn text(&self, sql: &str) -> String {
        let statement = Statement::from_string(self.ctx.db.backend(), sql);
        let rows = self.ctx.db.reader().query_all_raw(statement).await.unwrap();
        let texts = rows
            .iter()
            .map(|row| row.try_get::<Option<String>>("", "text").unwrap());
        texts.flatten().collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn provider(&self, name: &str) -> ProviderId {
        let input = NewProvider {
            name: name.parse().unwrap(),
            kind: "pigeon".to_owned(),
            settings: values(&[("token", "coo-hunter2"), ("host", "loft")]),
        };
        let made = provider::create(&self.ctx, &self.admin, input, db::now()).await;
        made.unwrap().row.id
    }

    pub(crate) async fn channel(&self, provider: ProviderId, name: &str) -> ChannelId {
        let input = NewChannel {
            provider,
            name: name.parse().unwrap(),
            settings: values(&[("url", "https://roof.example.com"), ("password", "hunter3")]),
        };
        let made = channel::create(&self.ctx, &self.manager, input, db::now()).await;
        made.unwrap().row.id
    }
}

pub(crate) fn wanted(channel: ChannelId, events: &[&str]) -> NewSubscription {
    NewSubscription {
        channels: vec![channel],
        events: events.iter().map(ToString::to_string).collect(),
        ..NewSubscription::default()
    }
}

fn fields<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Vec<String> {
    match outcome {
        Err(Error::Invalid(errors)) => errors
            .into_iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect(),
        other => panic!("{other:?}"),
    }
}

async fn secrets_are_kept_and_never_shown(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    let change = ProviderChange {
        settings: Some(values(&[("host", "tower")])),
        ..ProviderChange::default()
    };
    let changed = provider::update(&scene.ctx, &scene.admin, id, change, db::now()).await;
    let changed = changed.unwrap();
    assert_eq!(changed.settings, values(&[("host", "tower")]));
    assert_eq!(changed.secrets, ["token"]);
    assert!(!format!("{changed:?}").contains("hunter"));
    let channel = scene.channel(id, "Roof").await;
    let seen = channel::get(&scene.ctx, &scene.manager, channel)
        .await
        .unwrap();
    assert_eq!(
        seen.settings,
        values(&[("url", "https://roof.example.com")])
    );
    assert_eq!(seen.secrets, ["password"]);
    let change = ChannelChange {
        settings: Some(values(&[("password", "")])),
        ..ChannelChange::default()
    };
    let cleared = channel::update(&scene.ctx, &scene.manager, channel, change, db::now()).await;
    assert_eq!(cleared.unwrap().secrets, [""; 0]);
    for sql in [
        "SELECT settings AS text FROM providers",
        "SELECT settings AS text FROM channels",
        TRAIL,
    ] {
        let text = scene.text(sql).await;
        assert!(!text.is_empty() && !text.contains("hunter"), "{sql}");
    }
}

async fn a_form_is_checked_by_fields_and_by_its_service(rig: Rig) {
    let scene = scene(rig).await;
    let new = |kind: &str, settings: Values| NewProvider {
        name: "Loft".parse().unwrap(),
        kind: kind.to_owned(),
        settings,
    };
    let create = |input| provider::create(&scene.ctx, &scene.admin, input, db::now());
    assert_eq!(
        fields(create(new("pigeons", Values::default())).await),
        ["kind: there is no such service; did you mean \"pigeon\"?"]
    );
    assert_eq!(
        fields(create(new("pigeon", values(&[("tokn", "x")]))).await),
        [
            "settings.tokn: there is no such setting; did you mean \"token\"?",
            "settings.token: is missing"
        ]
    );
    assert_eq!(
        fields(create(new("pigeon", values(&[("token", "x")]))).await),
        ["settings.token: must begin with coo-"]
    );
    let id = scene.provider("Loft").await;
    let again = new("pigeon", values(&[("token", "coo-x")]));
    assert_eq!(conflict(create(again).await), "name_taken");
    let cleared = ProviderChange {
        settings: Some(values(&[("token", "")])),
        ..ProviderChange::default()
    };
    let cleared = provider::update(&scene.ctx, &scene.admin, id, cleared, db::now()).await;
    assert_eq!(fields(cleared), ["settings.token: is missing"]);
    let cellar = NewChannel {
        provider: id,
        name: "Cellar".parse().unwrap(),
        settings: values(&[("url", "https://cellar.example.com")]),
    };
    let refused = channel::create(&scene.ctx, &scene.manager, cellar, db::now()).await;
    assert_eq!(fields(refused), ["settings.url: must lead to a roof"]);
    let nowhere = NewChannel {
        provider: ProviderId(999),
        name: "Roof".parse().unwrap(),
        settings: Values::default(),
    };
    let refused = channel::create(&scene.ctx, &scene.manager, nowhere, db::now()).await;
    assert_eq!(fields(refused), ["provider: there is no such provider"]);
}

async fn only_admins_see_providers_and_only_operators_channels(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    scene.channel(id, "Roof").await;
    let site = scene.rig.site("web").await;
    let viewer = scene.rig.user("v@example.com", SystemRole::Viewer).await;
    let ctx = &scene.ctx;
    for actor in [&scene.manager, &site.owner, &viewer] {
        assert!(matches!(
            provider::list(ctx, actor).await,
            Err(Error::Forbidden(_))
        ));
        assert!(matches!(
            provider::delete(ctx, actor, id).await,
            Err(Error::Forbidden(_))
        ));
    }
    for actor in [&site.owner, &viewer] {
        assert!(matches!(
            channel::list(ctx, actor).await,
            Err(Error::Forbidden(_))
        ));
        assert!(matches!(
            provider::choices(ctx, actor).await,
            Err(Error::Forbidden(_))
        ));
    }
    assert_eq!(channel::list(ctx, &scene.manager).await.unwrap().len(), 1);
    let choices = provider::choices(ctx, &scene.manager).await.unwrap();
    assert_eq!(choices[0].name, "Loft");
    let names = channel::choices(ctx, &site.owner, "web").await.unwrap();
    assert_eq!(
        (names[0].name.as_str(), names[0].kind.as_str()),
        ("Roof", "pigeon")
    );
    let member = scene.rig.user("m@example.com", SystemRole::Developer).await;
    assert!(matches!(
        channel::choices(ctx, &member, "web").await,
        Err(Error::NotFound("project"))
    ));
    scene.rig.member(&site, &member, ProjectRole::Member).await;
    assert_eq!(channel::choices(ctx, &member, "web").await.unwrap(), names);
}

async fn what_is_in_use_is_not_deleted(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    let roof = scene.channel(id, "Roof").await;
    let site = scene.rig.site("web").await;
    let input = wanted(roof, &["failed"]);
    let made = subscription::create(&scene.ctx, &site.owner, "web", input, db::now()).await;
    let made = made.unwrap();
    let refused = provider::delete(&scene.ctx, &scene.admin, id)
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "the provider has channels: Roof");
    let refused = channel::delete(&scene.ctx, &scene.manager, roof)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "projects subscribe to the channel: web"
    );
    subscription::delete(&scene.ctx, &site.owner, "web", made.row.id)
        .await
        .unwrap();
    channel::delete(&scene.ctx, &scene.manager, roof)
        .await
        .unwrap();
    provider::delete(&scene.ctx, &scene.admin, id)
        .await
        .unwrap();
    let left = scene
        .text("SELECT purpose AS text FROM sealed_values")
        .await;
    assert!(!left.contains("slipway/provider"), "{left}");
    assert!(!left.contains("slipway/channel"), "{left}");
}

async fn projects_subscribe_to_channels_by_name(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    let roof = scene.channel(id, "Roof").await;
    let site = scene.rig.site("web").await;
    let input = NewSubscription {
        targets: vec!["live".to_owned()],
        branches: vec!["release/*".to_owned()],
        changes_only: true,
        ..wanted(roof, &["failed", "recovered"])
    };
    let made = subscription::create(&scene.ctx, &site.owner, "web", input, db::now()).await;
    let made = made.unwrap();
    assert_eq!(made.events, [Event::Failed, Event::Recovered]);
    assert_eq!(made.channels[0].name, "Roof");
    assert_eq!(made.targets[0].1, "live");
    assert!(made.row.changes_only);
    let wrong = NewSubscription {
        targets: vec!["dead".to_owned()],
        branches: vec!["[".to_owned()],
        ..wanted(ChannelId(999), &["faild", "test"])
    };
    let refused = subscription::create(&scene.ctx, &site.owner, "web", wrong, db::now()).await;
    let refused = fields(refused);
    let names: Vec<&str> = refused
        .iter()
        .filter_map(|it| it.split(':').next())
        .collect();
    assert_eq!(
        names,
        [
            "channels[0]",
            "events[0]",
            "events[1]",
            "targets[0]",
            "branches[0]"
        ]
    );
    let other = scene.rig.site("shop").await;
    let foreign = subscription::get(&scene.ctx, &other.owner, "shop", made.row.id).await;
    assert!(matches!(foreign, Err(Error::NotFound(_))));
    let hidden = subscription::list(&scene.ctx, &other.owner, "web").await;
    assert!(matches!(hidden, Err(Error::NotFound(_))));
}

async fn a_project_knows_which_events_anybody_wants(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    let roof = scene.channel(id, "Roof").await;
    let site = scene.rig.site("web").await;
    let told = || async {
        let found = slipway_core::project::store::find(scene.ctx.db.reader(), "web").await;
        found.unwrap().unwrap().told
    };
    assert_eq!(told().await, 0);
    let create = |events| {
        let input = wanted(roof, events);
        subscription::create(&scene.ctx, &site.owner, "web", input, db::now())
    };
    let one = create(&["failed"]).await.unwrap().row.id;
    let two = create(&["failed", "started"]).await.unwrap().row.id;
    assert_eq!(told().await, Event::Failed.bit() | Event::Started.bit());
    let change = SubscriptionChange {
        events: Some(vec!["locked".to_owned()]),
        ..SubscriptionChange::default()
    };
    let at = ("web", two);
    subscription::update(&scene.ctx, &site.owner, at, change, db::now())
        .await
        .unwrap();
    assert_eq!(told().await, Event::Failed.bit() | Event::Locked.bit());
    for id in [one, two] {
        subscription::delete(&scene.ctx, &site.owner, "web", id)
            .await
            .unwrap();
    }
    assert_eq!(told().await, 0);
}

async fn a_mute_has_an_end_and_a_reason(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    let roof = scene.channel(id, "Roof").await;
    let site = scene.rig.site("web").await;
    let made = subscription::create(
        &scene.ctx,
        &site.owner,
        "web",
        wanted(roof, &["failed"]),
        db::now(),
    );
    let at = ("web", made.await.unwrap().row.id);
    let mute = |minutes| SubscriptionChange {
        mute: Some(Some(Mute {
            until: minutes_later(minutes),
            reason: "we know".parse().unwrap(),
        })),
        ..SubscriptionChange::default()
    };
    let change = |change| subscription::update(&scene.ctx, &site.owner, at, change, db::now());
    assert_eq!(
        fields(change(mute(-1)).await),
        ["mute.until: must be in the future"]
    );
    let muted = change(mute(5)).await.unwrap().mute.unwrap();
    assert_eq!(
        (muted.reason.as_str(), muted.by.as_deref()),
        ("we know", Some("web@example.com"))
    );
    let ended = SubscriptionChange {
        mute: Some(None),
        ..SubscriptionChange::default()
    };
    assert_eq!(change(ended).await.unwrap().mute, None);
}

async fn every_change_is_audited_without_secrets(rig: Rig) {
    let scene = scene(rig).await;
    let id = scene.provider("Loft").await;
    let roof = scene.channel(id, "Roof").await;
    let change = ProviderChange {
        settings: Some(values(&[("token", "coo-hunter4")])),
        ..ProviderChange::default()
    };
    provider::update(&scene.ctx, &scene.admin, id, change, db::now())
        .await
        .unwrap();
    let off = ChannelChange {
        disabled: Some(true),
        ..ChannelChange::default()
    };
    channel::update(&scene.ctx, &scene.manager, roof, off, db::now())
        .await
        .unwrap();
    let trail = scene.text(TRAIL).await;
    for action in [
        "provider.create",
        "provider.update",
        "channel.create",
        "channel.update",
    ] {
        assert!(trail.contains(action), "{action}");
    }
    assert!(trail.contains("secrets_replaced"), "{trail}");
    assert!(!trail.contains("hunter"));
    let tried = channel::test(&scene.ctx, &scene.manager, roof, db::now()).await;
    assert_eq!(conflict(tried), "channel_disabled");
    let on = ChannelChange {
        disabled: Some(false),
        ..ChannelChange::default()
    };
    channel::update(&scene.ctx, &scene.manager, roof, on, db::now())
        .await
        .unwrap();
    let tried = channel::test(&scene.ctx, &scene.manager, roof, db::now()).await;
    assert_eq!(
        tried.unwrap().answer,
        "No worker is running, so nothing was sent."
    );
}
