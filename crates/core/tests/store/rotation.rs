//! Changing the master key while everything runs.

use std::{collections::BTreeMap, fs, sync::Arc};

use sea_orm::EntityTrait as _;
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{
        brief::Known,
        reason::Code,
        run::{RunEnd, prepare},
    },
    error::Error,
    process::{duty, entity::ProcessKind},
    schema,
    settings::Security,
    vault::{
        key::MasterKey,
        load::key_ring,
        rotation::{
            entity::KeyState,
            rewrap::{self, Rewrapped},
            service::{Loaded, activate, add, check_keys, next_version, retire, status},
        },
        sealed::{
            self, Place,
            entity::{Entity, Model},
        },
        service::list,
    },
};
use slipway_migration::{Migrator, MigratorTrait as _, SchemaManager};

use crate::{
    rig::{Rig, Site, conflict},
    run_input::put_secret,
};

on_both! {
    the_configured_key_is_active_in_a_new_database,
    a_key_is_activated_only_when_every_live_process_has_it,
    a_process_that_lacks_the_active_key_cannot_join,
    a_key_that_comes_into_the_folder_is_loaded_while_the_process_runs,
    a_new_value_is_written_under_the_new_key_at_once,
    every_value_moves_whatever_it_is_for,
    a_value_that_is_written_meanwhile_is_not_lost,
    a_damaged_value_stays_and_is_counted,
    a_trial_run_changes_nothing,
    a_key_in_use_is_not_retired,
    a_retired_key_is_not_activated_again,
    a_deployment_reads_values_under_either_key,
    a_wrong_key_is_refused_at_start,
    a_missing_key_is_refused_at_start_with_what_to_do,
    another_key_of_a_known_version_is_not_loaded,
    a_secret_from_before_versions_were_kept_is_read_and_moved,
}

const SECOND: &str = "c1b90de37a5548f2961f0cb3ad7e26148f35d0a96be27c41f8023d9a65b7ce10";

/// All but the audit trail's key, which every database has.
async fn values(rig: &Rig) -> Vec<Model> {
    let mut rows = Entity::find().all(rig.ctx.db.writer()).await.unwrap();
    rows.retain(|row| row.purpose != sealed::AUDIT_KEY);
    rows.sort_unstable_by_key(|row| row.id);
    rows
}

async fn key_versions(rig: &Rig) -> Vec<Option<i64>> {
    let rows = values(rig).await;
    rows.iter().map(|row| row.key_version).collect()
}

async fn activated(ctx: &Ctx) -> i64 {
    let (keys, _) = status(ctx).await.unwrap();
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    active.unwrap().version
}

/// Gives this process a second key.
async fn second(ctx: &Ctx) {
    let key = MasterKey::parse(SECOND).unwrap();
    add(ctx, 2, key, db::now()).await.unwrap();
}

/// The second key, active in a process that has both.
pub(crate) async fn rotated(rig: &Rig) {
    second(&rig.ctx).await;
    activate(&rig.ctx, 2, db::now()).await.unwrap();
}

pub(crate) async fn rewrapped(rig: &Rig) -> Rewrapped {
    rewrap::run(&rig.ctx, false, |_| {}).await.unwrap()
}

async fn many(rig: &Rig, site: &Site, count: usize) {
    for number in 0..count {
        let name = format!("NAME_{number}");
        put_secret(rig, site, &name, &format!("value-{number}"), None).await;
    }
}

/// The secrets of a deployment's run, as text.
async fn revealed(rig: &Rig, site: &Site) -> BTreeMap<String, String> {
    let id = rig.deploy(site).await;
    let row = rig.claim(id).await;
    let given = prepare(&rig.ctx, row.clone(), Known::default())
        .await
        .unwrap()
        .unwrap();
    rig.finish(&row, RunEnd::Succeeded).await;
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    given
        .secrets
        .iter()
        .map(|(name, value)| (name.clone(), text(value.expose())))
        .collect()
}

async fn the_configured_key_is_active_in_a_new_database(rig: Rig) {
    let (keys, processes) = status(&rig.ctx).await.unwrap();
    let [key] = keys.as_slice() else {
        panic!("{keys:?}");
    };
    // What is stored is the key of the audit trail.
    assert_eq!(
        (key.version, key.state, key.values),
        (1, KeyState::Active, 1)
    );
    assert_eq!(key.loaded, Loaded::Yes);
    assert!(processes.is_empty());
    assert_eq!(next_version(&rig.ctx).await.unwrap(), 2);
    // From now on the database says which one it is, not the configuration.
    let (other, _) = rig
        .restarted(|settings| {
            let security = &mut settings.security;
            let first = security.encryption_key.replace(SECOND.into()).unwrap();
            security.encryption_key_version = 2;
            security.retired_keys.insert("1".to_owned(), first);
        })
        .await;
    check_keys(&other.db, &other.keys, db::now()).await.unwrap();
    assert_eq!(activated(&other).await, 1);
}

async fn a_key_is_activated_only_when_every_live_process_has_it(rig: Rig) {
    let (other, _) = rig.restarted(|_| {}).await;
    duty::join(&rig.ctx, ProcessKind::Api).await.unwrap();
    duty::join(&other, ProcessKind::Worker).await.unwrap();
    assert_eq!(
        conflict(activate(&rig.ctx, 2, db::now()).await),
        "key_unknown"
    );
    second(&rig.ctx).await;
    duty::announce(&rig.ctx, ProcessKind::Api).await;
    let refused = activate(&rig.ctx, 2, db::now()).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains(&format!("{} (worker)", other.process.name)),
        "{text}"
    );
    assert!(!text.contains(&rig.ctx.process.name), "{text}");
    assert_eq!(activated(&rig.ctx).await, 1);
    assert_eq!(
        conflict(activate(&other, 2, db::now()).await),
        "key_not_loaded"
    );

    // One that was not heard of for a lease is no reason to wait.
    rig.execute(
        "UPDATE processes SET seen_us = 1 WHERE name = ?",
        [other.process.name.clone().into()],
    )
    .await;
    activate(&rig.ctx, 2, db::now()).await.unwrap();
    assert_eq!(activated(&rig.ctx).await, 2);
    activate(&rig.ctx, 1, db::now()).await.unwrap();
    duty::announce(&other, ProcessKind::Worker).await;
    assert_eq!(
        conflict(activate(&rig.ctx, 2, db::now()).await),
        "key_not_everywhere"
    );
    second(&other).await;
    duty::announce(&other, ProcessKind::Worker).await;
    activate(&rig.ctx, 2, db::now()).await.unwrap();
}

async fn a_process_that_lacks_the_active_key_cannot_join(rig: Rig) {
    let (other, _) = rig.restarted(|_| {}).await;
    rotated(&rig).await;
    let refused = duty::join(&other, ProcessKind::Worker).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("master key version 2 is the active one"),
        "{text}"
    );
    let (_, processes) = status(&rig.ctx).await.unwrap();
    assert!(processes.is_empty());
}

async fn a_key_that_comes_into_the_folder_is_loaded_while_the_process_runs(rig: Rig) {
    let folder = tempfile::tempdir().unwrap();
    let (other, _) = rig
        .restarted(|settings| settings.security.keys_dir = Some(folder.path().to_owned()))
        .await;
    duty::join(&other, ProcessKind::Worker).await.unwrap();
    second(&rig.ctx).await;
    assert_eq!(
        conflict(activate(&rig.ctx, 2, db::now()).await),
        "key_not_everywhere"
    );
    fs::write(folder.path().join("encryption_key_2"), SECOND).unwrap();
    duty::announce(&other, ProcessKind::Worker).await;
    assert_eq!(other.keys.versions(), [1, 2]);
    activate(&rig.ctx, 2, db::now()).await.unwrap();
}

async fn another_key_of_a_known_version_is_not_loaded(rig: Rig) {
    let folder = tempfile::tempdir().unwrap();
    let (other, _) = rig
        .restarted(|settings| settings.security.keys_dir = Some(folder.path().to_owned()))
        .await;
    second(&rig.ctx).await;
    for wrong in [&SECOND.replace('c', "d"), "no key"] {
        fs::write(folder.path().join("encryption_key_2"), wrong).unwrap();
        duty::announce(&other, ProcessKind::Worker).await;
        assert_eq!(other.keys.versions(), [1]);
    }
}

async fn a_new_value_is_written_under_the_new_key_at_once(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "first", None).await;
    rotated(&rig).await;
    // Nobody has told this process; it asks when it writes.
    put_secret(&rig, &site, "TOKEN", "second", None).await;
    put_secret(&rig, &site, "OTHER", "third", None).await;
    assert_eq!(key_versions(&rig).await, [Some(1), Some(2), Some(2)]);

    // One that does not have the key writes nothing rather than something that is lost.
    let (other, _) = rig.restarted(|_| {}).await;
    let lacking = Rig {
        ctx: other,
        queue: Arc::clone(&rig.queue),
        database: rig.database,
    };
    let input = slipway_core::vault::service::SecretInput {
        name: "TOKEN".parse().unwrap(),
        value: "fourth".into(),
        target: None,
    };
    let refused =
        slipway_core::vault::service::put(&lacking.ctx, &site.owner, "web", input, db::now()).await;
    assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    assert_eq!(values(&lacking).await.len(), 3);
}

async fn every_value_moves_whatever_it_is_for(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    many(&rig, &web, 5).await;
    put_secret(&rig, &shop, "TOKEN", "old value", Some("live")).await;
    put_secret(&rig, &shop, "TOKEN", "new value", Some("live")).await;
    let place = Place {
        purpose: "slipway/test/v1",
        project: None,
        scope: 0,
        owner: 7,
        name: "token",
    };
    let input = sealed::Input {
        place,
        version: 1,
        plain: b"of the system",
        by: None,
    };
    let tx = rig.ctx.db.begin().await.unwrap();
    sealed::replace(&tx, &rig.ctx.keys, input, db::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let before = revealed(&rig, &web).await;
    rotated(&rig).await;
    let mut seen = Vec::new();
    let done = rewrap::run(&rig.ctx, false, |progress| {
        seen.push((progress.done, progress.total));
    })
    .await
    .unwrap();
    let expected = Rewrapped {
        active: 2,
        moved: 9,
        damaged: 0,
    };
    assert_eq!(done, expected);
    assert_eq!(seen, [(0, 9), (9, 9)]);
    assert_eq!(key_versions(&rig).await, [Some(2); 8]);
    retire(&rig.ctx, 1, db::now()).await.unwrap();
    // Only the second key opens them now.
    let alone = key_ring(&security(&rig, |it| {
        it.encryption_key = Some(SECOND.into());
        it.encryption_key_version = 2;
    }));
    let alone = alone.unwrap();
    check_keys(&rig.ctx.db, &alone, db::now()).await.unwrap();
    let conn = rig.ctx.db.reader();
    let value = sealed::latest(conn, &alone, &place).await.unwrap().unwrap();
    assert_eq!(value.expose(), b"of the system");
    assert_eq!(revealed(&rig, &web).await, before);
    assert_eq!(before.len(), 5);
    assert_eq!(revealed(&rig, &shop).await["TOKEN"], "new value");
    // Once more there is nothing to do.
    assert_eq!(rewrapped(&rig).await.moved, 0);
}

fn security(rig: &Rig, change: impl FnOnce(&mut Security)) -> Security {
    let mut security = rig.ctx.settings.security.clone();
    change(&mut security);
    security
}

async fn a_value_that_is_written_meanwhile_is_not_lost(rig: Rig) {
    let site = rig.site("web").await;
    many(&rig, &site, 3).await;
    let rows = values(&rig).await;
    rotated(&rig).await;
    // What a rewrap read is not what is there any more: it must not write over it.
    let stale = &rows[1];
    let place = Place {
        purpose: sealed::SECRET,
        project: stale.project_id,
        scope: stale.scope,
        owner: stale.owner_id,
        name: &stale.name,
    };
    let conn = rig.ctx.db.writer();
    let plain = rig
        .ctx
        .keys
        .open(&place.binding(1), &stale.sealed().unwrap());
    let again = rig
        .ctx
        .keys
        .seal(2, &place.binding(1), plain.unwrap().expose())
        .unwrap();
    rig.execute("UPDATE sealed_values SET row_version = row_version + 1", [])
        .await;
    assert!(!sealed::store::reseal(conn, stale, &again).await.unwrap());
    assert_eq!(key_versions(&rig).await, [Some(1); 3]);
    assert_eq!(rewrapped(&rig).await.moved, 4);
    assert_eq!(revealed(&rig, &site).await["NAME_1"], "value-1");
}

async fn a_damaged_value_stays_and_is_counted(rig: Rig) {
    let site = rig.site("web").await;
    many(&rig, &site, 3).await;
    let rows = values(&rig).await;
    let mut ciphertext = rows[1].ciphertext.clone();
    ciphertext[3] ^= 4;
    rig.execute(
        "UPDATE sealed_values SET ciphertext = ? WHERE id = ?",
        [ciphertext.into(), rows[1].id.into()],
    )
    .await;
    rotated(&rig).await;
    for moved in [3, 0] {
        let done = rewrapped(&rig).await;
        assert_eq!((done.moved, done.damaged), (moved, 1));
    }
    assert_eq!(key_versions(&rig).await, [Some(2), Some(1), Some(2)]);
    assert_eq!(conflict(retire(&rig.ctx, 1, db::now()).await), "key_in_use");
}

async fn a_trial_run_changes_nothing(rig: Rig) {
    let site = rig.site("web").await;
    many(&rig, &site, 3).await;
    rotated(&rig).await;
    let before = values(&rig).await;
    let done = rewrap::run(&rig.ctx, true, |_| {}).await.unwrap();
    assert_eq!((done.moved, done.damaged), (4, 0));
    assert_eq!(values(&rig).await, before);
}

async fn a_key_in_use_is_not_retired(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "value", None).await;
    assert_eq!(conflict(retire(&rig.ctx, 1, db::now()).await), "key_active");
    rotated(&rig).await;
    let refused = retire(&rig.ctx, 1, db::now()).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("2 value(s) are still encrypted under key version 1"),
        "{refused}"
    );
    rewrapped(&rig).await;
    retire(&rig.ctx, 1, db::now()).await.unwrap();
}

async fn a_retired_key_is_not_activated_again(rig: Rig) {
    rotated(&rig).await;
    rewrapped(&rig).await;
    retire(&rig.ctx, 1, db::now()).await.unwrap();
    assert_eq!(
        conflict(activate(&rig.ctx, 1, db::now()).await),
        "key_retired"
    );
    let refused = add(&rig.ctx, 3, MasterKey::parse(SECOND).unwrap(), db::now()).await;
    refused.unwrap();
    assert_eq!(next_version(&rig.ctx).await.unwrap(), 4);
}

async fn a_deployment_reads_values_under_either_key(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "OLD", "under the first", None).await;
    rotated(&rig).await;
    put_secret(&rig, &site, "NEW", "under the second", None).await;
    let given = revealed(&rig, &site).await;
    assert_eq!(given["OLD"], "under the first");
    assert_eq!(given["NEW"], "under the second");

    // A worker without the second key is at fault, not the deployment: nothing of it has failed.
    let (other, _) = rig.restarted(|_| {}).await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    let refused = prepare(&other, row.clone(), Known::default())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("version 2"), "{refused}");
    // A version that nobody ever made is an altered row.
    rig.execute(
        "UPDATE sealed_values SET key_version = 9 WHERE name = ?",
        ["OLD".into()],
    )
    .await;
    let refused = prepare(&rig.ctx, row, Known::default())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.code, Code::SecretIntegrity);
}

async fn a_wrong_key_is_refused_at_start(rig: Rig) {
    rotated(&rig).await;
    let wrong = security(&rig, |it| {
        it.retired_keys
            .insert("2".to_owned(), SECOND.replace('c', "d").into());
    });
    let refused = check_keys(&rig.ctx.db, &key_ring(&wrong).unwrap(), db::now()).await;
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("the master key of version 2 is not the one"),
        "{text}"
    );
    assert!(text.contains("security.retired_keys.2"), "{text}");
}

async fn a_missing_key_is_refused_at_start_with_what_to_do(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "value", None).await;
    rotated(&rig).await;
    let refused = async |change: fn(&mut Security)| {
        let ring = key_ring(&security(&rig, change)).unwrap();
        let refused = check_keys(&rig.ctx.db, &ring, db::now()).await;
        refused.map_err(|error| error.to_string())
    };
    let text = refused(|_| {}).await.unwrap_err();
    assert!(
        text.contains("master key version 2 is the active one"),
        "{text}"
    );
    assert!(
        text.contains("SLIPWAY__SECURITY__RETIRED_KEYS__2"),
        "{text}"
    );
    let only_second = |it: &mut Security| {
        it.encryption_key = Some(SECOND.into());
        it.encryption_key_version = 2;
    };
    let text = refused(only_second).await.unwrap_err();
    assert!(
        text.contains("2 stored value(s) are encrypted under master key version 1"),
        "{text}"
    );
    assert!(text.contains("`slipway keys rewrap`"), "{text}");
    rewrapped(&rig).await;
    refused(only_second).await.unwrap();
    let rows = list(&rig.ctx, &site.owner, "web").await.unwrap();
    let value = rows[0].value.as_ref().unwrap().sealed().unwrap();
    assert_eq!(value.key_version, 2);
}

/// The nonce and the cipher text of `from before`, as the first release wrote it for the first
/// secret, named TOKEN, of the first project.
const NONCE: &str = "3dcee7fc8836bcddcc65043f";
const CIPHERTEXT: &str = "0b338fc80236de87cb3b081e6e7a92fa3b29b93a178699c6bb5b09";

async fn a_secret_from_before_versions_were_kept_is_read_and_moved(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "something", None).await;
    let pool = rig.ctx.db.writer().pool().unwrap();
    while SchemaManager::new(pool)
        .has_column("secrets", "value_id")
        .await
        .unwrap()
    {
        Migrator::down(pool, Some(1)).await.unwrap();
    }
    let old = "UPDATE secrets SET algorithm = 'aes-256-gcm-siv', nonce = ?, ciphertext = ?";
    let bytes = |text| hex::decode(text).unwrap();
    rig.execute(old, [bytes(NONCE).into(), bytes(CIPHERTEXT).into()])
        .await;
    schema::migrate(&rig.ctx.db, &rig.ctx.settings.database)
        .await
        .unwrap();
    check_keys(&rig.ctx.db, &rig.ctx.keys, db::now())
        .await
        .unwrap();
    assert_eq!(revealed(&rig, &site).await["TOKEN"], "from before");
    rotated(&rig).await;
    assert_eq!(rewrapped(&rig).await.moved, 1);
    assert_eq!(values(&rig).await[0].algorithm, "aes-256-gcm-siv/versioned");
    assert_eq!(revealed(&rig, &site).await["TOKEN"], "from before");
    put_secret(&rig, &site, "TOKEN", "afterwards", None).await;
    assert_eq!(revealed(&rig, &site).await["TOKEN"], "afterwards");
}
