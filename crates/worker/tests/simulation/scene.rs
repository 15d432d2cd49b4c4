//! What every world begins with: one person, three projects and their targets, in a migrated
//! database that is made once for each test process.

use std::{collections::BTreeMap, sync::OnceLock, thread};

use sea_orm::ConnectionTrait as _;
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    account::first_admin::{self, Wanted},
    ctx::Ctx,
    db::{self, Db},
    id::{SessionId, TargetId, UserId},
    project::{self, policy::QueuePolicy, service::NewProject},
    schema,
    settings::{
        Settings,
        load::{Source, load},
    },
    target::{self, entity::TargetKind, service::NewTarget},
    vault::{load::key_ring, rotation::service::check_keys},
};
use slipway_testkit::{TestDatabase, sqlite_database};

const KEY: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";
const PIPELINE: &str = "after:\n  - name: restart\n    run: 'true'\n";
const EMAIL: &str = "ada@example.com";

/// A target and where to find it.
pub(crate) struct Place {
    pub(crate) id: TargetId,
    pub(crate) project: &'static str,
    pub(crate) slug: &'static str,
    policy: QueuePolicy,
}

const fn place(id: i64, project: &'static str, slug: &'static str, policy: QueuePolicy) -> Place {
    Place {
        id: TargetId(id),
        project,
        slug,
        policy,
    }
}

/// Every target, in the order of their ids.
pub(crate) const TARGETS: [Place; 5] = [
    place(1, "shop", "one", QueuePolicy::QueueAll),
    place(2, "shop", "two", QueuePolicy::QueueAll),
    place(3, "shop", "three", QueuePolicy::QueueAll),
    place(4, "blog", "live", QueuePolicy::KeepNewest),
    place(5, "wiki", "live", QueuePolicy::Reject),
];

/// Who asks for everything.
pub(crate) fn admin() -> Actor {
    Actor {
        user: UserId(1),
        email: EMAIL.to_owned(),
        name: EMAIL.to_owned(),
        role: SystemRole::Admin,
        address: String::new(),
        limits: None,
        credential: Credential::Session(SessionId(0)),
    }
}

/// The settings of every process: those of production, but for sizes.
pub(crate) fn settings() -> Settings {
    let mut settings = settings_of(BTreeMap::from([(
        "SLIPWAY__DATABASE__DIALECT".to_owned(),
        "sqlite".to_owned(),
    )]));
    settings.queue.backlog_limit = 9;
    settings.queue.max_concurrency = 2;
    settings.queue.max_running = 5;
    settings.worker.drain_timeout_seconds = 8;
    settings
}

fn settings_of(mut environment: BTreeMap<String, String>) -> Settings {
    for name in ["ENCRYPTION_KEY", "SESSION_SECRET"] {
        environment.insert(format!("SLIPWAY__SECURITY__{name}"), KEY.to_owned());
    }
    load(&Source::default(), &environment).unwrap()
}

/// The bytes of the database that every world copies.
pub(crate) fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(make())
        })
        .join()
        .unwrap()
    })
}

async fn make() -> Vec<u8> {
    let database: TestDatabase = sqlite_database();
    let settings = settings_of(database.environment().into_iter().collect());
    let db = Db::connect(&settings.database).await.unwrap();
    schema::migrate(&db, &settings.database).await.unwrap();
    let keys = key_ring(&settings.security).unwrap();
    check_keys(&db, &keys, db::now()).await.unwrap();
    let backends = slipway_queue::in_memory();
    let ctx = Ctx::new(db, backends.queue, backends.bus, keys, settings);
    let wanted = Wanted {
        email: Some(EMAIL.to_owned()),
        password: Some("correct horse battery".to_owned().into()),
    };
    first_admin::ensure(&ctx, wanted, db::now()).await.unwrap();
    for place in &TARGETS {
        furnish(&ctx, place).await;
    }
    let copy = database.path().unwrap().with_extension("copy");
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    ctx.db.writer().execute_unprepared(&vacuum).await.unwrap();
    std::fs::read(copy).unwrap()
}

async fn furnish(ctx: &Ctx, place: &Place) {
    let (actor, now) = (admin(), db::now());
    if project::store::find(ctx.db.reader(), place.project)
        .await
        .unwrap()
        .is_none()
    {
        let input = NewProject {
            slug: place.project.parse().unwrap(),
            name: place.project.parse().unwrap(),
            repository: None,
            default_branch: "main".parse().unwrap(),
            queue_policy: place.policy,
            retry_attempts: None,
            retry_delays: None,
        };
        project::service::create(ctx, &actor, input, now)
            .await
            .unwrap();
        project::service::set_pipeline(ctx, &actor, place.project, PIPELINE, now)
            .await
            .unwrap();
    }
    let input = NewTarget {
        slug: place.slug.parse().unwrap(),
        kind: TargetKind::Local,
        path: format!("/srv/{}/{}", place.project, place.slug)
            .parse()
            .unwrap(),
        strategy: "{}".to_owned(),
        auto_deploy: None,
    };
    let made = target::service::create(ctx, &actor, place.project, input, now).await;
    assert_eq!(made.unwrap().id, place.id);
}
