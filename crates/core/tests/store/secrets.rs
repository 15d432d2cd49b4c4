//! Secrets at rest, and what happens to rows that somebody altered.

use std::sync::Arc;

use sea_orm::EntityTrait as _;
use slipway_core::{
    db,
    deployment::{brief::Known, reason::Code, run::prepare},
    error::Error,
    settings::Security,
    ssh,
    vault::{
        load::key_ring,
        rotation::service::check_keys,
        sealed::entity::{Column, Entity, Model},
        service::{SecretInput, delete, destroy, list, put, used, versions},
    },
};

use crate::{
    rig::{Rig, Site},
    run_input::put_secret,
};

on_both! {
    a_new_value_is_the_next_version,
    many_writers_of_one_secret_make_as_many_versions,
    no_plain_text_is_in_the_row,
    the_same_value_is_encrypted_differently_each_time,
    a_value_swapped_into_another_row_is_refused,
    a_secret_that_points_at_another_value_is_refused,
    a_changed_bit_anywhere_is_refused,
    a_deleted_secret_is_gone_and_its_name_must_fit_exactly,
    a_run_writes_down_what_it_was_given,
    a_former_version_is_destroyed_and_stays_in_the_list,
    an_altered_secret_is_in_the_audit_trail,
    values_go_with_what_they_belong_to,
    short_and_impossible_values_are_refused,
    a_wrong_master_key_is_noticed_at_start,
    processes_that_start_together_agree_on_the_key_check,
}

async fn rows(rig: &Rig) -> Vec<Model> {
    use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryOrder as _};
    Entity::find()
        .filter(Column::Purpose.eq(slipway_core::vault::sealed::SECRET))
        .order_by_asc(Column::Id)
        .all(rig.ctx.db.reader())
        .await
        .unwrap()
}

async fn a_new_value_is_the_next_version(rig: Rig) {
    let site = rig.site("web").await;
    assert!(put_secret(&rig, &site, "TOKEN", "first", None).await);
    assert!(!put_secret(&rig, &site, "TOKEN", "second", None).await);
    assert!(!put_secret(&rig, &site, "TOKEN", "third", None).await);
    assert!(put_secret(&rig, &site, "TOKEN", "other", Some("live")).await);
    let rows = list(&rig.ctx, &site.owner, "web").await.unwrap();
    let versions: Vec<_> = rows
        .iter()
        .map(|row| (row.secret.scope, row.secret.version))
        .collect();
    assert_eq!(versions, [(0, 3), (site.target.id.0, 1)]);
    let values: Vec<_> = self::rows(&rig).await;
    let kept: Vec<_> = values.iter().map(|row| (row.scope, row.version)).collect();
    let live = site.target.id.0;
    assert_eq!(kept, [(0, 1), (0, 2), (0, 3), (live, 1)]);
    assert!(
        values
            .iter()
            .all(|row| row.created_by == Some(site.owner.user))
    );
}

async fn many_writers_of_one_secret_make_as_many_versions(rig: Rig) {
    let site = Arc::new(rig.site("web").await);
    let rig = Arc::new(rig);
    let writers: Vec<_> = (0..20)
        .map(|number| {
            let (rig, site) = (Arc::clone(&rig), Arc::clone(&site));
            let value = format!("value-{number}");
            tokio::spawn(async move { put_secret(&rig, &site, "TOKEN", &value, None).await })
        })
        .collect();
    let mut new = 0;
    for writer in writers {
        new += usize::from(writer.await.unwrap());
    }
    let versions: Vec<i64> = rows(&rig).await.iter().map(|row| row.version).collect();
    assert_eq!(new, 1);
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
    let rows = list(&rig.ctx, &site.owner, "web").await.unwrap();
    assert_eq!(rows[0].secret.version, 20);
    assert_eq!(rows[0].value.as_ref().unwrap().version, 20);
}

async fn no_plain_text_is_in_the_row(rig: Rig) {
    let site = rig.site("web").await;
    let value = "a secret that would be easy to find";
    put_secret(&rig, &site, "TOKEN", value, None).await;
    let row = rows(&rig).await.remove(0);
    let whole = format!("{row:?}");
    assert!(!whole.contains("easy to find"), "{whole}");
    let holds = |bytes: &[u8]| {
        bytes
            .windows(4)
            .any(|part| value.as_bytes().windows(4).any(|it| it == part))
    };
    let nonce = row.nonce.unwrap();
    assert!(!holds(&row.ciphertext) && !holds(&nonce));
    assert_eq!(row.ciphertext.len(), value.len() + 16, "the tag is kept");
    assert_eq!(nonce.len(), 12);
}

async fn the_same_value_is_encrypted_differently_each_time(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "ONE", "same value", None).await;
    put_secret(&rig, &site, "TWO", "same value", None).await;
    let rows = rows(&rig).await;
    assert_ne!(rows[0].ciphertext, rows[1].ciphertext);
    assert_ne!(rows[0].nonce, rows[1].nonce);
}

/// What a run of the site meets when it asks for its secrets.
async fn refusal(rig: &Rig, site: &Site) -> Option<(Code, String)> {
    let id = rig.deploy(site).await;
    let row = rig.claim(id).await;
    let prepared = prepare(&rig.ctx, row.clone(), Known::default())
        .await
        .unwrap();
    rig.finish(&row, slipway_core::deployment::run::RunEnd::Cancelled)
        .await;
    prepared.err().map(|reason| (reason.code, reason.text))
}

async fn write(rig: &Rig, row: &Model, nonce: &[u8], ciphertext: &[u8]) {
    let id = row.id;
    rig.execute(
        "UPDATE sealed_values SET nonce = ?, ciphertext = ? WHERE id = ?",
        [nonce.to_vec().into(), ciphertext.to_vec().into(), id.into()],
    )
    .await;
}

async fn a_value_swapped_into_another_row_is_refused(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    put_secret(&rig, &web, "TOKEN", "web-token-1", None).await;
    put_secret(&rig, &web, "TOKEN", "web-token-2", None).await;
    put_secret(&rig, &web, "OTHER", "web-other", None).await;
    put_secret(&rig, &web, "TOKEN", "web-live-token", Some("live")).await;
    put_secret(&rig, &shop, "TOKEN", "shop-token", None).await;
    assert_eq!(refusal(&rig, &web).await, None);
    // What the deployment reads is the project's own TOKEN, in its second version.
    let hidden = "DELETE FROM secrets WHERE project_id = ? AND (name = 'OTHER' OR scope <> 0)";
    rig.execute(hidden, [web.project.id.into()]).await;
    let rows = rows(&rig).await;
    let read = &rows[1];
    let unused = [7_u8; 12];
    // Its older version, another name, a target's own, another project: none of them fits.
    for donor in rows.iter().filter(|row| row.id != read.id) {
        // A nonce is unique, so the donor has to give its own away.
        let nonce = donor.nonce.clone().unwrap();
        write(&rig, donor, &unused, &donor.ciphertext).await;
        write(&rig, read, &nonce, &donor.ciphertext).await;
        let (code, text) = refusal(&rig, &web).await.expect("the swap is noticed");
        assert_eq!(code, Code::SecretIntegrity);
        assert!(!text.contains("token"), "{text}");
        assert!(!code.may_retry());
        write(&rig, read, read.nonce.as_ref().unwrap(), &read.ciphertext).await;
        assert_eq!(refusal(&rig, &web).await, None, "the row itself is sound");
        write(&rig, donor, &nonce, &donor.ciphertext).await;
    }
}

async fn a_secret_that_points_at_another_value_is_refused(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    put_secret(&rig, &web, "TOKEN", "web-token-1", None).await;
    put_secret(&rig, &web, "TOKEN", "web-token-2", None).await;
    put_secret(&rig, &shop, "TOKEN", "shop-token", None).await;
    let rows = rows(&rig).await;
    let point = async |value: i64| {
        let sql = "UPDATE secrets SET value_id = ? WHERE project_id = ?";
        rig.execute(sql, [value.into(), web.project.id.into()])
            .await;
        refusal(&rig, &web).await.map(|(code, _)| code)
    };
    assert_eq!(point(rows[1].id.0).await, None);
    for other in [rows[0].id.0, rows[2].id.0, 0] {
        assert_eq!(point(other).await, Some(Code::SecretIntegrity), "{other}");
    }
}

async fn a_changed_bit_anywhere_is_refused(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "hunter22", None).await;
    let row = rows(&rig).await.remove(0);
    let nonce = row.nonce.clone().unwrap();
    for place in [0, row.ciphertext.len() / 2, row.ciphertext.len() - 1] {
        let mut ciphertext = row.ciphertext.clone();
        ciphertext[place] ^= 1;
        write(&rig, &row, &nonce, &ciphertext).await;
        assert_eq!(refusal(&rig, &site).await.unwrap().0, Code::SecretIntegrity);
    }
    for (nonce, ciphertext) in [
        (&nonce[..11], &row.ciphertext[..]),
        (&nonce[..], &row.ciphertext[..10]),
        (&nonce[..], &[]),
    ] {
        write(&rig, &row, nonce, ciphertext).await;
        assert_eq!(refusal(&rig, &site).await.unwrap().0, Code::SecretIntegrity);
    }
    write(&rig, &row, &nonce, &row.ciphertext).await;
    for change in [
        "key_version = 2",
        "key_version = NULL",
        "algorithm = 'aes-256-gcm-siv'",
        "algorithm = 'none'",
    ] {
        let sql = format!("UPDATE sealed_values SET {change} WHERE id = ?");
        rig.execute(&sql, [row.id.into()]).await;
        assert_eq!(refusal(&rig, &site).await.unwrap().0, Code::SecretIntegrity);
        let sql = "UPDATE sealed_values SET key_version = 1, algorithm = ? WHERE id = ?";
        rig.execute(sql, [row.algorithm.clone().into(), row.id.into()])
            .await;
        assert_eq!(refusal(&rig, &site).await, None);
    }
}

async fn a_deleted_secret_is_gone_and_its_name_must_fit_exactly(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "hunter22", None).await;
    for (name, target) in [
        ("token", None),
        ("TOKEN ", None),
        ("TOKEN", Some("live")),
        ("T", None),
    ] {
        let deleted = delete(&rig.ctx, &site.owner, "web", name, target).await;
        assert!(
            matches!(deleted, Err(Error::NotFound("secret"))),
            "{name:?}"
        );
    }
    delete(&rig.ctx, &site.owner, "web", "TOKEN", None)
        .await
        .unwrap();
    assert!(rows(&rig).await.is_empty());
    assert!(put_secret(&rig, &site, "TOKEN", "again", None).await);
}

async fn short_and_impossible_values_are_refused(rig: Rig) {
    let site = rig.site("web").await;
    let long = "x".repeat(64 * 1024 + 1);
    for (value, target) in [
        ("abc", None),
        ("ab\0cd", None),
        (long.as_str(), None),
        ("value", Some("none")),
    ] {
        let input = SecretInput {
            name: "TOKEN".parse().unwrap(),
            value: value.into(),
            target: target.map(ToOwned::to_owned),
        };
        let refused = put(&rig.ctx, &site.owner, "web", input, db::now()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
    let most = "ä".repeat(32 * 1024);
    put_secret(&rig, &site, "TOKEN", &most, None).await;
    assert_eq!(refusal(&rig, &site).await, None);
}

fn security(rig: &Rig, change: impl FnOnce(&mut Security)) -> Security {
    let mut security = rig.ctx.settings.security.clone();
    change(&mut security);
    security
}

const OTHER_KEY: &str = "c1b90de37a5548f2961f0cb3ad7e26148f35d0a96be27c41f8023d9a65b7ce10";

async fn a_wrong_master_key_is_noticed_at_start(rig: Rig) {
    let db = &rig.ctx.db;
    check_keys(db, &rig.ctx.keys, db::now()).await.unwrap();
    check_keys(db, &rig.ctx.keys, db::now()).await.unwrap();
    let wrong = security(&rig, |it| it.encryption_key = Some(OTHER_KEY.into()));
    let wrong = key_ring(&wrong).unwrap();
    let refused = check_keys(db, &wrong, db::now()).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("master key of version 1 is not the one"),
        "{text}"
    );
    let next = security(&rig, |it| {
        it.retired_keys
            .insert("1".to_owned(), it.encryption_key.take().unwrap());
        it.encryption_key = Some(OTHER_KEY.into());
        it.encryption_key_version = 2;
    });
    let next = key_ring(&next).unwrap();
    check_keys(db, &next, db::now()).await.unwrap();
    check_keys(db, &next, db::now()).await.unwrap();
}

async fn processes_that_start_together_agree_on_the_key_check(rig: Rig) {
    let mut starts = Vec::new();
    for _ in 0..8 {
        let (db, keys) = (rig.ctx.db.clone(), Arc::clone(&rig.ctx.keys));
        starts.push(tokio::spawn(async move {
            check_keys(&db, &keys, db::now()).await
        }));
    }
    for start in starts {
        start.await.unwrap().unwrap();
    }
}

async fn entries(rig: &Rig, action: &str) -> Vec<slipway_core::audit::entity::Model> {
    let all = slipway_core::audit::entity::Entity::find();
    let mut rows = all.all(rig.ctx.db.writer()).await.unwrap();
    rows.retain(|row| row.action == action);
    rows
}

async fn a_run_writes_down_what_it_was_given(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "OWN", "for all targets", None).await;
    put_secret(&rig, &site, "OWN", "for the live one", Some("live")).await;
    put_secret(&rig, &site, "TOKEN", "first value", None).await;
    put_secret(&rig, &site, "TOKEN", "second value", None).await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    prepare(&rig.ctx, row.clone(), Known::default())
        .await
        .unwrap()
        .unwrap();
    let used = used(&rig.ctx, &site.owner, id).await.unwrap();
    let used: Vec<_> = used
        .iter()
        .map(|used| (used.name.as_str(), used.version, used.scope, used.attempt))
        .collect();
    assert_eq!(used, [("OWN", 1, site.target.id.0, 1), ("TOKEN", 2, 0, 1)]);
    let entries = entries(&rig, "secret.use").await;
    assert_eq!(entries.len(), 1, "one for the run");
    let told = entries[0].after.as_deref().unwrap();
    assert!(
        told.contains(r#"{"name":"TOKEN","scope":0,"version":2}"#),
        "{told}"
    );
    assert!(
        told.contains("worker-1") && !told.contains("value"),
        "{told}"
    );
    assert_eq!(entries[0].object_id, Some(id.0));
    let stranger = rig.user(
        "stranger@example.com",
        slipway_core::access::SystemRole::Developer,
    );
    let hidden = slipway_core::vault::service::used(&rig.ctx, &stranger.await, id).await;
    assert!(matches!(hidden, Err(Error::NotFound(_))));
}

async fn a_former_version_is_destroyed_and_stays_in_the_list(rig: Rig) {
    let site = rig.site("web").await;
    for value in ["first value", "second value", "third value"] {
        put_secret(&rig, &site, "TOKEN", value, None).await;
    }
    let destroyed =
        async |version: i64| destroy(&rig.ctx, &site.owner, "web", ("TOKEN", None, version)).await;
    assert_eq!(
        crate::rig::conflict(destroyed(3).await),
        "secret_version_current"
    );
    assert!(matches!(destroyed(4).await, Err(Error::NotFound(_))));
    destroyed(1).await.unwrap();
    destroyed(1).await.unwrap();
    assert_eq!(entries(&rig, "secret.destroy").await.len(), 1);
    let secret = ("TOKEN", None);
    let all = versions(&rig.ctx, &site.owner, "web", secret)
        .await
        .unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|row| (row.version, row.key_version, row.destroyed_at.is_some()))
        .collect();
    assert_eq!(
        seen,
        [(3, Some(1), false), (2, Some(1), false), (1, None, true)]
    );
    let gone = all.last().unwrap();
    assert_eq!((gone.ciphertext.len(), &gone.nonce), (0, &None));
    assert_eq!(refusal(&rig, &site).await, None);
    // A version number is never used again.
    put_secret(&rig, &site, "TOKEN", "fourth value", None).await;
    assert_eq!(rows(&rig).await.last().unwrap().version, 4);
}

async fn an_altered_secret_is_in_the_audit_trail(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "TOKEN", "hunter22", None).await;
    let row = rows(&rig).await.remove(0);
    write(
        &rig,
        &row,
        row.nonce.as_ref().unwrap(),
        &row.ciphertext[1..],
    )
    .await;
    assert_eq!(refusal(&rig, &site).await.unwrap().0, Code::SecretIntegrity);
    let entries = entries(&rig, "secret.altered").await;
    let told = entries[0].after.as_deref().unwrap();
    assert!(
        told.contains(r#""name":"TOKEN""#) && !told.contains("hunter"),
        "{told}"
    );
}

async fn values_go_with_what_they_belong_to(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    for (site, target) in [(&web, None), (&web, Some("live")), (&shop, None)] {
        let slug = &site.project.slug;
        put_secret(&rig, site, "TOKEN", "first value", target).await;
        put_secret(&rig, site, "TOKEN", "second value", target).await;
        ssh::service::generate(&rig.ctx, &site.owner, slug, target, db::now())
            .await
            .unwrap();
    }
    let left = async || {
        let rows = Entity::find().all(rig.ctx.db.writer()).await.unwrap();
        let own = rows.iter().filter(|row| row.project_id.is_some());
        own.map(|row| (row.project_id.unwrap(), row.scope))
            .collect::<Vec<_>>()
    };
    assert_eq!(left().await.len(), 9);
    slipway_core::target::service::delete(&rig.ctx, &web.owner, "web", "live")
        .await
        .unwrap();
    let after = left().await;
    assert_eq!(after.len(), 6);
    assert!(after.iter().all(|(_, scope)| *scope == 0), "{after:?}");
    slipway_core::project::service::delete(&rig.ctx, &web.owner, "web")
        .await
        .unwrap();
    assert_eq!(left().await, [(shop.project.id, 0); 3]);
    ssh::service::delete(&rig.ctx, &shop.owner, "shop", None)
        .await
        .unwrap();
    delete(&rig.ctx, &shop.owner, "shop", "TOKEN", None)
        .await
        .unwrap();
    assert_eq!(left().await, []);
}
