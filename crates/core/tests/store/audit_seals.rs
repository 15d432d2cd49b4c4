//! The audit trail: nobody alters it unnoticed.

use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use slipway_core::{
    audit::{
        entity::{chain, seal},
        retention, seal as sealing,
        verify::{self, Finding},
    },
    db,
    vault::rotation::{self, service::check_keys},
};

use crate::{
    audit_trail::{actions, entries, findings, record, trail},
    rig::{Rig, minutes_later},
};

on_both! {
    an_edited_entry_is_named,
    a_removed_entry_is_named,
    entries_that_were_swapped_are_named,
    an_entry_that_was_put_in_is_named,
    a_copied_entry_is_named,
    an_edited_or_removed_seal_is_named,
    an_end_that_was_moved_back_is_noticed,
    processes_that_seal_at_once_seal_each_entry_once,
    many_entries_are_written_and_sealed,
    what_retention_leaves_can_be_verified,
    old_entries_go_when_the_settings_say_so,
    a_new_master_key_takes_over_the_trails_key,
}

async fn an_edited_entry_is_named(rig: Rig) {
    let ids = trail(&rig, 5).await;
    for (column, id) in [("actor", ids[0]), ("after", ids[1]), ("at", ids[2])] {
        let value = if column == "at" {
            "2020-01-01 00:00:00.000000"
        } else {
            "mallory"
        };
        // `before` and `after` are words of MySQL.
        let sql = format!("UPDATE audit_entries SET `{column}` = ? WHERE id = ?");
        assert_eq!(rig.execute(&sql, [value.into(), id.into()]).await, 1);
    }
    let expected: Vec<String> = ids[..3]
        .iter()
        .map(|id| format!("entry {id} was edited"))
        .collect();
    assert_eq!(findings(&rig.ctx).await, expected);
}

async fn a_removed_entry_is_named(rig: Rig) {
    let ids = trail(&rig, 5).await;
    trail(&rig, 2).await;
    rig.execute("DELETE FROM audit_entries WHERE id = ?", [ids[3].into()])
        .await;
    let expected = format!("entry {} of seal 1 was removed", ids[3]);
    assert_eq!(findings(&rig.ctx).await, [expected]);
}

async fn entries_that_were_swapped_are_named(rig: Rig) {
    let ids = trail(&rig, 3).await;
    for (from, to) in [(ids[0], 900_000), (ids[2], ids[0]), (900_000, ids[2])] {
        rig.execute(
            "UPDATE audit_entries SET id = ? WHERE id = ?",
            [to.into(), from.into()],
        )
        .await;
    }
    let told = |id| format!("entry {id} is not the one that seal 1 holds in its place");
    assert_eq!(findings(&rig.ctx).await, [told(ids[0]), told(ids[2])]);
}

/// Columns of an entry but its id, for statements that copy one.
const COLUMNS: &str = "at, actor_id, actor, role, address, credential, credential_id, action, \
                       object_kind, object_id, object, project_id, `before`, `after`";

async fn an_entry_that_was_put_in_is_named(rig: Rig) {
    let ids = trail(&rig, 3).await;
    let copy = format!(
        "INSERT INTO audit_entries (id, {COLUMNS}, nonce, mac, seal) \
         SELECT ?, {COLUMNS}, nonce, 'of nobody', seal FROM audit_entries WHERE id = ?"
    );
    rig.execute(&copy, [800_000.into(), ids[0].into()]).await;
    assert_eq!(
        findings(&rig.ctx).await,
        ["entry 800000 claims seal 1, which does not hold it"]
    );
    // One that waits to be sealed has no proof either.
    rig.execute(
        "UPDATE audit_entries SET seal = NULL WHERE id = ?",
        [800_000.into()],
    )
    .await;
    let found = findings(&rig.ctx).await;
    assert!(
        found.contains(&"entry 800000 was edited".to_owned()),
        "{found:?}"
    );
}

async fn a_copied_entry_is_named(rig: Rig) {
    let ids = trail(&rig, 3).await;
    let copy = format!(
        "INSERT INTO audit_entries (id, {COLUMNS}, nonce, mac, seal) \
         SELECT ?, {COLUMNS}, nonce, mac, NULL FROM audit_entries WHERE id = ?"
    );
    rig.execute(&copy, [800_000.into(), ids[1].into()]).await;
    assert_eq!(
        findings(&rig.ctx).await,
        ["entry 800000 is a copy of another one"]
    );
}

async fn an_edited_or_removed_seal_is_named(rig: Rig) {
    for _ in 0..3 {
        trail(&rig, 2).await;
    }
    rig.execute(
        "UPDATE audit_seals SET hash = ? WHERE id = 2",
        [vec![7_u8; 32].into()],
    )
    .await;
    let told = |seal| format!("seal {seal} was edited, or does not follow the one before it");
    assert_eq!(findings(&rig.ctx).await, [told(2), told(3)]);
    rig.execute("DELETE FROM audit_seals WHERE id = ?", [2.into()])
        .await;
    let found = findings(&rig.ctx).await;
    assert!(
        found.contains(&"seal 2 was removed".to_owned()),
        "{found:?}"
    );
}

async fn an_end_that_was_moved_back_is_noticed(rig: Rig) {
    trail(&rig, 2).await;
    let old = chain::Entity::find()
        .one(rig.ctx.db.reader())
        .await
        .unwrap()
        .unwrap();
    trail(&rig, 2).await;
    let report = verify::run(&rig.ctx, None).await.unwrap();
    let noted = (report.head.seal, report.head.hash);
    // The newest entries go, and somebody without the key writes an end that would fit.
    rig.execute("DELETE FROM audit_entries WHERE seal = ?", [2.into()])
        .await;
    rig.execute("DELETE FROM audit_seals WHERE id = ?", [2.into()])
        .await;
    let found = findings(&rig.ctx).await;
    assert_eq!(found, ["seal 2 was removed"]);
    rig.execute("UPDATE audit_chain SET head = ?", [old.head.clone().into()])
        .await;
    assert_eq!(findings(&rig.ctx).await, ["the chain's ends were edited"]);
    // With an old end and its old proof only a note from elsewhere helps.
    rig.execute("UPDATE audit_chain SET head_mac = ?", [old.head_mac.into()])
        .await;
    assert_eq!(findings(&rig.ctx).await, Vec::<String>::new());
    let report = verify::run(&rig.ctx, Some(&noted)).await.unwrap();
    assert_eq!(report.findings, [Finding::NotAsNoted(2)]);
}

async fn processes_that_seal_at_once_seal_each_entry_once(rig: Rig) {
    let (other, _) = rig.restarted(|_| {}).await;
    for _ in 0..10 {
        record(&rig.ctx, 20).await;
        let (one, two) = tokio::join!(sealing::run_once(&rig.ctx), sealing::run_once(&other));
        assert!(one.unwrap() + two.unwrap() >= 20);
    }
    let report = verify::run(&rig.ctx, None).await.unwrap();
    assert_eq!((report.entries, report.unsealed), (200, 0));
    assert_eq!(report.findings, []);
}

async fn many_entries_are_written_and_sealed(rig: Rig) {
    record(&rig.ctx, 2_500).await;
    assert_eq!(sealing::run_once(&rig.ctx).await.unwrap(), 2_500);
    let report = verify::run(&rig.ctx, None).await.unwrap();
    let links = 2_500_u64.div_ceil(sealing::ENTRIES_MAX);
    assert_eq!(
        (report.entries, report.head.entries, report.head.seal),
        (2_500, 2_500, i64::try_from(links).unwrap())
    );
    assert_eq!(report.findings, []);
}

async fn what_retention_leaves_can_be_verified(rig: Rig) {
    for _ in 0..7 {
        trail(&rig, 3).await;
    }
    let row = seal::Entity::find_by_id(6)
        .one(rig.ctx.db.reader())
        .await
        .unwrap()
        .unwrap();
    let removed = retention::run_once(&rig.ctx, row.at, db::now())
        .await
        .unwrap();
    assert_eq!(removed, 15);
    assert_eq!(
        seal::Entity::find()
            .count(rig.ctx.db.reader())
            .await
            .unwrap(),
        2
    );
    assert_eq!(actions(&rig.ctx).await.last().unwrap(), "audit.prune");
    let report = verify::run(&rig.ctx, None).await.unwrap();
    assert_eq!(
        (report.head.pruned_seal, report.head.pruned_entries),
        (5, 15)
    );
    assert_eq!(report.findings, []);
    // More than retention took is missed.
    let first = entries(&rig.ctx).await.remove(0).id.0;
    rig.execute("DELETE FROM audit_entries WHERE id = ?", [first.into()])
        .await;
    let expected = format!("entry {first} of seal 6 was removed");
    assert_eq!(findings(&rig.ctx).await, [expected]);
    let none = retention::run_once(
        &rig.ctx,
        db::now() - chrono::Duration::days(1),
        minutes_later(1),
    );
    assert_eq!(none.await.unwrap(), 0);
}

async fn old_entries_go_when_the_settings_say_so(rig: Rig) {
    use slipway_core::recovery::tidy;
    trail(&rig, 3).await;
    let later = db::now() + chrono::Duration::days(30);
    assert_eq!(tidy::run_once(&rig.ctx, later).await.unwrap().audit, 0);
    let (kept, _) = rig
        .restarted(|settings| settings.audit.retention_days = 0)
        .await;
    let much_later = db::now() + chrono::Duration::days(4_000);
    assert_eq!(tidy::run_once(&kept, much_later).await.unwrap().audit, 0);
    let (month, _) = rig
        .restarted(|settings| settings.audit.retention_days = 29)
        .await;
    assert_eq!(tidy::run_once(&month, later).await.unwrap().audit, 3);
}

async fn a_new_master_key_takes_over_the_trails_key(rig: Rig) {
    trail(&rig, 2).await;
    let change = |settings: &mut slipway_core::settings::Settings| {
        let old = settings
            .security
            .encryption_key
            .replace("5f2d8c1b9a7e3046d1c0b8e7f6a59483726150493827a6b5c4d3e2f10918273d".into());
        settings.security.encryption_key_version = 2;
        settings.security.retired_keys = [("1".to_owned(), old.unwrap())].into();
    };
    let (other, _) = rig.restarted(change).await;
    check_keys(&other.db, &other.keys, db::now()).await.unwrap();
    rotation::service::activate(&other, 2, db::now())
        .await
        .unwrap();
    let moved = rotation::rewrap::run(&other, false, |_| {}).await.unwrap();
    assert_eq!((moved.moved, moved.damaged), (1, 0));
    record(&other, 2).await;
    // Processes that have the key already go on with it.
    record(&rig.ctx, 2).await;
    let alone = |settings: &mut slipway_core::settings::Settings| {
        change(settings);
        settings.security.retired_keys.clear();
    };
    let (after, _) = rig.restarted(alone).await;
    check_keys(&after.db, &after.keys, db::now()).await.unwrap();
    let report = verify::run(&after, None).await.unwrap();
    // The activation and the move left an entry each.
    assert_eq!((report.entries, report.findings), (8, vec![]));
}
