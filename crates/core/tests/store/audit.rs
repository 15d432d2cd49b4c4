//! The audit trail: what it tells, and who reads it.

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
        entry::{Action, Entry},
        seal as sealing,
        service::{self, Filter},
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
    vault::service::{self as secrets, SecretInput},
};

use crate::{
    audit_trail::{actions, entries, findings, record},
    rig::{Rig, Site, conflict, new_project},
};

on_both! {
    each_change_leaves_one_entry,
    an_entry_says_who_did_it_from_where_and_what_it_was_before,
    each_deployment_that_was_accepted_is_entered_once,
    a_change_that_is_refused_leaves_no_entry,
    a_secret_is_in_no_entry,
    only_those_who_operate_read_the_trail,
    the_trail_is_searched,
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
