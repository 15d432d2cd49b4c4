//! Second factors: the second step of signing in, codes that count once, and who may remove one.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::{
    access::{Actor, SystemRole},
    account::{
        console,
        entity::user,
        factor::{RECOVERY_CODES, code_at},
        password::Password,
        second_step::{self, ATTEMPTS, Challenge, LASTS},
        service::{
            self, NewUser, UserChange,
            factor::{Proofs, confirm, disable, remove, renew_codes, start, state},
            passwords,
        },
        sign_in::{self, Origin, Passed, SignedIn},
        store,
        throttle::FREE,
    },
    audit,
    audit::entry::Action,
    db,
    error::{Error, Result},
    id::AuditId,
    settings::{RequiredFactor, Settings},
    vault::sealed::{self, store::of_owner},
};

use crate::{
    rig::{Rig, conflict, session},
    rotation::{rewrapped, rotated},
};

on_both! {
    a_factor_is_switched_on_by_a_first_code_and_ends_other_sessions,
    a_right_password_alone_begins_no_session,
    a_code_counts_once_even_for_two_at_once,
    a_challenge_works_once_and_not_for_long,
    a_challenge_ends_after_too_many_codes,
    wrong_codes_slow_the_second_step_down_whatever_the_password,
    a_challenge_ends_with_what_ends_sessions,
    a_recovery_code_works_once_even_for_two_at_once,
    new_recovery_codes_end_the_old_ones,
    switching_off_takes_password_and_code,
    a_reset_password_leaves_the_factor_on,
    an_admin_removes_a_lost_factor_and_not_their_own,
    the_command_line_removes_the_factor_of_the_last_admin,
    whoever_lacks_a_required_factor_can_only_switch_one_on,
    a_seed_is_kept_encrypted_and_moves_to_a_new_key,
}

const PASSWORD: &str = "correct horse battery";

async fn root(rig: &Rig) -> Actor {
    rig.user("root@example.com", SystemRole::Admin).await
}

async fn person(rig: &Rig, email: &str, role: SystemRole) -> user::Model {
    let input = NewUser {
        email: email.parse().unwrap(),
        name: "Ann".parse().unwrap(),
        role,
        password: Password::new(PASSWORD.into()).unwrap(),
    };
    let root = root(rig).await;
    let made = service::create_user(&rig.ctx, &root, input, db::now()).await;
    made.unwrap()
}

async fn password_step(rig: &Rig) -> Result<Passed> {
    let origin = Origin::default();
    let (email, now) = ("ann@example.com", db::now());
    sign_in::sign_in(&rig.ctx, email, PASSWORD.into(), origin, now).await
}

async fn challenge(rig: &Rig) -> Challenge {
    match password_step(rig).await.unwrap() {
        Passed::NeedsFactor(challenge) => challenge,
        Passed::SignedIn(_) => panic!("a password alone has signed in"),
    }
}

async fn finish(
    rig: &Rig,
    challenge: &Challenge,
    code: &SecretString,
    now: DateTime<Utc>,
) -> Result<SignedIn> {
    let token = challenge.token.expose_secret();
    second_step::finish(&rig.ctx, token, code, Origin::default(), now).await
}

/// Somebody with a factor, signed in since before it.
struct Ann {
    actor: Actor,
    seed: Vec<u8>,
    codes: Vec<SecretString>,
    /// When the code of the confirmation was.
    confirmed: DateTime<Utc>,
}

impl Ann {
    fn code(&self, at: DateTime<Utc>) -> SecretString {
        code_at(&self.seed, at).unwrap()
    }

    /// A moment whose code was not used, so many steps after the confirmation.
    fn later(&self, steps: i64) -> DateTime<Utc> {
        self.confirmed + TimeDelta::seconds(30 * steps)
    }
}

/// The bytes behind an authenticator's secret in base 32.
fn decoded(secret: &SecretString) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in secret.expose_secret().bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            digit => digit - b'2' + 26,
        };
        held = held << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    bytes
}

async fn enrolled(rig: &Rig, actor: Actor) -> Ann {
    let now = db::now();
    let made = start(&rig.ctx, &actor, PASSWORD.into(), now).await.unwrap();
    let seed = decoded(&made.secret);
    let code = code_at(&seed, now).unwrap();
    let codes = confirm(&rig.ctx, &actor, &code, now).await.unwrap();
    Ann {
        actor,
        seed,
        codes,
        confirmed: now,
    }
}

async fn ann(rig: &Rig) -> Ann {
    person(rig, "ann@example.com", SystemRole::Developer).await;
    let signed_in = session(password_step(rig).await.unwrap());
    enrolled(rig, signed_in.actor).await
}

fn is_wrong<T>(outcome: &Result<T>, field: &str) -> bool {
    matches!(outcome, Err(Error::Invalid(errors)) if errors[0].field == field)
}

fn is_over<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Unauthenticated))
}

async fn told(rig: &Rig, action: Action) -> usize {
    let reader = Actor {
        role: SystemRole::Admin,
        ..rig
            .user(&format!("{action}@example.com"), SystemRole::Admin)
            .await
    };
    let filter = audit::service::Filter::default();
    let rows = audit::service::export(&rig.ctx, &reader, &filter, AuditId(0), 1_000).await;
    let rows = rows.unwrap();
    rows.iter()
        .filter(|row| row.action == action.as_str())
        .count()
}

async fn a_factor_is_switched_on_by_a_first_code_and_ends_other_sessions(rig: Rig) {
    person(&rig, "ann@example.com", SystemRole::Developer).await;
    let other = session(password_step(&rig).await.unwrap());
    let mine = session(password_step(&rig).await.unwrap());
    let (ctx, actor, now) = (&rig.ctx, &mine.actor, db::now());
    let code = SecretString::from("000000");
    assert_eq!(
        conflict(confirm(ctx, actor, &code, now).await),
        "not_started"
    );
    let refused = start(ctx, actor, "wrong horse battery".into(), now).await;
    assert!(is_wrong(&refused, "password"));
    let first = start(ctx, actor, PASSWORD.into(), now).await.unwrap();
    let second = start(ctx, actor, PASSWORD.into(), now).await.unwrap();
    let of_first = code_at(&decoded(&first.secret), now).unwrap();
    assert!(is_wrong(&confirm(ctx, actor, &of_first, now).await, "code"));
    // Nothing has changed so far.
    assert!(matches!(
        password_step(&rig).await.unwrap(),
        Passed::SignedIn(_)
    ));
    let of_second = code_at(&decoded(&second.secret), now).unwrap();
    let codes = confirm(ctx, actor, &of_second, now).await.unwrap();
    assert_eq!(codes.len(), RECOVERY_CODES);
    let lives = async |session: &SignedIn| {
        let cookie = session.cookie.expose_secret();
        sign_in::by_session(ctx, cookie, db::now()).await.is_ok()
    };
    assert!(lives(&mine).await && !lives(&other).await);
    let known = state(ctx, actor).await.unwrap();
    assert_eq!((known.since, known.codes_left), (Some(now), 10));
    let again = start(ctx, actor, PASSWORD.into(), now).await;
    assert_eq!(conflict(again), "factor_on");
    assert_eq!(told(&rig, Action::FactorEnable).await, 1);
}

async fn a_right_password_alone_begins_no_session(rig: Rig) {
    let ann = ann(&rig).await;
    let before = service::sessions(&rig.ctx, &ann.actor).await.unwrap().len();
    let challenge = challenge(&rig).await;
    let sessions = service::sessions(&rig.ctx, &ann.actor).await.unwrap();
    assert_eq!(sessions.len(), before);
    let cookie = challenge.token.expose_secret();
    assert!(is_over(
        &sign_in::by_session(&rig.ctx, cookie, db::now()).await
    ));
    // A wrong password asks for nothing.
    let origin = Origin::default();
    let wrong = "wrong horse battery".into();
    let refused = sign_in::sign_in(&rig.ctx, "ann@example.com", wrong, origin, db::now()).await;
    assert!(is_over(&refused));
    let later = ann.later(1);
    let signed_in = finish(&rig, &challenge, &ann.code(later), later).await;
    assert_eq!(signed_in.unwrap().actor.user, ann.actor.user);
}

async fn a_code_counts_once_even_for_two_at_once(rig: Rig) {
    let ann = ann(&rig).await;
    let challenges = [challenge(&rig).await, challenge(&rig).await];
    // The code of the confirmation was used by that.
    let used = finish(
        &rig,
        &challenges[0],
        &ann.code(ann.confirmed),
        ann.confirmed,
    )
    .await;
    assert!(is_wrong(&used, "code"), "{used:?}");
    let later = ann.later(1);
    let code = ann.code(later);
    let both = futures_util::future::join_all(
        challenges
            .iter()
            .map(|challenge| finish(&rig, challenge, &code, later)),
    )
    .await;
    let won = both.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 1, "{both:?}");
    assert_eq!(both.iter().filter(|it| is_wrong(it, "code")).count(), 1);
    // Nor does an older one count after a newer one.
    let newest = ann.later(2);
    let (challenge, older) = (challenge(&rig).await, ann.code(later));
    assert!(is_wrong(
        &finish(&rig, &challenge, &older, newest).await,
        "code"
    ));
    finish(&rig, &challenge, &ann.code(newest), newest)
        .await
        .unwrap();
}

async fn a_challenge_works_once_and_not_for_long(rig: Rig) {
    let ann = ann(&rig).await;
    let later = ann.later(1);
    let first = challenge(&rig).await;
    finish(&rig, &first, &ann.code(later), later).await.unwrap();
    let next = ann.later(2);
    assert!(is_over(&finish(&rig, &first, &ann.code(next), next).await));
    let second = challenge(&rig).await;
    let late = second.expires_at;
    assert!(late - db::now() <= LASTS);
    assert!(is_over(&finish(&rig, &second, &ann.code(late), late).await));
    let forged = Challenge {
        token: "x".repeat(43).into(),
        expires_at: late,
    };
    assert!(is_over(&finish(&rig, &forged, &ann.code(next), next).await));
}

async fn a_challenge_ends_after_too_many_codes(rig: Rig) {
    let ann = ann(&rig).await;
    let challenge = challenge(&rig).await;
    let later = ann.later(1);
    for _ in 0..ATTEMPTS {
        let wrong = finish(&rig, &challenge, &"nonsense".into(), later).await;
        assert!(is_wrong(&wrong, "code"), "{wrong:?}");
    }
    assert!(is_over(
        &finish(&rig, &challenge, &ann.code(later), later).await
    ));
}

async fn wrong_codes_slow_the_second_step_down_whatever_the_password(rig: Rig) {
    let ann = ann(&rig).await;
    let later = ann.later(1);
    for _ in 0..=FREE {
        // A right password each time gives no more tries.
        let challenge = challenge(&rig).await;
        let wrong = finish(&rig, &challenge, &"000000".into(), later).await;
        assert!(is_wrong(&wrong, "code"), "{wrong:?}");
    }
    let challenge = challenge(&rig).await;
    let waits = finish(&rig, &challenge, &ann.code(later), later).await;
    assert!(matches!(waits, Err(Error::Throttled(_))), "{waits:?}");
    let after = ann.later(3);
    finish(&rig, &challenge, &ann.code(after), after)
        .await
        .unwrap();
}

async fn a_challenge_ends_with_what_ends_sessions(rig: Rig) {
    let ann = ann(&rig).await;
    let (root, later) = (root_again(&rig).await, ann.later(1));
    let first = challenge(&rig).await;
    let change = UserChange {
        role: Some(SystemRole::Viewer),
        ..UserChange::default()
    };
    service::update_user(&rig.ctx, &root, ann.actor.user, change, db::now())
        .await
        .unwrap();
    assert!(is_over(
        &finish(&rig, &first, &ann.code(later), later).await
    ));
    let second = challenge(&rig).await;
    let change = (
        PASSWORD.into(),
        Password::new("another horse battery".into()).unwrap(),
    );
    let origin = Origin::default();
    passwords::change(&rig.ctx, &ann.actor, change, origin, db::now())
        .await
        .unwrap();
    assert!(is_over(
        &finish(&rig, &second, &ann.code(later), later).await
    ));
}

async fn root_again(rig: &Rig) -> Actor {
    rig.user("second-root@example.com", SystemRole::Admin).await
}

async fn a_recovery_code_works_once_even_for_two_at_once(rig: Rig) {
    let ann = ann(&rig).await;
    let now = db::now();
    let code = &ann.codes[3];
    let challenges = [challenge(&rig).await, challenge(&rig).await];
    let both = futures_util::future::join_all(
        challenges
            .iter()
            .map(|challenge| finish(&rig, challenge, code, now)),
    )
    .await;
    assert_eq!(both.iter().filter(|it| it.is_ok()).count(), 1, "{both:?}");
    let again = challenge(&rig).await;
    assert!(is_wrong(&finish(&rig, &again, code, now).await, "code"));
    let shouted = ann.codes[4].expose_secret().to_uppercase();
    finish(&rig, &again, &shouted.into(), now).await.unwrap();
    let left = state(&rig.ctx, &ann.actor).await.unwrap().codes_left;
    assert_eq!(left, 8);
    assert_eq!(told(&rig, Action::RecoveryCodeUse).await, 2);
}

async fn new_recovery_codes_end_the_old_ones(rig: Rig) {
    let ann = ann(&rig).await;
    let later = ann.later(1);
    let proofs = |code: SecretString| Proofs {
        password: PASSWORD.into(),
        code,
    };
    let renewed = renew_codes(&rig.ctx, &ann.actor, proofs(ann.code(later)), later).await;
    let renewed = renewed.unwrap();
    assert_eq!(renewed.len(), RECOVERY_CODES);
    let challenge = challenge(&rig).await;
    for old in &ann.codes[..2] {
        assert!(is_wrong(
            &finish(&rig, &challenge, old, later).await,
            "code"
        ));
    }
    finish(&rig, &challenge, &renewed[0], later).await.unwrap();
    // The code that has proved it counts no more.
    let again = renew_codes(&rig.ctx, &ann.actor, proofs(ann.code(later)), later).await;
    assert!(is_wrong(&again, "code"));
    assert_eq!(told(&rig, Action::RecoveryCodesRenew).await, 1);
}

async fn switching_off_takes_password_and_code(rig: Rig) {
    let ann = ann(&rig).await;
    let later = ann.later(1);
    let off = async |password: &str, code: SecretString| {
        let password = password.into();
        disable(&rig.ctx, &ann.actor, Proofs { password, code }, later).await
    };
    assert!(is_wrong(&off("wrong", ann.code(later)).await, "password"));
    assert!(is_wrong(&off(PASSWORD, "000000".into()).await, "code"));
    off(PASSWORD, ann.code(later)).await.unwrap();
    session(password_step(&rig).await.unwrap());
    let known = state(&rig.ctx, &ann.actor).await.unwrap();
    assert_eq!((known.since, known.codes_left), (None, 0));
    let again = off(PASSWORD, ann.code(later)).await;
    assert_eq!(conflict(again), "no_factor");
    assert_eq!(told(&rig, Action::FactorDisable).await, 1);
    // A new one has another secret.
    let next = enrolled(&rig, ann.actor.clone()).await;
    assert_ne!(next.seed, ann.seed);
}

async fn a_reset_password_leaves_the_factor_on(rig: Rig) {
    let ann = ann(&rig).await;
    let root = root_again(&rig).await;
    let link = passwords::invite(&rig.ctx, &root, ann.actor.user, db::now()).await;
    let (code, new) = (link.unwrap().code, Password::new(PASSWORD.into()).unwrap());
    let (code, origin) = (code.expose_secret(), Origin::default());
    passwords::set_by_link(&rig.ctx, code, new, &origin, db::now())
        .await
        .unwrap();
    let challenge = challenge(&rig).await;
    let later = ann.later(1);
    finish(&rig, &challenge, &ann.code(later), later)
        .await
        .unwrap();
}

async fn an_admin_removes_a_lost_factor_and_not_their_own(rig: Rig) {
    let ann = ann(&rig).await;
    let (ctx, now) = (&rig.ctx, db::now());
    let manager = rig.user("manager@example.com", SystemRole::Manager).await;
    let refused = remove(ctx, &manager, ann.actor.user, now).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
    let begun = challenge(&rig).await;
    let root = root_again(&rig).await;
    remove(ctx, &root, ann.actor.user, now).await.unwrap();
    let sessions = service::sessions(ctx, &ann.actor).await.unwrap();
    assert_eq!(sessions.len(), 0);
    let later = ann.later(1);
    assert!(is_over(
        &finish(&rig, &begun, &ann.code(later), later).await
    ));
    session(password_step(&rig).await.unwrap());
    assert_eq!(
        conflict(remove(ctx, &root, ann.actor.user, now).await),
        "no_factor"
    );
    assert_eq!(
        conflict(remove(ctx, &root, root.user, now).await),
        "own_factor"
    );
    assert_eq!(told(&rig, Action::FactorRemove).await, 1);
}

async fn the_command_line_removes_the_factor_of_the_last_admin(rig: Rig) {
    let ann = ann(&rig).await;
    let (ctx, now) = (&rig.ctx, db::now());
    let nobody = console::remove_factor(ctx, "nobody@example.com", now).await;
    assert!(matches!(nobody, Err(Error::NotFound("user"))));
    console::remove_factor(ctx, "Ann@example.com", now)
        .await
        .unwrap();
    let sessions = service::sessions(ctx, &ann.actor).await.unwrap();
    assert_eq!(sessions.len(), 0);
    session(password_step(&rig).await.unwrap());
    assert_eq!(told(&rig, Action::FactorRemove).await, 1);
}

async fn whoever_lacks_a_required_factor_can_only_switch_one_on(rig: Rig) {
    let of = |rule| move |settings: &mut Settings| settings.security.require_second_factor = rule;
    let (all, _db) = rig.restarted(of(RequiredFactor::All)).await;
    let (admins, _db) = rig.restarted(of(RequiredFactor::Admins)).await;
    person(&rig, "ann@example.com", SystemRole::Developer).await;
    let signed_in = session(password_step(&rig).await.unwrap());
    let (cookie, now) = (signed_in.cookie.expose_secret(), db::now());
    let held = sign_in::by_session(&all, cookie, now).await;
    assert!(matches!(held, Err(Error::FactorRequired)), "{held:?}");
    sign_in::by_session(&admins, cookie, now).await.unwrap();
    let actor = sign_in::by_session_to_enrol(&all, cookie, now).await;
    let actor = actor.unwrap();
    let made = start(&all, &actor, PASSWORD.into(), now).await.unwrap();
    let seed = decoded(&made.secret);
    let code = code_at(&seed, now).unwrap();
    let codes = confirm(&all, &actor, &code, now).await.unwrap();
    sign_in::by_session(&all, cookie, now).await.unwrap();
    let proofs = Proofs {
        password: PASSWORD.into(),
        code: codes[0].clone(),
    };
    let off = disable(&all, &actor, proofs, now).await;
    assert_eq!(conflict(off), "factor_required");
    let values = user::ActiveModel {
        role: sea_orm::ActiveValue::Set(SystemRole::Admin),
        factor_at: sea_orm::ActiveValue::Set(None),
        ..Default::default()
    };
    store::update_user(
        rig.ctx.db.writer(),
        &rig.counted().await,
        actor.user,
        values,
    )
    .await
    .unwrap();
    let held = sign_in::by_session(&admins, cookie, now).await;
    assert!(matches!(held, Err(Error::FactorRequired)), "{held:?}");
    sign_in::by_session(&rig.ctx, cookie, now).await.unwrap();
}

async fn a_seed_is_kept_encrypted_and_moves_to_a_new_key(rig: Rig) {
    let ann = ann(&rig).await;
    let rows = of_owner(rig.ctx.db.reader(), sealed::FACTOR, ann.actor.user.0).await;
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 1);
    let holds = |bytes: &[u8]| bytes.windows(8).any(|part| part == &ann.seed[..8]);
    assert!(!holds(&rows[0].ciphertext));
    rotated(&rig).await;
    assert_eq!(rewrapped(&rig).await.damaged, 0);
    let moved = of_owner(rig.ctx.db.reader(), sealed::FACTOR, ann.actor.user.0).await;
    assert_eq!(moved.unwrap()[0].key_version, Some(2));
    let (challenge, later) = (challenge(&rig).await, ann.later(1));
    finish(&rig, &challenge, &ann.code(later), later)
        .await
        .unwrap();
}
