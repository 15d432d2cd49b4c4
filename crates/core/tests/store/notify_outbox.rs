//! What is written with a change of state, who is told, and how senders share it.

use slipway_core::{
    db,
    deployment::{
        reason::{Code, Reason},
        run::RunEnd,
        status::Status,
    },
    error::Error,
    id::ChannelId,
    lock::service::{self as lock, Address, LockInput},
    notify::{
        Verdict,
        delivery::{
            service::{self as delivery, Detail, ListInput},
            state::State,
        },
        outbox::{
            lock::expire,
            queue::{self, Job},
            record::record,
            watch,
        },
        subscription::service::{self as subscription, Mute, NewSubscription, SubscriptionChange},
    },
};

use crate::{
    notify_model::{Scene, scene, wanted},
    rig::{Rig, Site, conflict, minutes_later},
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
    repetitions_fold_into_one_message,
    what_is_put_off_hides_nothing_and_tries_no_circuit,
    a_test_goes_before_a_long_queue,
    a_success_makes_the_next_failure_news,
    a_channel_has_one_sender_and_its_messages_go_in_order,
    what_was_sent_but_not_recorded_is_sent_again_with_its_key,
    a_circuit_opens_for_all_and_one_tries_it,
    one_dead_channel_opens_no_circuit,
    a_burst_of_failures_opens_a_circuit_once,
    a_trial_that_fails_opens_no_circuit,
    a_message_is_given_up_after_a_day,
    a_message_that_waited_for_long_is_tried_some_times,
    a_message_that_waited_for_too_long_is_given_up,
    a_stuck_deployment_is_told_of_once,
    locked_deployments_hide_no_stuck_ones,
    locks_are_told_of_also_when_they_run_out,
    an_old_key_is_told_of_once_a_month,
    sent_once_more_it_has_another_key,
    what_is_switched_off_drops_what_waits,
    old_messages_are_removed,
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

struct Place {
    scene: Scene,
    site: Site,
    roof: ChannelId,
}

async fn place(rig: Rig) -> Place {
    let scene = scene(rig).await;
    let loft = scene.provider("Loft").await;
    let roof = scene.channel(loft, "Roof").await;
    let site = scene.rig.site("web").await;
    Place { scene, site, roof }
}

impl Place {
    async fn subscribe(&self, input: NewSubscription) -> subscription::Detail {
        let (ctx, owner) = (&self.scene.ctx, &self.site.owner);
        let made = subscription::create(ctx, owner, "web", input, db::now()).await;
        made.unwrap()
    }

    async fn all(&self) -> Vec<Detail> {
        let input = ListInput {
            limit: 100,
            ..ListInput::default()
        };
        let listed = delivery::list(&self.scene.ctx, &self.scene.manager, &input).await;
        let mut listed = listed.unwrap();
        listed.reverse();
        listed
    }

    async fn events(&self) -> Vec<String> {
        let all = self.all().await;
        all.iter().map(|it| it.notice.event.to_string()).collect()
    }

    async fn run(&self, end: RunEnd) {
        let id = self.scene.rig.deploy(&self.site).await;
        let row = self.scene.rig.claim(id).await;
        self.scene.rig.finish(&row, end).await;
    }

    async fn take(&self) -> Option<Job> {
        queue::take(&self.scene.ctx, self.roof).await.unwrap()
    }

    async fn due(&self) -> Vec<ChannelId> {
        let due = queue::due(self.scene.ctx.db.reader(), 100).await.unwrap();
        due.into_iter().map(|(id, _)| id).collect()
    }

    async fn record(&self, job: &Job, verdict: &Verdict) -> Option<State> {
        record(&self.scene.ctx, job, verdict).await.unwrap()
    }

    async fn sql(&self, sql: &str) -> u64 {
        self.scene.rig.execute(sql, []).await
    }
}

fn failed(code: Code) -> RunEnd {
    RunEnd::Failed(Reason::new(code, "It broke."))
}

fn delivered() -> Verdict {
    Verdict::Delivered {
        answer: "200".to_owned(),
    }
}

fn later() -> Verdict {
    Verdict::Later {
        answer: "500".to_owned(),
        after: None,
    }
}

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

async fn repetitions_fold_into_one_message(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["failed"])).await;
    place.run(failed(Code::UnknownRef)).await;
    let job = place.take().await.unwrap();
    assert_eq!(
        place.record(&job, &delivered()).await,
        Some(State::Delivered)
    );
    for _ in 0..3 {
        place.run(failed(Code::UnknownRef)).await;
    }
    place.run(failed(Code::SecretMissing)).await;
    let other = place
        .take()
        .await
        .expect("it is too soon for the same only");
    assert_eq!(
        other.notice.failure.as_ref().unwrap().code,
        "secret_missing"
    );
    place.record(&other, &delivered()).await;
    assert!(place.take().await.is_none());
    // The window is over.
    place
        .sql("UPDATE deliveries SET ended_us = 1 WHERE state = 'delivered'")
        .await;
    place
        .sql("UPDATE deliveries SET next_us = 1 WHERE state = 'pending'")
        .await;
    let folded = place.take().await.unwrap();
    assert_eq!(folded.notice.folded, 2);
    place.record(&folded, &delivered()).await;
    let all = place.all().await;
    let states: Vec<State> = all.iter().map(|it| it.row.state).collect();
    let (d, f) = (State::Delivered, State::Folded);
    assert_eq!(states, [d, f, f, d, d]);
    assert_eq!(all[1].row.folded_into, Some(folded.row.id));
    assert!(place.take().await.is_none());
}

async fn what_is_put_off_hides_nothing_and_tries_no_circuit(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["failed"])).await;
    place.run(failed(Code::UnknownRef)).await;
    let job = place.take().await.unwrap();
    place.record(&job, &delivered()).await;
    place.run(failed(Code::UnknownRef)).await;
    place.sql("UPDATE providers SET open_until_us = 1").await;
    assert!(place.take().await.is_none());
    assert_eq!(place.due().await, [], "it is put off");
    place.run(failed(Code::SecretMissing)).await;
    assert_eq!(place.due().await, [place.roof], "nobody tries the circuit");
    assert!(place.take().await.is_some());
}

async fn a_test_goes_before_a_long_queue(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    for _ in 0..205 {
        place.scene.rig.deploy(&place.site).await;
    }
    let last = "SELECT CAST(MAX(id) AS CHAR) AS text FROM notices";
    let last = place.scene.text(last).await;
    let sql = format!("UPDATE notices SET event = 'test' WHERE id = {last}");
    place.sql(&sql).await;
    let test = place.take().await.unwrap();
    assert_eq!(test.row.notice_id.0.to_string(), last);
    place.record(&test, &delivered()).await;
    // The first 204 are put off, and the last one is not behind them.
    place
        .sql("UPDATE deliveries SET next_us = 9000000000000000 WHERE state = 'pending'")
        .await;
    place.scene.rig.deploy(&place.site).await;
    assert!(place.take().await.is_some());
}

async fn a_success_makes_the_next_failure_news(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["failed"])).await;
    for _ in 0..2 {
        place.run(failed(Code::UnknownRef)).await;
        let job = place.take().await.expect("it is news");
        place.record(&job, &delivered()).await;
        place.run(RunEnd::Succeeded).await;
    }
}

async fn a_channel_has_one_sender_and_its_messages_go_in_order(rig: Rig) {
    let place = place(rig).await;
    place
        .subscribe(wanted(place.roof, &["requested", "started"]))
        .await;
    place.run(RunEnd::Succeeded).await;
    assert_eq!(place.due().await, [place.roof]);
    let first = place.take().await.unwrap();
    assert_eq!(first.notice.event.as_str(), "requested");
    assert_eq!(place.due().await, []);
    assert!(place.take().await.is_none());
    assert_eq!(place.record(&first, &later()).await, Some(State::Pending));
    assert_eq!(place.due().await, [], "the second waits for the first");
    assert!(place.take().await.is_none());
    place.sql("UPDATE deliveries SET next_us = 1").await;
    let again = place.take().await.unwrap();
    assert_eq!((again.row.id, again.row.tries), (first.row.id, 2));
    assert_eq!(again.row.key, first.row.key);
    let refused = Verdict::Refused {
        answer: "404 no such hook".to_owned(),
    };
    assert_eq!(place.record(&again, &refused).await, Some(State::Failed));
    let second = place.take().await.unwrap();
    assert_eq!(second.notice.event.as_str(), "started");
    assert_eq!(
        place.all().await[0].row.answer.as_deref(),
        Some("404 no such hook")
    );
}

async fn what_was_sent_but_not_recorded_is_sent_again_with_its_key(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    let lost = place.take().await.unwrap();
    place.sql("UPDATE channels SET lease_until = 1").await;
    assert_eq!(place.due().await, [place.roof]);
    let taken = place.take().await.unwrap();
    assert_eq!((taken.row.id, &taken.row.key), (lost.row.id, &lost.row.key));
    assert_eq!(
        place.record(&lost, &delivered()).await,
        None,
        "it is another's"
    );
    assert_eq!(place.all().await[0].row.state, State::Sending);
    assert_eq!(
        place.record(&taken, &delivered()).await,
        Some(State::Delivered)
    );
}

async fn a_circuit_opens_for_all_and_one_tries_it(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    for _ in 0..5 {
        place.sql("UPDATE deliveries SET next_us = 1").await;
        let job = place.take().await.unwrap();
        place.record(&job, &later()).await;
    }
    place.sql("UPDATE deliveries SET next_us = 1").await;
    assert_eq!(place.due().await, []);
    assert!(place.take().await.is_none());
    let backlog = queue::backlog(&place.scene.ctx).await.unwrap();
    assert_eq!((backlog.waiting, backlog.circuits_open), (1, 1));
    place.sql("UPDATE providers SET open_until_us = 1").await;
    let probe = place.take().await.unwrap();
    place.record(&probe, &later()).await;
    place.sql("UPDATE deliveries SET next_us = 1").await;
    assert_eq!(place.due().await, [], "it is open again");
    place.sql("UPDATE providers SET open_until_us = 1").await;
    let probe = place.take().await.unwrap();
    place.record(&probe, &delivered()).await;
    let backlog = queue::backlog(&place.scene.ctx).await.unwrap();
    assert_eq!((backlog.waiting, backlog.circuits_open), (0, 0));
}

async fn one_dead_channel_opens_no_circuit(rig: Rig) {
    let place = place(rig).await;
    let provider = place.scene.ctx.clone();
    let loft = slipway_core::notify::provider::store::list(provider.db.reader()).await;
    place.scene.channel(loft.unwrap()[0].id, "Balcony").await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    for _ in 0..8 {
        place.sql("UPDATE deliveries SET next_us = 1").await;
        let job = place.take().await.unwrap();
        place.record(&job, &later()).await;
    }
    assert_eq!(
        queue::backlog(&place.scene.ctx)
            .await
            .unwrap()
            .circuits_open,
        0
    );
}

/// The provider's openings.
async fn openings(place: &Place) -> i64 {
    use slipway_core::notify::provider::store::list;
    let all = list(place.scene.ctx.db.reader()).await.unwrap();
    all[0].openings
}

async fn a_burst_of_failures_opens_a_circuit_once(rig: Rig) {
    let place = place(rig).await;
    let loft = slipway_core::notify::provider::store::list(place.scene.ctx.db.reader()).await;
    let loft = loft.unwrap()[0].id;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    let mut channels = vec![place.roof];
    for number in 0..7 {
        let channel = place.scene.channel(loft, &format!("Room {number}")).await;
        place.subscribe(wanted(channel, &["requested"])).await;
        channels.push(channel);
    }
    place.scene.rig.deploy(&place.site).await;
    let mut jobs = Vec::new();
    for channel in channels {
        let job = queue::take(&place.scene.ctx, channel).await.unwrap();
        jobs.push(job.unwrap());
    }
    for job in &jobs {
        place.record(job, &later()).await;
    }
    assert_eq!(openings(&place).await, 1);
    place.sql("UPDATE deliveries SET next_us = 1").await;
    place.sql("UPDATE providers SET open_until_us = 1").await;
    let probe = place.take().await.unwrap();
    place.record(&probe, &later()).await;
    assert_eq!(openings(&place).await, 2, "trying it has failed");
}

async fn a_trial_that_fails_opens_no_circuit(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    place.sql("UPDATE notices SET event = 'test'").await;
    place
        .sql("UPDATE notices SET body = REPLACE(body, '\"event\":\"requested\"', '\"event\":\"test\"')")
        .await;
    for _ in 0..8 {
        place
            .sql("UPDATE deliveries SET next_us = 1, state = 'pending'")
            .await;
        let job = place.take().await.unwrap();
        assert_eq!(job.notice.event.as_str(), "test");
        assert_eq!(place.record(&job, &later()).await, Some(State::Failed));
    }
    assert_eq!(openings(&place).await, 0);
}

async fn a_message_is_given_up_after_a_day(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    place
        .sql("UPDATE deliveries SET created_us = 1, tries = 20")
        .await;
    let job = place.take().await.unwrap();
    assert_eq!(place.record(&job, &later()).await, Some(State::Failed));
}

async fn a_message_that_waited_for_long_is_tried_some_times(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    let old = "UPDATE deliveries SET next_us = 1, created_us = 1";
    for _ in 0..2 {
        place.sql(old).await;
        let job = place.take().await.unwrap();
        assert_eq!(place.record(&job, &later()).await, Some(State::Pending));
    }
    place
        .sql("UPDATE deliveries SET next_us = 1, tries = 20")
        .await;
    let asked = Verdict::Later {
        answer: "429".to_owned(),
        after: Some(std::time::Duration::from_secs(60)),
    };
    let job = place.take().await.unwrap();
    assert_eq!(place.record(&job, &asked).await, Some(State::Pending));
}

async fn a_message_that_waited_for_too_long_is_given_up(rig: Rig) {
    let place = place(rig).await;
    place
        .subscribe(wanted(place.roof, &["requested", "started", "succeeded"]))
        .await;
    place.run(RunEnd::Succeeded).await;
    let job = place.take().await.unwrap();
    let hours = |hours| db::now().timestamp_micros() - hours * 3_600_000_000_i64;
    let ids: Vec<_> = place.all().await.iter().map(|it| it.row.id.0).collect();
    for (id, written) in [
        (ids[0], hours(40)),
        (ids[1], hours(40)),
        (ids[2], hours(30)),
    ] {
        let sql = format!("UPDATE deliveries SET created_us = {written} WHERE id = {id}");
        place.sql(&sql).await;
    }
    let tidied = slipway_core::recovery::tidy::run_once(&place.scene.ctx, db::now()).await;
    tidied.unwrap();
    let all = place.all().await;
    let states: Vec<State> = all.iter().map(|it| it.row.state).collect();
    assert_eq!(states, [State::Sending, State::Failed, State::Pending]);
    assert!(all[1].row.answer.as_ref().unwrap().contains("so long"));
    assert_eq!(
        place.record(&job, &delivered()).await,
        Some(State::Delivered)
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

async fn sent_once_more_it_has_another_key(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    let (ctx, owner) = (&place.scene.ctx, &place.site.owner);
    let id = place.all().await[0].row.id;
    assert_eq!(
        conflict(delivery::resend(ctx, owner, id, db::now()).await),
        "still_open"
    );
    let job = place.take().await.unwrap();
    place.record(&job, &delivered()).await;
    let again = delivery::resend(ctx, owner, id, db::now()).await.unwrap();
    assert_eq!((again.row.state, again.row.tries), (State::Pending, 0));
    assert_ne!(again.row.key, job.row.key);
    let second = place.take().await.unwrap();
    assert_eq!(second.row.key, again.row.key);
    let stranger = place.scene.rig.site("shop").await.owner;
    let hidden = delivery::resend(ctx, &stranger, id, db::now()).await;
    assert!(
        matches!(hidden, Err(Error::NotFound("delivery"))),
        "{hidden:?}"
    );
    let all = ListInput::default();
    assert!(matches!(
        delivery::list(ctx, owner, &all).await,
        Err(Error::Forbidden(_))
    ));
}

async fn what_is_switched_off_drops_what_waits(rig: Rig) {
    let place = place(rig).await;
    place.subscribe(wanted(place.roof, &["requested"])).await;
    place.scene.rig.deploy(&place.site).await;
    place.sql("UPDATE channels SET disabled = TRUE").await;
    assert_eq!(place.due().await, [place.roof]);
    assert!(place.take().await.is_none());
    assert_eq!(place.all().await[0].row.state, State::Dropped);
    place.scene.rig.deploy(&place.site).await;
    assert_eq!(place.all().await.len(), 1, "nobody is told any more");
}

async fn old_messages_are_removed(rig: Rig) {
    let place = place(rig).await;
    place
        .subscribe(wanted(place.roof, &["requested", "started"]))
        .await;
    place.run(RunEnd::Succeeded).await;
    let job = place.take().await.unwrap();
    place.record(&job, &delivered()).await;
    place.sql("UPDATE notices SET created_us = 1").await;
    let tidied = slipway_core::recovery::tidy::run_once(&place.scene.ctx, db::now()).await;
    assert_eq!(tidied.unwrap().notices, 1);
    assert_eq!(place.events().await, ["started"], "it is not sent yet");
}
