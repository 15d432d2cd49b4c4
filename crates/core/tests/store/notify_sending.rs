//! How senders share what is to be sent, and what they do when it cannot be.

use slipway_core::{
    db,
    deployment::{reason::Code, run::RunEnd},
    error::Error,
    notify::{
        Verdict,
        delivery::{
            service::{self as delivery, ListInput},
            state::State,
        },
        outbox::queue,
    },
};

use crate::{
    notify_model::wanted,
    notify_place::{Place, delivered, failed, later, place},
    rig::{Rig, conflict},
};

on_both! {
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
    sent_once_more_it_has_another_key,
    what_is_switched_off_drops_what_waits,
    old_messages_are_removed,
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
