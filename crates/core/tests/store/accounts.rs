//! Accounts, sessions and tokens.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    account::{
        entity::{api_token, user},
        first_admin::{self, Wanted},
        password::Password,
        service::{
            self, NewUser, UserChange,
            tokens::{self, NewToken},
        },
        sign_in::{self, Origin, SESSION_IDLE, SESSION_MAX},
        store,
    },
    db,
    error::{Error, Result},
    id::{SessionId, UserId},
};

use crate::rig::{Rig, conflict, nobody, session};

on_both! {
    signing_in_needs_the_right_password_of_an_enabled_account,
    a_session_ends_after_idle_time_and_after_its_longest_time,
    using_a_session_keeps_it_alive,
    a_token_works_until_it_expires_or_is_revoked,
    disabling_an_account_ends_its_sessions_and_silences_its_tokens,
    nobody_ends_or_revokes_what_belongs_to_others,
    an_address_is_taken_in_any_spelling,
    only_an_admin_sees_and_changes_other_accounts,
    the_last_admin_can_neither_step_down_nor_be_disabled,
    two_admins_who_demote_each_other_leave_one,
    the_first_admin_is_made_once_however_many_processes_start,
}

const PASSWORD: &str = "correct horse battery";

async fn person(rig: &Rig, email: &str) -> user::Model {
    let admin = rig.user("root@example.com", SystemRole::Admin).await;
    let input = NewUser {
        email: email.parse().unwrap(),
        name: "Ann".parse().unwrap(),
        role: SystemRole::Developer,
        password: Password::new(PASSWORD.into()).unwrap(),
    };
    let made = service::create_user(&rig.ctx, &admin, input, db::now()).await;
    made.unwrap()
}

async fn create_token(
    rig: &Rig,
    owner: &Actor,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(api_token::Model, SecretString)> {
    let new = NewToken {
        expires_at,
        ..NewToken::unlimited("laptop".parse().unwrap())
    };
    tokens::create(&rig.ctx, owner, None, new, now).await
}

async fn sign_in(rig: &Rig, email: &str, password: &str) -> Result<sign_in::SignedIn> {
    let origin = Origin::default();
    let passed = sign_in::sign_in(&rig.ctx, email, password.into(), origin, db::now()).await;
    passed.map(session)
}

fn is_unauthenticated<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Unauthenticated))
}

async fn set_disabled(rig: &Rig, id: UserId, disabled: bool) {
    let root = rig.user("other-root@example.com", SystemRole::Admin).await;
    let change = UserChange {
        disabled: Some(disabled),
        ..UserChange::default()
    };
    service::update_user(&rig.ctx, &root, id, change, db::now())
        .await
        .unwrap();
}

async fn signing_in_needs_the_right_password_of_an_enabled_account(rig: Rig) {
    let ann = person(&rig, "ann@example.com").await;
    let signed_in = sign_in(&rig, " Ann@Example.COM ", PASSWORD).await.unwrap();
    assert_eq!(signed_in.actor.user, ann.id);
    assert!(is_unauthenticated(
        &sign_in(&rig, "ann@example.com", "wrong password!").await
    ));
    assert!(is_unauthenticated(
        &sign_in(&rig, "eve@example.com", PASSWORD).await
    ));
    set_disabled(&rig, ann.id, true).await;
    assert!(is_unauthenticated(
        &sign_in(&rig, "ann@example.com", PASSWORD).await
    ));
}

async fn a_session_ends_after_idle_time_and_after_its_longest_time(rig: Rig) {
    person(&rig, "ann@example.com").await;
    let signed_in = sign_in(&rig, "ann@example.com", PASSWORD).await.unwrap();
    let cookie = signed_in.cookie.expose_secret();
    let start = db::now();
    let at = async |later| sign_in::by_session(&rig.ctx, cookie, start + later).await;
    let second = chrono::Duration::seconds(1);
    assert!(at(SESSION_IDLE - second).await.is_ok());
    // That use counts: the idle time runs from there.
    assert!(at(SESSION_IDLE + second).await.is_ok());
    assert!(is_unauthenticated(&at(SESSION_IDLE * 2 + second * 2).await));
    let Credential::Session(id) = signed_in.actor.credential else {
        panic!("signing in makes a session");
    };
    let seen = start + SESSION_MAX;
    store::touch_session(rig.ctx.db.writer(), id, seen)
        .await
        .unwrap();
    assert!(at(SESSION_MAX - second).await.is_ok());
    assert!(is_unauthenticated(&at(SESSION_MAX).await));
    store::prune_sessions(rig.ctx.db.writer(), seen + second)
        .await
        .unwrap();
    let left = store::list_sessions(rig.ctx.db.reader(), signed_in.actor.user).await;
    assert!(left.unwrap().is_empty());
}

async fn using_a_session_keeps_it_alive(rig: Rig) {
    person(&rig, "ann@example.com").await;
    let signed_in = sign_in(&rig, "ann@example.com", PASSWORD).await.unwrap();
    let cookie = signed_in.cookie.expose_secret();
    let start = db::now();
    for quarter in 1..=8 {
        let at = start + SESSION_IDLE / 4 * quarter;
        let actor = sign_in::by_session(&rig.ctx, cookie, at).await.unwrap();
        assert_eq!(actor.user, signed_in.actor.user);
    }
    service::sign_out(&rig.ctx, &signed_in.actor).await.unwrap();
    assert!(is_unauthenticated(
        &sign_in::by_session(&rig.ctx, cookie, start).await
    ));
}

async fn a_token_works_until_it_expires_or_is_revoked(rig: Rig) {
    let ann = rig.user("ann@example.com", SystemRole::Developer).await;
    let now = db::now();
    let end = now + chrono::Duration::days(1);
    let made = create_token(&rig, &ann, Some(end), now).await;
    let (row, plain) = made.unwrap();
    assert!(!row.token_hash.contains(plain.expose_secret()));
    assert_eq!(row.expires_at, Some(end));
    let by = async |at| rig.by_token(plain.expose_secret(), at).await;
    assert_eq!(by(now).await.unwrap().credential, Credential::Token(row.id));
    assert_eq!(
        tokens::list(&rig.ctx, &ann, None).await.unwrap()[0].used_at,
        Some(now)
    );
    assert!(is_unauthenticated(&by(end).await));
    tokens::revoke(&rig.ctx, &ann, None, row.id).await.unwrap();
    assert!(is_unauthenticated(&by(now).await));
    let past = create_token(&rig, &ann, Some(now), now).await;
    assert!(matches!(past, Err(Error::Invalid(_))));
}

async fn disabling_an_account_ends_its_sessions_and_silences_its_tokens(rig: Rig) {
    let ann = person(&rig, "ann@example.com").await;
    let signed_in = sign_in(&rig, "ann@example.com", PASSWORD).await.unwrap();
    let now = db::now();
    let made = create_token(&rig, &signed_in.actor, None, now).await;
    let token = made.unwrap().1;
    set_disabled(&rig, ann.id, true).await;
    let cookie = signed_in.cookie.expose_secret();
    assert!(is_unauthenticated(
        &sign_in::by_session(&rig.ctx, cookie, now).await
    ));
    let by_token = rig.by_token(token.expose_secret(), now).await;
    assert!(is_unauthenticated(&by_token));
    assert!(
        service::sessions(&rig.ctx, &signed_in.actor)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn nobody_ends_or_revokes_what_belongs_to_others(rig: Rig) {
    let (ann, bob) = (
        rig.user("ann@example.com", SystemRole::Developer).await,
        rig.user("bob@example.com", SystemRole::Admin).await,
    );
    let made = create_token(&rig, &ann, None, db::now()).await;
    let (row, _) = made.unwrap();
    let revoked = tokens::revoke(&rig.ctx, &bob, None, row.id).await;
    assert!(matches!(revoked, Err(Error::NotFound("token"))));
    let ended = service::end_session(&rig.ctx, &bob, SessionId(1)).await;
    assert!(matches!(ended, Err(Error::NotFound("session"))));
    assert_eq!(tokens::list(&rig.ctx, &ann, None).await.unwrap().len(), 1);
}

async fn an_address_is_taken_in_any_spelling(rig: Rig) {
    person(&rig, "Ann@Example.com").await;
    let admin = rig.user("second@example.com", SystemRole::Admin).await;
    let input = NewUser {
        email: "aNN@example.com".parse().unwrap(),
        name: "Ann".parse().unwrap(),
        role: SystemRole::Viewer,
        password: Password::new(PASSWORD.into()).unwrap(),
    };
    let again = service::create_user(&rig.ctx, &admin, input, db::now()).await;
    assert_eq!(conflict(again), "email_taken");
}

async fn only_an_admin_sees_and_changes_other_accounts(rig: Rig) {
    let ann = rig.user("ann@example.com", SystemRole::Developer).await;
    let bob = rig.user("bob@example.com", SystemRole::Manager).await;
    let seen = service::get_user(&rig.ctx, &bob, ann.user).await;
    assert!(matches!(seen, Err(Error::NotFound("user"))));
    assert!(matches!(
        service::list_users(&rig.ctx, &bob, UserId(0), 10).await,
        Err(Error::Forbidden(_))
    ));
    let rise = UserChange {
        role: Some(SystemRole::Admin),
        ..UserChange::default()
    };
    let risen = service::update_user(&rig.ctx, &ann, ann.user, rise, db::now()).await;
    assert!(matches!(risen, Err(Error::Forbidden(_))));
    rig.user("root@example.com", SystemRole::Admin).await;
    let rename = UserChange {
        name: Some("Anna".parse().unwrap()),
        ..UserChange::default()
    };
    let renamed = service::update_user(&rig.ctx, &ann, ann.user, rename, db::now()).await;
    assert_eq!(renamed.unwrap().name, "Anna");
    let root = rig.user("root2@example.com", SystemRole::Admin).await;
    let missing = service::get_user(&rig.ctx, &root, nobody()).await;
    assert!(matches!(missing, Err(Error::NotFound("user"))));
}

async fn the_last_admin_can_neither_step_down_nor_be_disabled(rig: Rig) {
    let root = rig.user("root@example.com", SystemRole::Admin).await;
    let step_down = UserChange {
        role: Some(SystemRole::Manager),
        ..UserChange::default()
    };
    let disable = UserChange {
        disabled: Some(true),
        ..UserChange::default()
    };
    for change in [step_down.clone(), disable] {
        let changed = service::update_user(&rig.ctx, &root, root.user, change, db::now()).await;
        assert_eq!(conflict(changed), "last_admin");
    }
    let row = store::find_user(rig.ctx.db.reader(), root.user)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.role, row.disabled_at), (SystemRole::Admin, None));
    rig.user("second@example.com", SystemRole::Admin).await;
    let changed = service::update_user(&rig.ctx, &root, root.user, step_down, db::now()).await;
    assert_eq!(changed.unwrap().role, SystemRole::Manager);
}

async fn two_admins_who_demote_each_other_leave_one(rig: Rig) {
    let (ann, bob) = (
        rig.user("ann@example.com", SystemRole::Admin).await,
        rig.user("bob@example.com", SystemRole::Admin).await,
    );
    let rig = Arc::new(rig);
    for round in 0..30 {
        let outcomes = [
            tokio::spawn(demote(Arc::clone(&rig), ann.clone(), bob.user)),
            tokio::spawn(demote(Arc::clone(&rig), bob.clone(), ann.user)),
        ];
        let mut won = 0;
        for outcome in outcomes {
            match outcome.await.unwrap() {
                Ok(_) => won += 1,
                refused => assert_eq!(conflict(refused), "last_admin", "round {round}"),
            }
        }
        assert_eq!(won, 1, "round {round}");
        assert_eq!(store::count_admins(rig.ctx.db.writer()).await.unwrap(), 1);
        for user in [ann.user, bob.user] {
            let back = user::ActiveModel {
                role: Set(SystemRole::Admin),
                ..Default::default()
            };
            store::update_user(rig.ctx.db.writer(), &rig.counted().await, user, back)
                .await
                .unwrap();
        }
    }
}

async fn demote(rig: Arc<Rig>, by: Actor, whom: UserId) -> Result<user::Model> {
    let change = UserChange {
        role: Some(SystemRole::Viewer),
        ..UserChange::default()
    };
    service::update_user(&rig.ctx, &by, whom, change, db::now()).await
}

async fn the_first_admin_is_made_once_however_many_processes_start(rig: Rig) {
    let mut starts = Vec::new();
    for _ in 0..3 {
        let (ctx, _) = rig.restarted(|_| {}).await;
        let start = async move { first_admin::ensure(&ctx, Wanted::default(), db::now()).await };
        starts.push(tokio::spawn(start));
    }
    let mut made = Vec::new();
    for start in starts {
        made.extend(start.await.unwrap().unwrap());
    }
    assert_eq!(made.len(), 1, "{made:?}");
    let password = made[0].generated_password.as_ref().unwrap().expose_secret();
    let signed_in = sign_in(&rig, "admin@localhost", password).await.unwrap();
    assert_eq!(signed_in.actor.role, SystemRole::Admin);
    let later = first_admin::ensure(&rig.ctx, Wanted::default(), db::now()).await;
    assert!(later.unwrap().is_none());
    let half = Wanted {
        email: Some("ann@example.com".to_owned()),
        password: None,
    };
    // With an account there the wish is not even looked at.
    assert!(
        first_admin::ensure(&rig.ctx, half, db::now())
            .await
            .unwrap()
            .is_none()
    );
}
