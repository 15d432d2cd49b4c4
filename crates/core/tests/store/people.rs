//! Invitations, passwords, services, limited tokens, and how often somebody may try.

use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::{
    access::{Actor, Limits, ProjectRole, SystemRole, TokenScope},
    account::{
        entity::user,
        kind::UserKind,
        password::{Password, compared},
        service::{
            self, Invitee, UserChange,
            passwords::{self, FORGOTTEN, INVITED},
            tokens::{self, NewToken},
        },
        sign_in::{self, Origin},
        throttle::{self, FREE},
    },
    db,
    error::{Error, Result},
    project::{self, service::ProjectChange},
};

use crate::rig::{Rig, conflict, deploy_input, minutes_later, new_project, session};

on_both! {
    somebody_who_is_invited_sets_a_password_once,
    a_link_ends_with_its_time_with_another_and_with_the_account,
    a_link_that_two_use_at_once_works_for_one,
    a_new_password_ends_every_session,
    a_sign_in_under_way_does_not_outlast_a_new_password,
    what_is_typed_as_an_address_holds_up_nothing_else,
    a_wrong_current_password_changes_nothing,
    a_service_never_signs_in_and_has_tokens_from_an_admin,
    a_changed_role_ends_the_sessions,
    an_invited_admin_does_not_count_as_the_last_one,
    admins_who_demote_each_other_a_hundred_times_leave_one,
    owners_who_remove_each_other_a_hundred_times_leave_one,
    a_token_does_what_its_scopes_and_its_owner_may,
    a_token_for_one_project_reaches_no_other,
    a_limited_token_makes_no_other_and_changes_no_account,
    wrong_passwords_slow_an_account_down_and_never_for_good,
    many_wrong_passwords_at_once_count_each,
    every_refusal_costs_one_comparison_whoever_it_is_about,
}

const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "another horse battery";

fn password(text: &str) -> Password {
    Password::new(text.into()).unwrap()
}

fn invitee(email: &str, role: SystemRole, kind: UserKind) -> Invitee {
    Invitee {
        email: email.parse().unwrap(),
        name: "Ann".parse().unwrap(),
        role,
        kind,
    }
}

async fn root(rig: &Rig) -> Actor {
    rig.user("root@example.com", SystemRole::Admin).await
}

async fn invited(rig: &Rig, root: &Actor) -> (user::Model, SecretString) {
    let ann = invitee("ann@example.com", SystemRole::Developer, UserKind::Person);
    let made = service::invite_user(&rig.ctx, root, ann, db::now()).await;
    let (row, link) = made.unwrap();
    (row, link.unwrap().code)
}

async fn set(rig: &Rig, code: &SecretString, text: &str) -> Result<()> {
    let (code, new) = (code.expose_secret(), password(text));
    passwords::set_by_link(&rig.ctx, code, new, &Origin::default(), db::now()).await
}

async fn sign_in(rig: &Rig, text: &str) -> Result<sign_in::SignedIn> {
    let origin = Origin::default();
    let passed =
        sign_in::sign_in(&rig.ctx, "ann@example.com", text.into(), origin, db::now()).await;
    passed.map(session)
}

/// An account with a password and a session.
async fn ann(rig: &Rig, root: &Actor) -> sign_in::SignedIn {
    let (_, code) = invited(rig, root).await;
    set(rig, &code, PASSWORD).await.unwrap();
    sign_in(rig, PASSWORD).await.unwrap()
}

async fn lives(rig: &Rig, session: &sign_in::SignedIn) -> bool {
    let cookie = session.cookie.expose_secret();
    sign_in::by_session(&rig.ctx, cookie, db::now())
        .await
        .is_ok()
}

fn is_invalid<T>(outcome: &Result<T>, field: &str) -> bool {
    matches!(outcome, Err(Error::Invalid(errors)) if errors[0].field == field)
}

async fn somebody_who_is_invited_sets_a_password_once(rig: Rig) {
    let (row, code) = invited(&rig, &root(&rig).await).await;
    assert_eq!(row.password_hash, "");
    for guess in ["", " ", PASSWORD] {
        assert!(matches!(
            sign_in(&rig, guess).await,
            Err(Error::Unauthenticated)
        ));
    }
    set(&rig, &code, PASSWORD).await.unwrap();
    assert_eq!(sign_in(&rig, PASSWORD).await.unwrap().actor.user, row.id);
    assert!(is_invalid(&set(&rig, &code, OTHER).await, "code"));
    let forged = SecretString::from("x".repeat(43));
    assert!(is_invalid(&set(&rig, &forged, OTHER).await, "code"));
}

async fn a_link_ends_with_its_time_with_another_and_with_the_account(rig: Rig) {
    let root = root(&rig).await;
    let (row, first) = invited(&rig, &root).await;
    let origin = Origin::default();
    let late = db::now() + INVITED;
    let code = first.expose_secret();
    let set_late = passwords::set_by_link(&rig.ctx, code, password(OTHER), &origin, late).await;
    assert!(is_invalid(&set_late, "code"));
    let second = passwords::invite(&rig.ctx, &root, row.id, db::now())
        .await
        .unwrap();
    assert!(is_invalid(&set(&rig, &first, PASSWORD).await, "code"));
    set(&rig, &second.code, PASSWORD).await.unwrap();
    // Forgotten: known and unknown addresses, and the time.
    let forgotten = async |email| passwords::forgotten(&rig.ctx, email, &origin, db::now()).await;
    assert!(forgotten("nobody@example.com").await.unwrap().is_none());
    let (address, link) = forgotten(" Ann@example.com").await.unwrap().unwrap();
    assert_eq!(address, "ann@example.com");
    assert!(link.expires_at <= db::now() + FORGOTTEN);
    let change = UserChange {
        disabled: Some(true),
        ..UserChange::default()
    };
    service::update_user(&rig.ctx, &root, row.id, change, db::now())
        .await
        .unwrap();
    assert!(is_invalid(&set(&rig, &link.code, OTHER).await, "code"));
    assert!(forgotten("ann@example.com").await.unwrap().is_none());
    let invite = passwords::invite(&rig.ctx, &root, row.id, db::now()).await;
    assert_eq!(conflict(invite), "no_password");
}

async fn a_link_that_two_use_at_once_works_for_one(rig: Rig) {
    let (_, code) = invited(&rig, &root(&rig).await).await;
    let (one, two) = tokio::join!(set(&rig, &code, PASSWORD), set(&rig, &code, OTHER));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let works = if one.is_ok() { PASSWORD } else { OTHER };
    sign_in(&rig, works).await.unwrap();
}

async fn a_new_password_ends_every_session(rig: Rig) {
    let root = root(&rig).await;
    let first = ann(&rig, &root).await;
    let second = sign_in(&rig, PASSWORD).await.unwrap();
    let change = (PASSWORD.into(), password(OTHER));
    let changed =
        passwords::change(&rig.ctx, &first.actor, change, Origin::default(), db::now()).await;
    let third = changed.unwrap().unwrap();
    assert!(!lives(&rig, &first).await && !lives(&rig, &second).await);
    assert!(lives(&rig, &third).await);
    assert!(sign_in(&rig, PASSWORD).await.is_err());
    let link = passwords::invite(&rig.ctx, &root, third.actor.user, db::now()).await;
    assert!(lives(&rig, &third).await);
    set(&rig, &link.unwrap().code, PASSWORD).await.unwrap();
    assert!(!lives(&rig, &third).await);
}

/// Comparing takes long, and most wait for their turn: they come to it with a password that is not
/// the account's any more.
async fn a_sign_in_under_way_does_not_outlast_a_new_password(rig: Rig) {
    let root = root(&rig).await;
    let first = ann(&rig, &root).await;
    let link = passwords::invite(&rig.ctx, &root, first.actor.user, db::now()).await;
    let code = link.unwrap().code;
    let entering = futures_util::future::join_all((0..FREE).map(|_| sign_in(&rig, PASSWORD)));
    let (written, entered) = tokio::join!(set(&rig, &code, OTHER), entering);
    written.unwrap();
    for entered in entered.into_iter().flatten() {
        assert!(!lives(&rig, &entered).await);
    }
    assert!(lives(&rig, &sign_in(&rig, OTHER).await.unwrap()).await);
}

async fn what_is_typed_as_an_address_holds_up_nothing_else(rig: Rig) {
    ann(&rig, &root(&rig).await).await;
    let (ctx, now) = (&rig.ctx, db::now());
    for _ in 0..=FREE + 1 {
        let typed = "mail to ann@example.com";
        let tried = sign_in::sign_in(ctx, typed, "wrong".into(), Origin::default(), now).await;
        tried.unwrap_err();
    }
    let mailed = passwords::forgotten(ctx, "ann@example.com", &Origin::default(), now).await;
    assert!(mailed.unwrap().is_some());
}

async fn a_wrong_current_password_changes_nothing(rig: Rig) {
    let session = ann(&rig, &root(&rig).await).await;
    for _ in 0..=FREE {
        let change = ("wrong horse battery".into(), password(OTHER));
        let (actor, origin) = (&session.actor, Origin::default());
        let refused = passwords::change(&rig.ctx, actor, change, origin, db::now()).await;
        assert!(is_invalid(&refused, "current"), "{refused:?}");
    }
    let change = (PASSWORD.into(), password(OTHER));
    let (actor, origin) = (&session.actor, Origin::default());
    let refused = passwords::change(&rig.ctx, actor, change, origin, db::now()).await;
    assert!(matches!(refused, Err(Error::Throttled(_))), "{refused:?}");
    assert!(lives(&rig, &session).await);
}

async fn a_service_never_signs_in_and_has_tokens_from_an_admin(rig: Rig) {
    let root = root(&rig).await;
    let robot = invitee("ann@example.com", SystemRole::Developer, UserKind::Service);
    let made = service::invite_user(&rig.ctx, &root, robot, db::now()).await;
    let (robot, link) = made.unwrap();
    assert!(link.is_none());
    assert!(sign_in(&rig, "").await.is_err());
    let invite = passwords::invite(&rig.ctx, &root, robot.id, db::now()).await;
    assert_eq!(conflict(invite), "no_password");
    let new = NewToken::unlimited("ci".parse().unwrap());
    let made = tokens::create(&rig.ctx, &root, Some(robot.id), new.clone(), db::now()).await;
    let (row, plain) = made.unwrap();
    let actor = rig.by_token(plain.expose_secret(), db::now()).await;
    let actor = actor.unwrap();
    assert_eq!((actor.user, actor.role), (robot.id, SystemRole::Developer));
    // A person's tokens are their own business.
    let of_root = tokens::create(&rig.ctx, &root, Some(root.user), new.clone(), db::now()).await;
    assert_eq!(conflict(of_root), "not_a_service");
    let of_robot = tokens::list(&rig.ctx, &actor, Some(robot.id)).await;
    assert!(matches!(of_robot, Err(Error::Forbidden(_))));
    tokens::revoke(&rig.ctx, &root, Some(robot.id), row.id)
        .await
        .unwrap();
    assert!(
        rig.by_token(plain.expose_secret(), db::now())
            .await
            .is_err()
    );
}

async fn a_changed_role_ends_the_sessions(rig: Rig) {
    let root = root(&rig).await;
    let session = ann(&rig, &root).await;
    let change = UserChange {
        role: Some(SystemRole::Viewer),
        ..UserChange::default()
    };
    let id = session.actor.user;
    service::update_user(&rig.ctx, &root, id, change, db::now())
        .await
        .unwrap();
    assert!(!lives(&rig, &session).await);
    assert_eq!(
        sign_in(&rig, PASSWORD).await.unwrap().actor.role,
        SystemRole::Viewer
    );
}

async fn demote(rig: &Rig, by: &Actor, whom: &Actor) -> Result<user::Model> {
    let change = UserChange {
        role: Some(SystemRole::Viewer),
        ..UserChange::default()
    };
    service::update_user(&rig.ctx, by, whom.user, change, db::now()).await
}

async fn an_invited_admin_does_not_count_as_the_last_one(rig: Rig) {
    let root = root(&rig).await;
    for (email, kind) in [
        ("a@example.com", UserKind::Person),
        ("b@example.com", UserKind::Service),
    ] {
        let other = invitee(email, SystemRole::Admin, kind);
        service::invite_user(&rig.ctx, &root, other, db::now())
            .await
            .unwrap();
    }
    assert_eq!(conflict(demote(&rig, &root, &root).await), "last_admin");
}

async fn admins_who_demote_each_other_a_hundred_times_leave_one(rig: Rig) {
    let (ann, bob) = (
        root(&rig).await,
        rig.user("bob@example.com", SystemRole::Admin).await,
    );
    for round in 0..100 {
        let (one, two) = tokio::join!(demote(&rig, &ann, &bob), demote(&rig, &bob, &ann));
        assert!(one.is_ok() != two.is_ok(), "{round}: {one:?} {two:?}");
        let admins = slipway_core::account::store::count_admins(rig.ctx.db.reader()).await;
        assert_eq!(admins.unwrap(), 1, "{round}");
        rig.execute("UPDATE users SET role = ?", ["admin".into()])
            .await;
    }
}

async fn owners_who_remove_each_other_a_hundred_times_leave_one(rig: Rig) {
    let site = rig.site("web").await;
    let bob = rig.user("bob@example.com", SystemRole::Developer).await;
    for round in 0..100 {
        for owner in [&site.owner, &bob] {
            rig.member(&site, owner, ProjectRole::Owner).await;
        }
        let remove = async |by: &Actor, whom: &Actor| {
            let change = (whom.user, None);
            project::service::members::set(&rig.ctx, by, "web", change, db::now()).await
        };
        let (one, two) = tokio::join!(remove(&site.owner, &bob), remove(&bob, &site.owner));
        assert!(one.is_ok() != two.is_ok(), "{round}: {one:?} {two:?}");
        let owners = project::store::count_owners(rig.ctx.db.reader(), site.project.id).await;
        assert_eq!(owners.unwrap(), 1, "{round}");
    }
}

async fn limited(rig: &Rig, owner: &Actor, limits: Limits) -> Actor {
    let new = NewToken {
        limits,
        ..NewToken::unlimited("ci".parse().unwrap())
    };
    let (_, plain) = tokens::create(&rig.ctx, owner, None, new, db::now())
        .await
        .unwrap();
    rig.by_token(plain.expose_secret(), db::now())
        .await
        .unwrap()
}

async fn scoped(rig: &Rig, owner: &Actor, scope: TokenScope) -> Actor {
    let limits = Limits {
        scopes: vec![scope],
        projects: None,
    };
    limited(rig, owner, limits).await
}

fn is_limited<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::TokenLimited))
}

async fn a_token_does_what_its_scopes_and_its_owner_may(rig: Rig) {
    let site = rig.site("web").await;
    for scope in TokenScope::ALL {
        let token = scoped(&rig, &site.owner, scope).await;
        let view = project::service::members::list(&rig.ctx, &token, "web").await;
        view.unwrap();
        let input = deploy_input("live");
        let deployed = slipway_core::deployment::service::request(&rig.ctx, &token, "web", input);
        let deployed = deployed.await;
        let change = ProjectChange::default();
        let changed = project::service::update(&rig.ctx, &token, "web", change, db::now()).await;
        let deleted = project::service::delete(&rig.ctx, &token, "web").await;
        let may = [
            !is_limited(&deployed),
            !is_limited(&changed),
            !is_limited(&deleted),
        ];
        let expected = match scope {
            TokenScope::Read => [false, false, false],
            TokenScope::Deploy => [true, false, false],
            TokenScope::Configure => [false, true, false],
            TokenScope::Admin => [true, true, true],
        };
        assert_eq!(may, expected, "{scope}");
    }
    // The owner's rights go, and those of the token with them.
    let token = scoped(&rig, &site.owner, TokenScope::Admin).await;
    let bob = rig.user("bob@example.com", SystemRole::Developer).await;
    rig.member(&site, &bob, ProjectRole::Owner).await;
    let gone = (site.owner.user, None);
    project::service::members::set(&rig.ctx, &bob, "web", gone, db::now())
        .await
        .unwrap();
    let seen = project::service::members::list(&rig.ctx, &token, "web").await;
    assert!(matches!(seen, Err(Error::NotFound(_))));
}

async fn a_token_for_one_project_reaches_no_other(rig: Rig) {
    let site = rig.site("web").await;
    let root = root(&rig).await;
    let other = project::service::create(&rig.ctx, &root, new_project("shop"), db::now()).await;
    let other = other.unwrap();
    let limits = Limits {
        scopes: vec![TokenScope::Admin],
        projects: Some(vec![site.project.id]),
    };
    let token = limited(&rig, &root, limits).await;
    let listed = project::service::list(&rig.ctx, &token, slipway_core::id::ProjectId(0), 10).await;
    let slugs: Vec<String> = listed.unwrap().into_iter().map(|row| row.slug).collect();
    assert_eq!(slugs, ["web"]);
    for key in ["shop", &other.id.to_string()] {
        let seen = project::service::members::list(&rig.ctx, &token, key).await;
        assert!(matches!(seen, Err(Error::NotFound(_))), "{seen:?}");
        let asked =
            slipway_core::deployment::service::request(&rig.ctx, &token, key, deploy_input("live"));
        assert!(matches!(asked.await, Err(Error::NotFound(_))));
    }
    let made = project::service::create(&rig.ctx, &token, new_project("new"), db::now()).await;
    assert!(is_limited(&made));
    let users = service::list_users(&rig.ctx, &token, slipway_core::id::UserId(0), 10).await;
    assert!(is_limited(&users));
    // Nobody names a project in a token that they do not see.
    let foreign = Limits {
        scopes: vec![TokenScope::Read],
        projects: Some(vec![other.id]),
    };
    let new = NewToken {
        limits: foreign,
        ..NewToken::unlimited("ci".parse().unwrap())
    };
    let refused = tokens::create(&rig.ctx, &site.owner, None, new, db::now()).await;
    assert!(is_invalid(&refused, "projects[0]"));
}

async fn a_limited_token_makes_no_other_and_changes_no_account(rig: Rig) {
    let session = ann(&rig, &root(&rig).await).await;
    for scope in [TokenScope::Read, TokenScope::Deploy, TokenScope::Configure] {
        let token = scoped(&rig, &session.actor, scope).await;
        let new = NewToken::unlimited("more".parse().unwrap());
        assert!(is_limited(
            &tokens::create(&rig.ctx, &token, None, new, db::now()).await
        ));
        let id = tokens::list(&rig.ctx, &token, None).await.unwrap()[0].id;
        assert!(is_limited(
            &tokens::revoke(&rig.ctx, &token, None, id).await
        ));
        let session = service::sessions(&rig.ctx, &token).await.unwrap()[0].id;
        assert!(is_limited(
            &service::end_session(&rig.ctx, &token, session).await
        ));
        let change = (PASSWORD.into(), password(OTHER));
        let changed =
            passwords::change(&rig.ctx, &token, change, Origin::default(), db::now()).await;
        assert!(is_limited(&changed));
        let change = UserChange {
            name: Some("Eve".parse().unwrap()),
            ..UserChange::default()
        };
        let changed = service::update_user(&rig.ctx, &token, token.user, change, db::now()).await;
        assert!(is_limited(&changed));
    }
}

async fn wrong_passwords_slow_an_account_down_and_never_for_good(rig: Rig) {
    ann(&rig, &root(&rig).await).await;
    let mut now = db::now();
    let try_at = async |text: &str, now| {
        let (origin, text) = (Origin::default(), text.into());
        sign_in::sign_in(&rig.ctx, "ANN@example.com", text, origin, now).await
    };
    for _ in 0..=FREE {
        let wrong = try_at("wrong horse battery", now).await;
        assert!(matches!(wrong, Err(Error::Unauthenticated)), "{wrong:?}");
    }
    let waits = try_at(PASSWORD, now).await;
    assert!(matches!(waits, Err(Error::Throttled(2..=3))), "{waits:?}");
    // Whoever goes on guessing waits longer each time, at most a quarter of an hour.
    for failures in FREE + 1..FREE + 15 {
        now += throttle::wait_after(failures);
        let wrong = try_at("wrong horse battery", now).await;
        assert!(
            matches!(wrong, Err(Error::Unauthenticated)),
            "{failures}: {wrong:?}"
        );
    }
    now += throttle::WAIT_MAX;
    try_at(PASSWORD, now).await.unwrap();
    // The right password has cleared it.
    assert!(matches!(
        try_at("wrong horse battery", now).await,
        Err(Error::Unauthenticated)
    ));
    try_at(PASSWORD, now).await.unwrap();
}

async fn many_wrong_passwords_at_once_count_each(rig: Rig) {
    let now = db::now();
    let attempts = (0..40).map(|_| throttle::attempt(&rig.ctx, "ann@example.com", "", now));
    let outcomes = futures_util::future::join_all(attempts).await;
    let counted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(i64::try_from(counted).unwrap(), FREE + 1);
    let later = minutes_later(1);
    throttle::attempt(&rig.ctx, "ann@example.com", "", later)
        .await
        .unwrap();
    throttle::attempt(&rig.ctx, "bob@example.com", "", later)
        .await
        .unwrap();
}

async fn every_refusal_costs_one_comparison_whoever_it_is_about(rig: Rig) {
    let root = root(&rig).await;
    let now = db::now();
    ann(&rig, &root).await;
    for (email, kind) in [
        ("invited@example.com", UserKind::Person),
        ("service@example.com", UserKind::Service),
    ] {
        let new = invitee(email, SystemRole::Developer, kind);
        service::invite_user(&rig.ctx, &root, new, now)
            .await
            .unwrap();
    }
    let gone = rig.user("gone@example.com", SystemRole::Viewer).await;
    let change = UserChange {
        disabled: Some(true),
        ..UserChange::default()
    };
    service::update_user(&rig.ctx, &root, gone.user, change, now)
        .await
        .unwrap();
    for email in [
        "ann@example.com",
        "nobody@example.com",
        "no address at all",
        "invited@example.com",
        "service@example.com",
        "gone@example.com",
    ] {
        let before = compared();
        let origin = Origin::default();
        let refused = sign_in::sign_in(&rig.ctx, email, OTHER.into(), origin, now).await;
        assert!(matches!(refused, Err(Error::Unauthenticated)), "{email}");
        assert_eq!(compared() - before, 1, "{email}");
    }
}
