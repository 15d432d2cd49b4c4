//! The door: an exact limit, rising ids, and what happens when the queue is away.

use slipway_core::{
    deployment::{
        run::RunEnd,
        service::{request, retry},
        status::Status,
    },
    error::Error,
    ports::{JobQueue as _, Place},
    recovery::{duties::probe_once, rebuild, reconciler},
};

use crate::rig::{Rig, conflict, deploy_input, minutes_later};

on_both! {
    three_hundred_at_once_fill_the_last_ten_places_exactly,
    two_processes_share_one_limit,
    a_full_queue_says_how_full_and_takes_more_once_there_is_room,
    ids_rise_in_the_order_of_acceptance,
    an_accepted_deployment_is_in_the_index,
    an_unhealthy_queue_takes_nothing,
    a_queue_that_fails_after_the_commit_fails_nobody,
    a_deployment_that_was_never_pushed_is_pushed_by_the_reconciler,
    a_request_needs_a_target_and_a_pipeline,
    a_retry_has_one_effect_however_often_it_is_asked_for,
    only_what_ended_badly_is_retried,
    rows_inserted_past_the_gate_stop_nobody,
    what_others_accepted_counts_without_being_counted,
}

async fn three_hundred_at_once_fill_the_last_ten_places_exactly(rig: Rig) {
    let site = rig.site("web").await;
    let ctx = rig.limited(50).await;
    for _ in 0..40 {
        ctx.admission.request(site.wanted()).await.unwrap();
    }
    let requests: Vec<_> = (0..300)
        .map(|_| {
            let (admission, wanted) = (ctx.admission.clone(), site.wanted());
            tokio::spawn(async move { admission.request(wanted).await })
        })
        .collect();
    let mut accepted = 0;
    for request in requests {
        match request.await.unwrap() {
            Ok(admitted) => accepted += u32::from(admitted.is_new),
            Err(Error::QueueFull { limit, depth }) => assert_eq!((limit, depth), (50, 50)),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(accepted, 10);
    assert_eq!(rig.all(&site).await.len(), 50);
}

async fn two_processes_share_one_limit(rig: Rig) {
    let site = rig.site("web").await;
    let processes = [
        rig.limited(20).await,
        rig.limited(20).await,
        rig.limited(20).await,
    ];
    let requests: Vec<_> = (0..90)
        .map(|number| {
            let admission = processes[number % 3].admission.clone();
            let wanted = site.wanted();
            tokio::spawn(async move { admission.request(wanted).await.is_ok() })
        })
        .collect();
    let mut accepted = 0;
    for request in requests {
        accepted += u32::from(request.await.unwrap());
    }
    assert_eq!(accepted, 20);
    assert_eq!(rig.all(&site).await.len(), 20);
}

async fn a_full_queue_says_how_full_and_takes_more_once_there_is_room(rig: Rig) {
    let site = rig.site("web").await;
    let ctx = rig.limited(2).await;
    let first = ctx.admission.request(site.wanted()).await.unwrap().row.id;
    ctx.admission.request(site.wanted()).await.unwrap();
    let full = ctx.admission.request(site.wanted()).await.unwrap_err();
    assert!(
        matches!(full, Error::QueueFull { limit: 2, depth: 2 }),
        "{full:?}"
    );
    // What runs does not wait.
    rig.claim(first).await;
    assert!(ctx.admission.request(site.wanted()).await.is_ok());
}

async fn ids_rise_in_the_order_of_acceptance(rig: Rig) {
    let site = rig.site("web").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(rig.deploy(&site).await);
        let batch: Vec<_> = (0..10)
            .map(|_| {
                let (admission, wanted) = (rig.ctx.admission.clone(), site.wanted());
                tokio::spawn(async move { admission.request(wanted).await.unwrap().row.id })
            })
            .collect();
        let mut together = Vec::new();
        for request in batch {
            together.push(request.await.unwrap());
        }
        together.sort_unstable();
        ids.extend(together);
    }
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
    let rows = rig.all(&site).await;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
    assert!(
        rows.iter()
            .all(|row| row.status == Status::Queued && row.attempt == 0)
    );
}

async fn an_accepted_deployment_is_in_the_index(rig: Rig) {
    let site = rig.site("web").await;
    let input = deploy_input("live");
    let detail = request(&rig.ctx, &site.owner, "web", input).await.unwrap();
    assert_eq!(detail.queue.unwrap().position, 1);
    let places = rig.queue.places(&[detail.row.id]).await.unwrap();
    assert_eq!(places[&detail.row.id], Place::Pending);
    assert_eq!(rig.claim_next().await.id, detail.row.id);
}

async fn an_unhealthy_queue_takes_nothing(rig: Rig) {
    let site = rig.site("web").await;
    rig.ctx.health.note_failure();
    let asked = request(&rig.ctx, &site.owner, "web", deploy_input("live")).await;
    assert!(matches!(asked, Err(Error::QueueUnavailable)), "{asked:?}");
    assert!(rig.all(&site).await.is_empty());
    probe_once(&rig.ctx).await;
    probe_once(&rig.ctx).await;
    rig.deploy(&site).await;
}

async fn a_queue_that_fails_after_the_commit_fails_nobody(rig: Rig) {
    let site = rig.site("web").await;
    rig.queue.wipe();
    let id = rig.deploy(&site).await;
    assert_eq!(rig.row(id).await.status, Status::Queued);
    assert!(!rig.ctx.health.is_healthy(), "the failure counts at once");
    let second = request(&rig.ctx, &site.owner, "web", deploy_input("live")).await;
    assert!(matches!(second, Err(Error::QueueUnavailable)));
    let rebuilt = rebuild::run_once(&rig.ctx).await.unwrap();
    assert_eq!(rebuilt, rebuild::Rebuilt::Done(1));
    assert_eq!(rig.claim_next().await.id, id);
}

async fn a_deployment_that_was_never_pushed_is_pushed_by_the_reconciler(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy_unpushed(&site).await;
    let grace = chrono::Duration::seconds(5);
    let young = reconciler::run_once(&rig.ctx, grace, slipway_core::db::now()).await;
    assert_eq!(
        young.unwrap().pushed,
        0,
        "whoever has just written it pushes it"
    );
    let old = reconciler::run_once(&rig.ctx, grace, minutes_later(1)).await;
    assert_eq!(old.unwrap().pushed, 1);
    assert_eq!(rig.claim_next().await.id, id);
}

async fn a_request_needs_a_target_and_a_pipeline(rig: Rig) {
    let site = rig.site("web").await;
    let asked = request(&rig.ctx, &site.owner, "web", deploy_input("none")).await;
    assert!(matches!(asked, Err(Error::Invalid(_))), "{asked:?}");
    let mut with_ref = deploy_input("live");
    with_ref.ref_name = Some("main".parse().unwrap());
    let asked = request(&rig.ctx, &site.owner, "web", with_ref).await;
    assert!(matches!(asked, Err(Error::Invalid(_))), "{asked:?}");
    rig.execute("UPDATE projects SET pipeline_source = NULL", [])
        .await;
    let asked = request(&rig.ctx, &site.owner, "web", deploy_input("live")).await;
    assert_eq!(conflict(asked), "pipeline_missing");
    assert!(rig.all(&site).await.is_empty());
}

async fn a_retry_has_one_effect_however_often_it_is_asked_for(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim_next().await;
    rig.finish(&row, RunEnd::Cancelled).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (ctx, owner) = (rig.ctx.clone(), site.owner.clone());
            tokio::spawn(async move { retry(&ctx, &owner, id).await.unwrap().row })
        })
        .collect();
    let mut repeated = Vec::new();
    for call in calls {
        repeated.push(call.await.unwrap());
    }
    assert_eq!(rig.all(&site).await.len(), 2);
    assert!(
        repeated
            .iter()
            .all(|row| row.id == repeated[0].id && row.retry_of == Some(id))
    );
    let (ctx, _) = rig.restarted(|_| {}).await;
    let later = retry(&ctx, &site.owner, id).await.unwrap().row.id;
    assert_eq!(later, repeated[0].id);
}

async fn only_what_ended_badly_is_retried(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let again = async || retry(&rig.ctx, &site.owner, id).await;
    assert_eq!(conflict(again().await), "not_retryable");
    let row = rig.claim(id).await;
    assert_eq!(conflict(again().await), "not_retryable");
    rig.finish(&row, RunEnd::Succeeded).await;
    assert_eq!(conflict(again().await), "not_retryable");
}

/// Rows that did not come through the gate, as those of a restored backup, have ids of their own.
async fn rows_inserted_past_the_gate_stop_nobody(rig: Rig) {
    let site = rig.site("web").await;
    let first = rig.deploy_unpushed(&site).await;
    let copy = "INSERT INTO deployments (project_id, target_id, status, trigger_kind, attempt, \
                interruptions, fence, not_before, created_at) \
                SELECT project_id, target_id, status, trigger_kind, attempt, interruptions, fence, \
                not_before, created_at FROM deployments";
    rig.execute(copy, []).await;
    let second = rig.deploy_unpushed(&site).await;
    assert_eq!(second.0, first.0 + 2, "after the copy");
    assert_eq!(rig.all(&site).await.len(), 3);
}

/// The limit is exact although a long queue is not counted for each request: what other processes
/// accepted, and what came back to wait, is in the bound.
async fn what_others_accepted_counts_without_being_counted(rig: Rig) {
    let site = rig.site("web").await;
    let (one, other) = (rig.limited(10).await, rig.limited(10).await);
    for _ in 0..3 {
        one.admission.request(site.wanted()).await.unwrap();
        other.admission.request(site.wanted()).await.unwrap();
    }
    let running = rig.all(&site).await[0].id;
    rig.claim(running).await;
    for _ in 0..5 {
        other.admission.request(site.wanted()).await.unwrap();
    }
    let full = one.admission.request(site.wanted()).await.unwrap_err();
    assert!(
        matches!(full, Error::QueueFull { depth: 10, .. }),
        "{full:?}"
    );
    assert_eq!(rig.all(&site).await.len(), 11);
}
