//! Workers are killed while they send messages; nobody misses one, and nobody gets one more often than
//! there were kills.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt as _,
    path::Path,
};

use sea_orm::{ConnectionTrait as _, Statement};
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    ctx::Ctx,
    db,
    id::{ChannelId, SessionId, UserId},
    lock::service::{Address, LockInput, lift, put},
    notify::{
        Values,
        channel::service::{self as channels, NewChannel},
        delivery::{
            service::{ListInput, list},
            state::State,
        },
        provider::service::{self as providers, NewProvider},
        subscription::service::{self as subscriptions, NewSubscription},
    },
    settings::load::{Source, load},
    start,
};
use slipway_testkit::{Receiver, eventually};

use crate::rig::{DEADLINE, Installation, Redis};

/// Kills between the answer of a receiver and its record.
const KILLS: usize = 100;
const ABORTED: i32 = 6;
const WEB: Address<'static> = Address::Project("shop");

/// Where a worker is killed, besides.
const ELSEWHERE: [&str; 4] = [
    "notify.before_claim",
    "notify.after_claim",
    "notify.before_send",
    "notify.after_record",
];

struct Stage {
    installation: Installation,
    ctx: Ctx,
    admin: Actor,
}

impl Stage {
    async fn new() -> Self {
        let installation = Installation::migrated(&Redis::shared())
            .set("SLIPWAY__NOTIFICATIONS__ALLOW", "[\"127.0.0.0/8\"]");
        // It makes the Admin.
        let api = installation.start_api();
        let client = api.client().await;
        client
            .create_project("shop", &installation.pipeline("true"))
            .await;
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let settings = load(&Source { config: None, dir }, installation.variables()).unwrap();
        let registry = slipway_notify::registry(&settings.notifications).unwrap();
        let backends = slipway_queue::in_memory();
        let ctx = start::open(settings, backends.queue, backends.bus).await;
        Self {
            installation,
            ctx: ctx.unwrap().with_providers(registry),
            admin: Actor {
                limits: None,
                user: UserId(1),
                email: "admin@example.com".to_owned(),
                name: "Admin".to_owned(),
                role: SystemRole::Admin,
                credential: Credential::Session(SessionId(0)),
                address: String::new(),
            },
        }
    }

    async fn channel(&self, name: &str, url: &str) -> ChannelId {
        let (ctx, admin) = (&self.ctx, &self.admin);
        let settings = [("url", url), ("secret", "a signing secret for tests")];
        let provider = NewProvider {
            name: name.parse().unwrap(),
            kind: "webhook".to_owned(),
            settings: settings.into_iter().collect(),
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

    /// Two events.
    async fn lock_and_lift(&self) {
        let input = LockInput {
            reason: "stocktaking".parse().unwrap(),
            expires_at: None,
        };
        put(&self.ctx, &self.admin, WEB, input, db::now())
            .await
            .unwrap();
        lift(&self.ctx, &self.admin, WEB).await.unwrap();
    }

    /// Lets leases run out: those who had them are dead.
    async fn expire(&self) {
        let sql = "UPDATE channels SET lease_until = 1";
        let statement = Statement::from_string(self.ctx.db.backend(), sql);
        self.ctx.db.writer().execute_raw(statement).await.unwrap();
    }

    /// Starts a worker that is killed at a point, and waits for that.
    async fn kill_at(&self, point: &str) {
        self.lock_and_lift().await;
        self.expire().await;
        let worker = self.installation.program("slipway-worker");
        let mut worker = worker.env("SLIPWAY_FAIL_POINT", point).start();
        let status = worker.wait(DEADLINE);
        let logs = worker.logs();
        assert_eq!(status.signal(), Some(ABORTED), "{point}: {status}\n{logs}");
    }
}

/// How often each key came in, and which event it was.
fn by_key(receiver: &Receiver) -> BTreeMap<String, (usize, BTreeSet<String>)> {
    let mut keys: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    for message in receiver.received() {
        let key = message.header("idempotency-key").unwrap().to_owned();
        let seen = keys.entry(key).or_default();
        seen.0 += 1;
        seen.1.insert(message.json()["data"].to_string());
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_no_message_and_repeats_one_at_most_once() {
    let stage = Stage::new().await;
    let receivers = [Receiver::start(), Receiver::start()];
    let mut ids = Vec::new();
    for (name, receiver) in ["one", "two"].into_iter().zip(&receivers) {
        ids.push(stage.channel(name, &receiver.url("/")).await);
    }
    let input = NewSubscription {
        channels: ids,
        events: vec!["locked".to_owned(), "unlocked".to_owned()],
        ..NewSubscription::default()
    };
    subscriptions::create(&stage.ctx, &stage.admin, "shop", input, db::now())
        .await
        .unwrap();
    for kill in 0..KILLS {
        let name = if kill % 2 == 0 {
            "notify.after_send"
        } else {
            "notify.before_record"
        };
        stage.kill_at(&format!("{name}:{}", kill % 4 + 1)).await;
    }
    for point in ELSEWHERE {
        stage.kill_at(point).await;
    }
    stage.expire().await;
    let events = 2 * (KILLS + ELSEWHERE.len());
    let _worker = stage.installation.start_worker();
    let input = ListInput {
        state: Some(State::Delivered),
        limit: 1000,
        ..ListInput::default()
    };
    eventually(DEADLINE, async || {
        let sent = list(&stage.ctx, &stage.admin, &input).await.unwrap().len();
        if sent == 2 * events {
            Ok(())
        } else {
            Err(sent)
        }
    })
    .await;
    for receiver in &receivers {
        let keys = by_key(receiver);
        let messages: usize = keys.values().map(|(times, _)| times).sum();
        println!(
            "{} events, {} messages, {} kills",
            keys.len(),
            messages,
            KILLS + ELSEWHERE.len()
        );
        assert_eq!(keys.len(), events, "each event came at least once");
        assert!(keys.values().all(|(_, bodies)| bodies.len() == 1));
        assert!(messages - events <= KILLS + ELSEWHERE.len());
    }
}
