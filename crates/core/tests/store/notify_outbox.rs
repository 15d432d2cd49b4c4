//! What is written with a change of state, and who is told of it.

use slipway_core::{
    db,
    deployment::{reason::Code, run::RunEnd, status::Status},
    lock::service::{self as lock, Address, LockInput},
    notify::{
        delivery::{service::Detail, state::State},
        outbox::{lock::expire, watch},
        subscription::service::{self as subscription, Mute, NewSubscription, SubscriptionChange},
    },
};

use crate::{
    notify_model::wanted,
    notify_place::{failed, place},
    rig::{Rig, minutes_later},
};

on_both! {
    a_deployment_is_told_of_from_its_request_to_its_end,
    a_second_attempt_is_no_second_start,
    nothing_is_written_where_nobody_listens,
    whoever_subscribes_while_it_runs_is_told_of_the_end,
    a_run_that_was_replaced_tells_nothing,
    the_first_success_after_a_failure_is_a_recovery,
    a_cancelled_one_is_told_with_its_canceller,
    mutes_and_branches_decide_when_it_happens,
    a_stuck_deployment_is_told_of_once,
    locked_deployments_hide_no_stuck_ones,
    locks_are_told_of_also_when_they_run_out,
    an_old_key_is_told_of_once_a_month,
}

const ALL: [&str; 12] = [
    "requested",
    "started",
    "succeeded",
    "failed",
    "cancelled",
    "rolled_back",
    "recovered",
    "stuck",
    "target_unreachable",
    "locked",
    "unlocked",
    "key_rotation_due",
];

async fn a_deployment_is_told_of_from_its_request_to_its_end(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &ALL)).await;
    place.run(RunEnd::Succeeded).await;
    assert_eq!(place.events().await, ["requested", "started", "succeeded"]);
    let all = place.all().await;
    assert!(all.iter().all(|it| it.row.state == State::Pending));
    let end = &all[2].notice;
    assert_eq!(end.project.as_deref(), Some("web"));
    assert_eq!(end.target.as_deref(), Some("live"));
    let facts = end.deployment.as_ref().unwrap();
    assert_eq!(
        (facts.attempt, facts.requested_by.as_str()),
        (1, "web@example.com")
    );
    assert!(facts.duration_ms.is_some());
    let keys: std::collections::HashSet<_> = all.iter().map(|it| it.row.key.clone()).collect();
    assert_eq!(keys.len(), 3);
}

async fn a_second_attempt_is_no_second_start(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &ALL)).await;
    let id = place.scene.rig.deploy(&place.site).await;
    let row = place.scene.rig.claim(id).await;
    place.scene.rig.finish(&row, failed(Code::StepFailed)).await;
    place.scene.rig.make_due(id).await;
    let row = place.scene.rig.claim(id).await;
    place.scene.rig.finish(&row, failed(Code::UnknownRef)).await;
    assert_eq!(place.events().await, ["requested", "started", "failed"]);
    let all = place.all().await;
    let failure = all[2].notice.failure.as_ref().unwrap();
    assert_eq!(
        (failure.code.as_str(), failure.sentence.as_str()),
        ("unknown_ref", "It broke.")
    );
}

async fn nothing_is_written_where_nobody_listens(rig: Rig) {
    let place = place(rig).await;
    let other = place.scene.rig.site("shop").await;
    let input = wanted(place.roof, &ALL);
    subscription::create(&place.scene.ctx, &other.owner, "shop", input, db::now())
        .await
        .unwrap();
    place.run(RunEnd::Succeeded).await;
    place.run(failed(Code::UnknownRef)).await;
    assert_eq!(place.events().await, [""; 0]);
    assert_eq!(
        place.scene.text("SELECT body AS text FROM notices").await,
        ""
    );
}

async fn whoever_subscribes_while_it_runs_is_told_of_the_end(rig: Rig) {
    let place = place(rig).await;
    let id = place.scene.rig.deploy(&place.site).await;
    let row = place.scene.rig.claim(id).await;
    place.subscribe(wanted(place.roof, &["succeeded"])).await;
    place.scene.rig.finish(&row, RunEnd::Succeeded).await;
    assert_eq!(place.events().await, ["succeeded"]);
}

async fn a_run_that_was_replaced_tells_nothing(rig: Rig) {
    let place = place(rig).await;
    place
        .subscribe(wanted(place.roof, &["succeeded", "failed"]))
        .await;
    let id = place.scene.rig.deploy(&place.site).await;
    let mut row = place.scene.rig.claim(id).await;
    row.fence -= 1;
    place.scene.rig.finish(&row, RunEnd::Succeeded).await;
    place.scene.rig.finish(&row, failed(Code::UnknownRef)).await;
    assert_eq!(place.events().await, [""; 0]);
    assert_eq!(place.scene.rig.row(id).await.status, Status::Running);
}

async fn the_first_success_after_a_failure_is_a_recovery(rig: Rig) {
    let place = place(rig).await;
    let loft = place.scene.provider("Tower").await;
    let tower = place.scene.channel(loft, "Tower").await;
    place
        .subscribe(wanted(place.roof, &["succeeded", "recovered"]))
        .await;
    place.subscribe(wanted(tower, &["succeeded"])).await;
    place.run(RunEnd::Succeeded).await;
    place.run(failed(Code::UnknownRef)).await;
    place.run(RunEnd::Succeeded).await;
    place.run(RunEnd::Succeeded).await;
    let told = |all: &[Detail], channel| -> Vec<String> {
        let own = all.iter().filter(|it| it.row.channel_id == channel);
        own.map(|it| it.notice.event.to_string()).collect()
    };
    let all = place.all().await;
    assert_eq!(
        told(&all, place.roof),
        ["succeeded", "recovered", "succeeded"]
    );
    assert_eq!(told(&all, tower), ["succeeded", "succeeded", "succeeded"]);
}

async fn a_cancelled_one_is_told_with_its_canceller(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["cancelled"])).await;
    let (ctx, owner) = (&place.scene.ctx, &place.site.owner);
    let id = place.scene.rig.deploy(&place.site).await;
    slipway_core::deployment::service::cancel(ctx, owner, id, db::now())
        .await
        .unwrap();
    let id = place.scene.rig.deploy(&place.site).await;
    let row = place.scene.rig.claim(id).await;
    slipway_core::deployment::service::cancel(ctx, owner, id, db::now())
        .await
        .unwrap();
    // It would be tried again, and is cancelled instead.
    place.scene.rig.finish(&row, failed(Code::StepFailed)).await;
    let all = place.all().await;
    assert_eq!(place.events().await, ["cancelled", "cancelled"]);
    for told in all {
        assert_eq!(told.notice.actor.as_deref(), Some("web@example.com"));
    }
}

async fn mutes_and_branches_decide_when_it_happens(rig: Rig) {
    let place = place(rig).await;
    let made = place.subscribe(wanted(place.roof, &["failed"])).await;
    let branch = NewSubscription {
        branches: vec!["release/*".to_owned()],
        ..wanted(place.roof, &["failed"])
    };
    place.subscribe(branch).await;
    let mute = SubscriptionChange {
        mute: Some(Some(Mute {
            until: minutes_later(5),
            reason: "we know".parse().unwrap(),
        })),
        ..SubscriptionChange::default()
    };
    let at = ("web", made.row.id);
    subscription::update(&place.scene.ctx, &place.site.owner, at, mute, db::now())
        .await
        .unwrap();
    place.run(failed(Code::UnknownRef)).await;
    assert_eq!(place.events().await, [""; 0]);
    let id = place.scene.rig.deploy(&place.site).await;
    place
        .sql("UPDATE deployments SET ref_name = 'release/1'")
        .await;
    let row = place.scene.rig.claim(id).await;
    place.scene.rig.finish(&row, failed(Code::UnknownRef)).await;
    assert_eq!(
        place.events().await,
        ["failed"],
        "one message for two subscriptions"
    );
}

async fn a_stuck_deployment_is_told_of_once(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["stuck"])).await;
    place.scene.rig.deploy(&place.site).await;
    let later = minutes_later(16);
    let address = Address::Project("web");
    let input = LockInput {
        reason: "stocktaking".parse().unwrap(),
        expires_at: None,
    };
    lock::put(
        &place.scene.ctx,
        &place.site.owner,
        address,
        input,
        db::now(),
    )
    .await
    .unwrap();
    assert_eq!(
        watch::stuck(&place.scene.ctx, later).await.unwrap(),
        0,
        "it is locked"
    );
    lock::lift(&place.scene.ctx, &place.site.owner, address)
        .await
        .unwrap();
    assert_eq!(
        watch::stuck(&place.scene.ctx, minutes_later(14))
            .await
            .unwrap(),
        0
    );
    assert_eq!(watch::stuck(&place.scene.ctx, later).await.unwrap(), 1);
    assert_eq!(watch::stuck(&place.scene.ctx, later).await.unwrap(), 0);
    let told = &place.all().await[0].notice;
    assert_eq!(told.event.as_str(), "stuck");
    assert!(
        told.text
            .as_ref()
            .unwrap()
            .starts_with("It has waited for 1")
    );
}

async fn locked_deployments_hide_no_stuck_ones(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["stuck"])).await;
    let (ctx, owner) = (&place.scene.ctx, &place.site.owner);
    for _ in 0..101 {
        place.scene.rig.deploy(&place.site).await;
    }
    let input = LockInput {
        reason: "stocktaking".parse().unwrap(),
        expires_at: None,
    };
    lock::put(ctx, owner, Address::Project("web"), input, db::now())
        .await
        .unwrap();
    let shop = place.scene.rig.site("shop").await;
    let stuck = wanted(place.roof, &["stuck"]);
    subscription::create(ctx, &shop.owner, "shop", stuck, db::now())
        .await
        .unwrap();
    place.scene.rig.deploy(&shop).await;
    let later = minutes_later(16);
    assert_eq!(watch::stuck(ctx, later).await.unwrap(), 1);
}

async fn locks_are_told_of_also_when_they_run_out(rig: Rig) {
    let place = place(rig).await;
    place
        .subscribe(wanted(place.roof, &["locked", "unlocked"]))
        .await;
    let input = || LockInput {
        reason: "stocktaking".parse().unwrap(),
        expires_at: Some(minutes_later(5)),
    };
    let (ctx, owner) = (&place.scene.ctx, &place.site.owner);
    let target = Address::Target("web", "live");
    lock::put(ctx, owner, target, input(), db::now())
        .await
        .unwrap();
    lock::lift(ctx, owner, target).await.unwrap();
    lock::put(
        ctx,
        &place.scene.admin,
        Address::Everything,
        input(),
        db::now(),
    )
    .await
    .unwrap();
    place.sql("UPDATE locks SET expires_us = 1").await;
    assert_eq!(expire(ctx, db::now()).await.unwrap(), 1);
    assert_eq!(expire(ctx, db::now()).await.unwrap(), 0);
    assert_eq!(
        place.events().await,
        ["locked", "unlocked", "locked", "unlocked"]
    );
    let all = place.all().await;
    assert_eq!(all[0].notice.target.as_deref(), Some("live"));
    assert_eq!(all[1].notice.actor.as_deref(), Some("web@example.com"));
    assert_eq!(
        (&all[3].notice.project, &all[3].notice.actor),
        (&None, &None)
    );
    assert_eq!(all[3].notice.text.as_deref(), Some("stocktaking"));
}

async fn an_old_key_is_told_of_once_a_month(rig: Rig) {
    let place = place(rig).await;
    place
        .subscribe(wanted(place.roof, &["key_rotation_due"]))
        .await;
    let now = db::now();
    watch::old_key(&place.scene.ctx, now).await.unwrap();
    assert_eq!(place.events().await, [""; 0]);
    let in_a_year = now + chrono::Duration::days(366);
    for _ in 0..2 {
        watch::old_key(&place.scene.ctx, in_a_year).await.unwrap();
    }
    assert_eq!(place.events().await, ["key_rotation_due"]);
    watch::old_key(&place.scene.ctx, in_a_year + chrono::Duration::days(31))
        .await
        .unwrap();
    assert_eq!(place.events().await.len(), 2);
}
