//! People of an identity provider in the database: whose account is theirs, and what it may do.

use secrecy::ExposeSecret as _;
use slipway_core::{
    access::SystemRole,
    account::{
        entity::user,
        provider::{self, Identity, LASTS, role_of},
        service::passwords,
        sign_in::{Origin, SignedIn},
        store,
        throttle::BURST,
    },
    db,
    error::{Error, Result},
    settings::{LocalSignIn, Oidc},
};

use crate::rig::{Rig, conflict, session};

on_both! {
    one_person_gets_one_account_however_many_sign_in_at_once,
    the_last_admin_with_a_password_keeps_the_role,
    another_provider_is_another_person,
    a_sign_in_under_way_is_taken_up_once_and_not_for_long,
    nobody_of_the_provider_mails_themselves_a_password,
    a_linked_account_has_no_password_and_no_second_owner,
    starts_that_come_to_nothing_hold_up_no_password,
}

fn settings() -> Oidc {
    let group = |name: &str| vec![name.to_owned()];
    Oidc {
        issuer: Some("https://id.example.com".to_owned()),
        client_id: Some("slipway".to_owned()),
        client_secret: None,
        client_secret_file: None,
        name: "Example".to_owned(),
        scopes: group("openid"),
        groups_claim: "groups".to_owned(),
        admin_groups: group("admins"),
        manager_groups: group("managers"),
        developer_groups: group("developers"),
        viewer_groups: group("viewers"),
        default_role: None,
        link_by_email: true,
        local_sign_in: LocalSignIn::Everybody,
    }
}

fn pat(group: &str) -> Identity {
    Identity {
        issuer: "https://id.example.com".to_owned(),
        subject: "1".to_owned(),
        verified_email: Some("pat@example.com".to_owned()),
        name: None,
        groups: vec![group.to_owned()],
    }
}

async fn sign_in(rig: &Rig, identity: &Identity) -> Result<SignedIn> {
    let (settings, origin) = (settings(), Origin::default());
    let passed = provider::sign_in(&rig.ctx, &settings, identity, origin, db::now()).await;
    passed.map(session)
}

async fn one_person_gets_one_account_however_many_sign_in_at_once(rig: Rig) {
    rig.user("root@example.com", SystemRole::Admin).await;
    let identity = pat("developers");
    let all = (0..8).map(|_| sign_in(&rig, &identity));
    let all = futures_util::future::join_all(all).await;
    let ids: Vec<_> = all.into_iter().map(|it| it.unwrap().actor.user).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let count = store::count_users(rig.ctx.db.reader()).await.unwrap();
    assert_eq!(count, 2);
}

async fn the_last_admin_with_a_password_keeps_the_role(rig: Rig) {
    // Linked while it was no Admin's, and promoted here since.
    let pats = rig.user("pat@example.com", SystemRole::Developer).await;
    rig.user("root@example.com", SystemRole::Admin).await;
    sign_in(&rig, &pat("admins")).await.unwrap();
    let (conn, password) = (rig.ctx.db.writer(), "given by an Admin".to_owned());
    store::set_password(conn, pats.user, password, db::now())
        .await
        .unwrap();
    let root = store::find_user_by_email(rig.ctx.db.reader(), "root@example.com").await;
    let values = user::ActiveModel {
        disabled_at: sea_orm::ActiveValue::Set(Some(db::now())),
        ..Default::default()
    };
    let id = root.unwrap().unwrap().id;
    store::update_user(conn, &rig.counted().await, id, values)
        .await
        .unwrap();
    let kept = sign_in(&rig, &pat("viewers")).await.unwrap();
    assert_eq!(
        (kept.actor.user, kept.actor.role),
        (pats.user, SystemRole::Admin)
    );
    rig.user("other-root@example.com", SystemRole::Admin).await;
    let now = sign_in(&rig, &pat("viewers")).await.unwrap();
    assert_eq!(now.actor.role, SystemRole::Viewer);
}

async fn another_provider_is_another_person(rig: Rig) {
    rig.user("root@example.com", SystemRole::Admin).await;
    let first = sign_in(&rig, &pat("developers")).await.unwrap();
    let other = Identity {
        issuer: "https://other.example.com".to_owned(),
        verified_email: Some("other@example.com".to_owned()),
        ..pat("developers")
    };
    let second = sign_in(&rig, &other).await.unwrap();
    assert_ne!(first.actor.user, second.actor.user);
    let unusable = Identity {
        subject: "2".to_owned(),
        verified_email: Some("no address".to_owned()),
        ..pat("developers")
    };
    assert_eq!(conflict(sign_in(&rig, &unusable).await), "email_unusable");
}

async fn a_sign_in_under_way_is_taken_up_once_and_not_for_long(rig: Rig) {
    let (origin, now) = (Origin::default(), db::now());
    let started = provider::start(&rig.ctx, "/queue", &origin, now).await;
    let started = started.unwrap();
    let secret = started.secret.expose_secret();
    let takes = [
        provider::take(&rig.ctx, secret, now),
        provider::take(&rig.ctx, secret, now),
    ];
    let mut taken = futures_util::future::join_all(takes).await;
    taken.sort_by_key(Result::is_err);
    assert_eq!(taken[0].as_ref().unwrap(), "/queue");
    assert!(matches!(taken[1], Err(Error::Unauthenticated)));
    let late = provider::start(&rig.ctx, "/queue", &origin, now).await;
    let late = late.unwrap();
    let secret = late.secret.expose_secret();
    let refused = provider::take(&rig.ctx, secret, now + LASTS).await;
    assert!(matches!(refused, Err(Error::Unauthenticated)));
}

async fn nobody_of_the_provider_mails_themselves_a_password(rig: Rig) {
    let root = rig.user("root@example.com", SystemRole::Admin).await;
    let pat = sign_in(&rig, &pat("developers")).await.unwrap().actor.user;
    let (origin, now) = (Origin::default(), db::now());
    let mailed = passwords::forgotten(&rig.ctx, "pat@example.com", &origin, now).await;
    assert!(mailed.unwrap().is_none());
    let mailed = passwords::forgotten(&rig.ctx, "root@example.com", &origin, now).await;
    assert!(mailed.unwrap().is_some());
    // An Admin may give them one.
    passwords::invite(&rig.ctx, &root, pat, now).await.unwrap();
}

async fn a_linked_account_has_no_password_and_no_second_owner(rig: Rig) {
    rig.user("root@example.com", SystemRole::Admin).await;
    let pats = rig.user("pat@example.com", SystemRole::Developer).await;
    let linked = sign_in(&rig, &pat("developers")).await.unwrap();
    assert_eq!(linked.actor.user, pats.user);
    let row = store::find_user(rig.ctx.db.reader(), pats.user).await;
    assert_eq!(row.unwrap().unwrap().password_hash, "");
    let heir = Identity {
        subject: "2".to_owned(),
        ..pat("developers")
    };
    assert_eq!(conflict(sign_in(&rig, &heir).await), "address_taken");
}

async fn starts_that_come_to_nothing_hold_up_no_password(rig: Rig) {
    let (origin, now) = (Origin::default(), db::now());
    for _ in 0..BURST {
        provider::start(&rig.ctx, "/", &origin, now).await.unwrap();
    }
    let more = provider::start(&rig.ctx, "/", &origin, now).await;
    assert!(matches!(more, Err(Error::Throttled(_))));
    let instant = std::time::Instant::now();
    rig.ctx.addresses.attempt(&origin.address, instant).unwrap();
}

#[test]
fn the_highest_role_of_the_groups_counts() {
    let of = |groups: &[&str]| {
        let groups: Vec<String> = groups.iter().map(|&it| it.to_owned()).collect();
        role_of(&settings(), &groups)
    };
    assert_eq!(of(&["viewers", "managers"]), Some(SystemRole::Manager));
    assert_eq!(of(&["developers"]), Some(SystemRole::Developer));
    assert_eq!(of(&["Admins", ""]), None);
    let open = Oidc {
        default_role: Some(SystemRole::Viewer),
        ..settings()
    };
    assert_eq!(role_of(&open, &[]), Some(SystemRole::Viewer));
    assert_eq!(
        role_of(&open, &["admins".to_owned()]),
        Some(SystemRole::Admin)
    );
}
