//! Messages beside deployments: what fails fails for itself, and nothing secret leaves.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use async_trait::async_trait;
use slipway_core::{
    db,
    deployment::{entity::deployment::Model, status::Status},
    error::FieldError,
    id::ChannelId,
    notify::{
        Field, FieldKind, Notice, Parcel, Provider, Registry, Values, Verdict,
        channel::service::{self as channels, NewChannel, Trial},
        delivery::{
            service::{self as deliveries, Detail, ListInput},
            state::State,
        },
        provider::service::{self as providers, NewProvider},
        subscription::service::{self as subscriptions, NewSubscription},
    },
};
use slipway_testkit::{
    Authority, Mode, Receiver, TestDatabase, eventually, mysql_database, sqlite_database,
};
use slipway_worker::notify::Sender;
use tokio::task::JoinHandle;

use crate::rig::{DEADLINE, PROJECT, Rig};

const PIPELINE: &str = "after:\n  - { name: restart, run: 'true' }\n";
const SECRET: &str = "a signing secret for tests";

/// A service that only this file knows: it takes whatever comes, or panics.
#[derive(Clone, Debug, Default)]
struct Carrier {
    panics: bool,
    taken: Arc<Mutex<Vec<(String, Notice)>>>,
}

const TOKEN: [Field; 1] = [Field {
    name: "token",
    label: "Token",
    help: "Whatever it takes.",
    required: true,
    secret: true,
    kind: FieldKind::Text,
}];

#[async_trait]
impl Provider for Carrier {
    fn kind(&self) -> &'static str {
        if self.panics { "panics" } else { "carrier" }
    }

    fn label(&self) -> &'static str {
        "Carrier"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &TOKEN
    }

    fn channel_fields(&self) -> &'static [Field] {
        &[]
    }

    fn check_provider(&self, _values: &Values) -> Result<(), Vec<FieldError>> {
        Ok(())
    }

    fn check_channel(&self, _provider: &Values, _values: &Values) -> Result<(), Vec<FieldError>> {
        Ok(())
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        assert!(!self.panics, "this service is broken");
        let token = parcel.provider.get("token").unwrap_or_default();
        let taken = (parcel.key.to_owned(), parcel.notice.clone());
        self.taken.lock().unwrap().push(taken);
        Verdict::Delivered {
            answer: format!("taken with {token}"),
        }
    }
}

struct Stage {
    rig: Rig,
    carrier: Carrier,
    sender: Sender,
    _sending: JoinHandle<()>,
}

async fn stage(database: TestDatabase, pipeline: &str) -> Stage {
    let settings = [
        ("NOTIFICATIONS__ALLOW", "[\"127.0.0.0/8\"]"),
        ("QUEUE__RETRY_ATTEMPTS", "1"),
        ("SERVER__PUBLIC_URL", "https://deploy.example.com/"),
    ];
    let mut rig = Rig::bare(database, &settings).await;
    rig.project(Some(rig.repo.path())).await;
    rig.pipeline(pipeline).await;
    let carrier = Carrier::default();
    let broken = Carrier {
        panics: true,
        ..Carrier::default()
    };
    let known = slipway_notify::registry(&rig.ctx.settings.notifications).unwrap();
    let registry: Registry = known.with(carrier.clone()).with(broken);
    rig.ctx = rig.ctx.clone().with_providers(registry);
    let sender = Sender::new(&rig.ctx);
    let own = sender.clone();
    Stage {
        _sending: tokio::spawn(async move { own.run().await }),
        sender,
        carrier,
        rig,
    }
}

impl Stage {
    /// A channel of a provider of its own.
    async fn channel(&self, name: &str, kind: &str, settings: &[(&str, &str)]) -> ChannelId {
        let (ctx, admin) = (&self.rig.ctx, &self.rig.admin);
        let provider = NewProvider {
            name: name.parse().unwrap(),
            kind: kind.to_owned(),
            settings: settings.iter().copied().collect(),
        };
        let provider = providers::create(ctx, admin, provider, db::now()).await;
        let channel = NewChannel {
            provider: provider.unwrap().row.id,
            name: name.parse().unwrap(),
            settings: Values::default(),
        };
        let channel = channels::create(ctx, admin, channel, db::now()).await;
        channel.unwrap().row.id
    }

    async fn webhook(&self, name: &str, url: &str) -> ChannelId {
        let settings = [("url", url), ("secret", SECRET)];
        self.channel(name, "webhook", &settings).await
    }

    async fn subscribe(&self, channels: &[ChannelId], events: &[&str]) {
        let input = NewSubscription {
            channels: channels.to_vec(),
            events: events.iter().map(ToString::to_string).collect(),
            ..NewSubscription::default()
        };
        subscriptions::create(&self.rig.ctx, &self.rig.admin, PROJECT, input, db::now())
            .await
            .unwrap();
    }

    async fn of(&self, channel: ChannelId) -> Vec<Detail> {
        let input = ListInput {
            channel: Some(channel),
            limit: 100,
            ..ListInput::default()
        };
        let listed = deliveries::list(&self.rig.ctx, &self.rig.admin, &input).await;
        listed.unwrap()
    }

    /// Waits until everything for a channel stands so.
    async fn until(&self, channel: ChannelId, wanted: fn(&Detail) -> bool) -> Vec<Detail> {
        eventually(DEADLINE, async || {
            let all = self.of(channel).await;
            if !all.is_empty() && all.iter().all(wanted) {
                Ok(all)
            } else {
                Err(format!("{all:?}"))
            }
        })
        .await
    }
}

fn took(row: &Model) -> chrono::Duration {
    row.finished_at.unwrap() - row.started_at.unwrap()
}

async fn median(stage: &Stage, count: usize) -> chrono::Duration {
    let mut times = Vec::new();
    for _ in 0..count {
        let row = stage.rig.deployed().await;
        assert_eq!(row.status, Status::Succeeded);
        times.push(took(&row));
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// One channel hangs, one answers 500, one has a certificate that nobody trusts, one is panicking.
async fn channels_that_fail_harm_nobody(database: TestDatabase) {
    let stage = stage(database, PIPELINE).await;
    stage.rig.deployed().await;
    let alone = median(&stage, 5).await;
    let (hanging, failing) = (Receiver::start(), Receiver::start());
    hanging.behave(Mode::Hang);
    failing.behave(Mode::status(500, "out of order"));
    let authority = Authority::new().unwrap();
    let foreign = Receiver::start_tls(&authority);
    let healthy = Receiver::start();
    let hangs = stage.webhook("hangs", &hanging.url("/")).await;
    let fails = stage.webhook("fails", &failing.url("/")).await;
    let refuses = stage.webhook("refuses", &foreign.url("/")).await;
    let panics = stage
        .channel("panics", "panics", &[("token", "t-12345678")])
        .await;
    let works = stage.webhook("works", &healthy.url("/")).await;
    let carries = stage
        .channel("carries", "carrier", &[("token", "t-12345678")])
        .await;
    let all = [hangs, fails, refuses, panics, works, carries];
    stage.subscribe(&all, &["started", "succeeded"]).await;
    let row = stage.rig.deployed().await;
    let ended = Instant::now();
    let both = || healthy.received().len() == 2 && stage.carrier.taken.lock().unwrap().len() == 2;
    eventually(
        DEADLINE,
        async || if both() { Ok(()) } else { Err("not yet") },
    )
    .await;
    let told = ended.elapsed();
    // Whatever the one that hangs does, the deployment had ended and the others had theirs before.
    let open = stage.of(hangs).await;
    assert!(open.iter().all(|it| !it.row.state.is_final()), "{open:?}");
    assert_eq!(row.status, Status::Succeeded);
    let beside = median(&stage, 5).await;
    println!("a deployment took {alone} alone and {beside} beside channels that fail");
    println!("the healthy channels had both messages {told:?} after the end");
    let why = |all: &[Detail]| all[0].row.answer.clone().unwrap_or_default();
    let tried = |it: &Detail| it.row.answer.is_some();
    for (channel, word) in [
        (fails, "500"),
        (refuses, ""),
        (panics, "own code"),
        (hangs, ""),
    ] {
        let first = eventually(DEADLINE, async || {
            let mut all = stage.of(channel).await;
            all.retain(tried);
            if all.is_empty() {
                Err("untried")
            } else {
                Ok(all)
            }
        })
        .await;
        println!("{}: {}", first[0].channel.name, why(&first));
        assert!(why(&first).contains(word) && !why(&first).is_empty());
        assert!(first.iter().all(|it| it.row.state != State::Delivered));
    }
    let sent = stage
        .until(carries, |it| it.row.state == State::Delivered)
        .await;
    assert_eq!(why(&sent), "taken with [REDACTED]");
    stage.sender.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_fail_harm_nobody_on_sqlite() {
    Box::pin(channels_that_fail_harm_nobody(sqlite_database())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_fail_harm_nobody_on_mysql() {
    Box::pin(channels_that_fail_harm_nobody(mysql_database())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_in_the_last_lines_of_a_failed_step_are_told_redacted() {
    let pipeline = "\
after:
  - name: migrate
    run: |
      seq 100
      echo \"using $TOKEN now\"
      exit 3
";
    let stage = stage(sqlite_database(), pipeline).await;
    stage.rig.secret("TOKEN", "hunter2-secret", None).await;
    let receiver = Receiver::start();
    let works = stage.webhook("works", &receiver.url("/")).await;
    let carries = stage
        .channel("carries", "carrier", &[("token", "t-12345678")])
        .await;
    stage.subscribe(&[works, carries], &["failed"]).await;
    let row = stage.rig.deployed().await;
    for channel in [works, carries] {
        stage
            .until(channel, |it| it.row.state == State::Delivered)
            .await;
    }
    let body = receiver.received()[0].json();
    let failure = &body["data"]["failure"];
    assert_eq!(failure["step"], "migrate", "{body}");
    assert_eq!(failure["code"], "step_failed");
    let lines = failure["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 20);
    assert!(
        lines.contains(&serde_json::json!("using [REDACTED] now")),
        "{lines:?}"
    );
    assert!(!body.to_string().contains("hunter2"));
    let page = format!("https://deploy.example.com/deployments/{}", row.id);
    assert_eq!(body["data"]["url"], page.as_str());
    let taken = stage.carrier.taken.lock().unwrap().clone();
    let own = taken[0].1.failure.clone().unwrap();
    assert!(own.lines.contains(&"using [REDACTED] now".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_tells_what_the_service_really_answers() {
    let stage = stage(sqlite_database(), PIPELINE).await;
    // Trials look for workers that live.
    let me = slipway_core::process::entity::ProcessKind::Worker;
    let duties = slipway_core::recovery::duties::Duties::start(&stage.rig.ctx, me).await;
    let duties = duties.unwrap();
    let receiver = Receiver::start();
    let works = stage.webhook("works", &receiver.url("/")).await;
    let test = async || -> Trial {
        let tried = channels::test(&stage.rig.ctx, &stage.rig.admin, works, db::now()).await;
        tried.unwrap()
    };
    assert_eq!(test().await.state, State::Delivered);
    assert_eq!(receiver.received()[0].json()["type"], "test");
    receiver.behave(Mode::status(500, "the disk is full"));
    let failed = test().await;
    assert_eq!(failed.state, State::Failed);
    assert!(failed.answer.contains("500"), "{failed:?}");
    duties.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_asks_for_time_gets_it() {
    let stage = stage(sqlite_database(), PIPELINE).await;
    let receiver = Receiver::start();
    receiver.behave_once(Mode::too_many("120", "slow down"));
    let works = stage.webhook("works", &receiver.url("/")).await;
    stage.subscribe(&[works], &["succeeded"]).await;
    stage.rig.deployed().await;
    let waits = stage.until(works, |it| it.row.answer.is_some()).await;
    assert_eq!(waits[0].row.state, State::Pending);
    let wait = waits[0].next_at().unwrap() - db::now();
    assert!(wait > chrono::Duration::seconds(30), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_stops_waits_for_what_is_under_way() {
    let stage = stage(sqlite_database(), PIPELINE).await;
    let receiver = Receiver::start();
    let works = stage.webhook("works", &receiver.url("/")).await;
    stage.subscribe(&[works], &["succeeded"]).await;
    stage.rig.deployed().await;
    eventually(DEADLINE, async || {
        if receiver.received().is_empty() {
            Err("not yet")
        } else {
            Ok(())
        }
    })
    .await;
    stage.sender.end().await;
    let sent = stage.of(works).await;
    assert_eq!(
        sent[0].row.state,
        State::Delivered,
        "it was recorded before the end"
    );
    stage.rig.deployed().await;
    assert_eq!(stage.of(works).await[0].row.state, State::Pending);
    assert_eq!(receiver.received().len(), 1);
}
