//! The audit trail: what it tells, and that nobody alters it unnoticed.

use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryOrder as _};
use slipway_core::{
    access::{ProjectRole, SystemRole},
    account::{
        password::Password,
        service::{
            self as accounts, NewUser, UserChange,
            tokens::{self, NewToken},
        },
    },
    audit::{
        entity::{Entity, Model, chain, seal},
        entry::{Action, Entry, ObjectKind},
        retention, seal as sealing,
        service::{self, Filter},
        verify::{self, Finding},
    },
    ctx::Ctx,
    db,
    deployment::{
        self,
        admission::{Idempotency, NewDeployment},
    },
    error::Error,
    lock::service::{self as locks, Address, LockInput},
    project::service::{self as projects, ProjectChange, members},
    target::service as targets,
    variable::service::{self as variables, VariableInput},
    vault::{
        rotation::{self, service::check_keys},
        service::{self as secrets, SecretInput},
    },
};

use crate::rig::{Rig, Site, conflict, minutes_later, new_project};

on_both! {
    each_change_leaves_one_entry,
    an_entry_says_who_did_it_from_where_and_what_it_was_before,
    each_deployment_that_was_accepted_is_entered_once,
    a_change_that_is_refused_leaves_no_entry,
    a_secret_is_in_no_entry,
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
    only_those_who_operate_read_the_trail,
    the_trail_is_searched,
}

async fn entries(ctx: &Ctx) -> Vec<Model> {
    Entity::find()
        .order_by_asc(slipway_core::audit::entity::Column::Id)
        .all(ctx.db.reader())
        .await
        .unwrap()
}

async fn actions(ctx: &Ctx) -> Vec<String> {
    entries(ctx)
        .await
        .into_iter()
        .map(|row| row.action)
        .collect()
}

async fn findings(ctx: &Ctx) -> Vec<String> {
    let report = verify::run(ctx, None).await.unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

/// Some sealed entries, the numbers of which are answered.
async fn trail(rig: &Rig, count: usize) -> Vec<i64> {
    let before = entries(&rig.ctx).await.len();
    record(&rig.ctx, count).await;
    sealing::run_once(&rig.ctx).await.unwrap();
    let rows = entries(&rig.ctx).await;
    rows.iter().skip(before).map(|row| row.id.0).collect()
}

async fn record(ctx: &Ctx, count: usize) {
    let entries: Vec<Entry> = (0..count)
        .map(|number| {
            Entry::by_system(Action::ProjectUpdate, db::now())
                .on(ObjectKind::Project, 7, &format!("project {number}"))
                .after(&serde_json::json!({ "number": number }))
        })
        .collect();
    let tx = ctx.db.begin().await.unwrap();
    ctx.audit.record_all(&tx, &entries).await.unwrap();
    tx.commit().await.unwrap();
}

async fn each_change_leaves_one_entry(rig: Rig) {
    let (ctx, now) = (&rig.ctx, db::now());
    let site = rig.site("web").await;
    change_people(&rig, &site).await;
    change_values(&rig, &site).await;
    let input = LockInput {
        reason: "holidays".parse().unwrap(),
        expires_at: None,
    };
    let place = Address::Project("web");
    locks::put(ctx, &site.owner, place, input, now)
        .await
        .unwrap();
    for _ in 0..2 {
        locks::lift(ctx, &site.owner, place).await.unwrap();
    }
    cancel_twice(&rig, &site, false).await;
    cancel_twice(&rig, &site, true).await;
    targets::delete(ctx, &site.owner, "web", "live")
        .await
        .unwrap();
    projects::delete(ctx, &site.owner, "web").await.unwrap();
    let expected = "project.create pipeline.update target.create user.create user.update \
                    token.create token.revoke member.set member.remove variable.set \
                    variable.delete secret.set secret.delete lock.set lock.lift \
                    deployment.create deployment.cancel deployment.create deployment.cancel \
                    target.delete project.delete";
    assert_eq!(actions(ctx).await.join(" "), expected);
    assert_eq!(findings(ctx).await, Vec::<String>::new());
}

/// Whichever way it was accepted: counted or not, alone or with others, asked for once or again.
async fn each_deployment_that_was_accepted_is_entered_once(rig: Rig) {
    let site = rig.site("web").await;
    let ctx = rig.limited(12).await;
    let key = || Idempotency {
        key: "again".parse().unwrap(),
        request_hash: "0".to_owned(),
    };
    let mut requests = vec![site.wanted()];
    requests.extend((0..20).map(|number| NewDeployment {
        idempotency: (number < 4).then(key),
        ..site.wanted()
    }));
    let first = ctx.admission.request(requests.remove(0)).await.unwrap();
    let asked = requests
        .into_iter()
        .map(|wanted| ctx.admission.request(wanted));
    let answers = futures_util::future::join_all(asked).await;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    let accepted = answers.into_iter().flatten().chain([first]);
    let mut ids: Vec<i64> = accepted.map(|accepted| accepted.row.id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), refused), (12, 21 - 3 - 12));
    let entered = entries(&ctx).await;
    let entered = entered.iter().filter(|it| it.action == "deployment.create");
    let mut objects: Vec<i64> = entered
        .map(|entry| {
            assert_eq!(entry.actor, site.owner.email);
            assert_eq!(entry.project_id, Some(site.project.id));
            assert!(
                entry
                    .after
                    .as_ref()
                    .unwrap()
                    .contains("\"trigger\":\"manual\"")
            );
            entry.object_id.unwrap()
        })
        .collect();
    objects.sort_unstable();
    assert_eq!(objects, ids);
    assert_eq!(findings(&ctx).await, Vec::<String>::new());
}

async fn change_people(rig: &Rig, site: &Site) {
    let (ctx, now) = (&rig.ctx, db::now());
    let admin = rig.user("root@example.com", SystemRole::Admin).await;
    let ann = NewUser {
        email: "ann@example.com".parse().unwrap(),
        name: "Ann".parse().unwrap(),
        role: SystemRole::Developer,
        password: Password::new("correct horse battery".into()).unwrap(),
    };
    let ann = accounts::create_user(ctx, &admin, ann, now).await.unwrap();
    let change = UserChange {
        role: Some(SystemRole::Manager),
        ..UserChange::default()
    };
    accounts::update_user(ctx, &admin, ann.id, change, now)
        .await
        .unwrap();
    let new = NewToken::unlimited("laptop".parse().unwrap());
    let made = tokens::create(ctx, &admin, None, new, now).await;
    let revoked = tokens::revoke(ctx, &admin, None, made.unwrap().0.id).await;
    revoked.unwrap();
    for role in [Some(ProjectRole::Member), None] {
        let set = members::set(ctx, &site.owner, "web", (ann.id, role), now);
        set.await.unwrap();
    }
}

async fn change_values(rig: &Rig, site: &Site) {
    let (ctx, now) = (&rig.ctx, db::now());
    let input = VariableInput {
        name: "GREETING".parse().unwrap(),
        value: "hello".to_owned(),
        target: None,
    };
    variables::put(ctx, &site.owner, "web", input, now)
        .await
        .unwrap();
    let gone = variables::delete(ctx, &site.owner, "web", "GREETING", None);
    gone.await.unwrap();
    put_secret(ctx, &site.owner, "TOKEN", "hunter2hunter2").await;
    secrets::delete(ctx, &site.owner, "web", "TOKEN", None)
        .await
        .unwrap();
}

async fn cancel_twice(rig: &Rig, site: &Site, while_it_runs: bool) {
    let id = rig.deploy(site).await;
    let run = if while_it_runs {
        Some(rig.claim(id).await)
    } else {
        None
    };
    for _ in 0..2 {
        let cancelled = deployment::service::cancel(&rig.ctx, &site.owner, id, db::now());
        cancelled.await.unwrap();
    }
    if let Some(row) = run {
        rig.finish(&row, deployment::run::RunEnd::Cancelled).await;
    }
}

async fn put_secret(ctx: &Ctx, owner: &slipway_core::access::Actor, name: &str, value: &str) {
    let input = SecretInput {
        name: name.parse().unwrap(),
        value: value.into(),
        target: None,
    };
    secrets::put(ctx, owner, "web", input, db::now())
        .await
        .unwrap();
}

async fn an_entry_says_who_did_it_from_where_and_what_it_was_before(rig: Rig) {
    let site = rig.site("web").await;
    let change = ProjectChange {
        name: Some("The site".parse().unwrap()),
        ..ProjectChange::default()
    };
    projects::update(&rig.ctx, &site.owner, "web", change, db::now())
        .await
        .unwrap();
    let entry = entries(&rig.ctx).await.pop().unwrap();
    assert_eq!(entry.actor_id, Some(site.owner.user));
    assert_eq!(entry.actor, "web@example.com");
    assert_eq!(
        (entry.role.as_str(), entry.address.as_str()),
        ("developer", "192.0.2.7")
    );
    assert_eq!(
        (entry.credential.as_str(), entry.credential_id),
        ("session", Some(0))
    );
    assert_eq!(
        (entry.object_kind.as_str(), entry.object.as_str()),
        ("project", "web")
    );
    assert_eq!(entry.object_id, Some(site.project.id.0));
    assert_eq!(entry.project_id, Some(site.project.id));
    assert_eq!(entry.before.unwrap(), r#"{"name":"web"}"#);
    assert_eq!(entry.after.unwrap(), r#"{"name":"The site"}"#);
}

async fn a_change_that_is_refused_leaves_no_entry(rig: Rig) {
    let site = rig.site("web").await;
    let before = entries(&rig.ctx).await.len();
    let again = projects::create(&rig.ctx, &site.owner, new_project("web"), db::now()).await;
    assert_eq!(conflict(again), "slug_taken");
    let member = (site.owner.user, None);
    let left = members::set(&rig.ctx, &site.owner, "web", member, db::now()).await;
    assert_eq!(conflict(left), "last_owner");
    rig.deploy(&site).await;
    let deleted = projects::delete(&rig.ctx, &site.owner, "web").await;
    assert_eq!(conflict(deleted), "deployments_open");
    let mut after = actions(&rig.ctx).await;
    after.retain(|action| action != "deployment.create");
    assert_eq!(after.len(), before);
}

async fn a_secret_is_in_no_entry(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig.ctx, &site.owner, "TOKEN", "hunter2-hunter2").await;
    put_secret(&rig.ctx, &site.owner, "TOKEN", "hunter2-again").await;
    let rows = entries(&rig.ctx).await;
    assert!(rows.iter().any(|row| row.object == "TOKEN"));
    assert!(!format!("{rows:?}").contains("hunter2"));
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

async fn only_those_who_operate_read_the_trail(rig: Rig) {
    let all = Filter::default();
    for role in SystemRole::ALL {
        let actor = rig.user(&format!("{role}@example.com"), role).await;
        let read = service::list(&rig.ctx, &actor, &all, None, 10).await;
        let exported =
            service::export(&rig.ctx, &actor, &all, slipway_core::id::AuditId(0), 10).await;
        let may = matches!(role, SystemRole::Admin | SystemRole::Manager);
        for outcome in [read, exported] {
            assert_eq!(outcome.is_ok(), may, "{role}");
            assert!(may || matches!(outcome, Err(Error::Forbidden(_))));
        }
    }
}

async fn the_trail_is_searched(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    let admin = rig.user("root@example.com", SystemRole::Admin).await;
    let found = async |filter: Filter| {
        let rows = service::list(&rig.ctx, &admin, &filter, None, 50)
            .await
            .unwrap();
        rows.iter()
            .map(|row| format!("{} {}", row.action, row.object))
            .collect::<Vec<_>>()
    };
    let target = format!("target.create {}", web.target.slug);
    let of_web = [target.as_str(), "pipeline.update web", "project.create web"];
    let filter = Filter {
        project: Some(web.project.id),
        ..Filter::default()
    };
    assert_eq!(found(filter).await, of_web);
    let filter = Filter {
        actor: Some(web.owner.user),
        ..Filter::default()
    };
    assert_eq!(found(filter).await, of_web);
    let filter = Filter {
        text: Some("web@".to_owned()),
        ..Filter::default()
    };
    assert_eq!(found(filter).await, of_web);
    let filter = Filter {
        action: Some("project".to_owned()),
        ..Filter::default()
    };
    assert_eq!(
        found(filter).await,
        ["project.create shop", "project.create web"]
    );
    let filter = Filter {
        object_kind: Some("target".to_owned()),
        object_id: Some(shop.target.id.0),
        ..Filter::default()
    };
    assert_eq!(found(filter).await.len(), 1);
    let filter = Filter {
        to: Some(db::now() - chrono::Duration::days(1)),
        ..Filter::default()
    };
    assert_eq!(found(filter).await.len(), 0);
    let filter = Filter {
        from: Some(db::now() - chrono::Duration::days(1)),
        ..Filter::default()
    };
    assert_eq!(found(filter).await.len(), 6);
}

/// SQLite has one writer, so only MySQL's transactions can overtake each other.
mod overtaken {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_entry_that_is_committed_late_is_in_a_later_seal() {
        let rig = Rig::mysql().await;
        rig.ctx.audit.prepare().await.unwrap();
        let late = rig.ctx.db.begin().await.unwrap();
        let entry = Entry::by_system(Action::ProjectUpdate, db::now());
        rig.ctx.audit.record(&late, &entry).await.unwrap();
        record(&rig.ctx, 3).await;
        assert_eq!(sealing::run_once(&rig.ctx).await.unwrap(), 3);
        late.commit().await.unwrap();
        assert_eq!(sealing::run_once(&rig.ctx).await.unwrap(), 1);
        assert_eq!(findings(&rig.ctx).await, Vec::<String>::new());
        let seals: Vec<Option<i64>> = entries(&rig.ctx).await.iter().map(|row| row.seal).collect();
        assert_eq!(seals, [Some(2), Some(1), Some(1), Some(1)]);
    }
}
