//! The same request sent again: one deployment, whoever asks and however often.

use slipway_core::{
    access::ProjectRole,
    access::SystemRole,
    db,
    deployment::{
        admission::{Idempotency, NewDeployment},
        entity::deployment::Model,
        run::RunEnd,
        service::{DeployInput, cancel, request},
        store::admission::{Door, admit},
    },
    error::Result,
    project::policy::QueuePolicy,
};

use crate::rig::{Rig, Site, conflict, deploy_input};

on_both! {
    the_same_request_sent_twenty_times_at_once_makes_one_deployment,
    with_every_policy_the_same_request_makes_one_deployment,
    a_batch_that_holds_the_same_request_twice_makes_one_deployment,
    the_same_key_for_another_request_is_a_conflict,
    a_key_is_remembered_after_a_restart_and_after_the_end,
    a_replay_is_answered_even_when_the_queue_is_full,
    keys_of_different_people_and_projects_do_not_meet,
    requests_that_nobody_signed_in_for_are_recognised_too,
}

fn keyed(key: &str, note: Option<&str>) -> DeployInput {
    DeployInput {
        key: Some(key.parse().unwrap()),
        note: note.map(|text| text.parse().unwrap()),
        ..deploy_input("live")
    }
}

async fn ask(rig: &Rig, site: &Site, input: DeployInput) -> Result<Model> {
    let asked = request(&rig.ctx, &site.owner, &site.project.slug, input).await;
    asked.map(|detail| detail.row)
}

async fn twenty_at_once(rig: &Rig, site: &Site) -> Vec<Model> {
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (ctx, owner, slug) = (
                rig.ctx.clone(),
                site.owner.clone(),
                site.project.slug.clone(),
            );
            tokio::spawn(async move { request(&ctx, &owner, &slug, keyed("once", None)).await })
        })
        .collect();
    let mut rows = Vec::new();
    for call in calls {
        rows.push(call.await.unwrap().unwrap().row);
    }
    rows
}

async fn the_same_request_sent_twenty_times_at_once_makes_one_deployment(rig: Rig) {
    let site = rig.site("web").await;
    let rows = twenty_at_once(&rig, &site).await;
    assert!(rows.iter().all(|row| row.id == rows[0].id));
    assert_eq!(rig.all(&site).await.len(), 1);
}

/// The other policies look at the target's line, so they take another way through the door.
async fn with_every_policy_the_same_request_makes_one_deployment(rig: Rig) {
    for (slug, policy) in [
        ("newest", QueuePolicy::KeepNewest),
        ("reject", QueuePolicy::Reject),
    ] {
        let site = rig.site_with(slug, policy).await;
        let rows = twenty_at_once(&rig, &site).await;
        assert!(rows.iter().all(|row| row.id == rows[0].id));
        assert_eq!(rig.all(&site).await.len(), 1, "{policy:?}");
    }
}

/// Requests that arrive together are decided in one transaction.
async fn a_batch_that_holds_the_same_request_twice_makes_one_deployment(rig: Rig) {
    for (slug, policy) in [
        ("all", QueuePolicy::QueueAll),
        ("newest", QueuePolicy::KeepNewest),
        ("reject", QueuePolicy::Reject),
    ] {
        let site = rig.site_with(slug, policy).await;
        let keyed = |key: &str| NewDeployment {
            idempotency: Some(Idempotency {
                key: key.parse().unwrap(),
                request_hash: "0".to_owned(),
            }),
            ..site.wanted()
        };
        let door = Door::new(100, rig.ctx.audit.clone());
        let batch = [keyed("once"), keyed("once"), site.wanted(), keyed("once")];
        let decided = admit(&rig.ctx.db, &batch, &door, db::now()).await.unwrap();
        let ids: Vec<_> = decided
            .iter()
            .map(|it| it.as_ref().ok()?.as_ref().map(|admitted| admitted.row.id))
            .collect();
        assert!(ids[0].is_some() && ids[0] == ids[1] && ids[0] == ids[3]);
        assert_ne!(ids[0], ids[2]);
        let expected = if policy == QueuePolicy::Reject { 1 } else { 2 };
        assert_eq!(rig.all(&site).await.len(), expected, "{policy:?}");
    }
}

async fn the_same_key_for_another_request_is_a_conflict(rig: Rig) {
    let site = rig.site("web").await;
    let staging = rig.target(&site.owner, "web", "staging").await;
    ask(&rig, &site, keyed("once", Some("first")))
        .await
        .unwrap();
    let other_note = ask(&rig, &site, keyed("once", Some("second"))).await;
    assert_eq!(conflict(other_note), "idempotency_key_reused");
    let mut other_target = keyed("once", Some("first"));
    other_target.target = staging.slug;
    assert_eq!(
        conflict(ask(&rig, &site, other_target).await),
        "idempotency_key_reused"
    );
    // The same target by its id is the same request.
    let mut by_id = keyed("once", Some("first"));
    by_id.target = site.target.id.to_string();
    ask(&rig, &site, by_id).await.unwrap();
    assert_eq!(rig.all(&site).await.len(), 1);
}

async fn a_key_is_remembered_after_a_restart_and_after_the_end(rig: Rig) {
    let site = rig.site("web").await;
    let first = ask(&rig, &site, keyed("once", None)).await.unwrap();
    let row = rig.claim_next().await;
    rig.finish(&row, RunEnd::Succeeded).await;
    let (ctx, _) = rig.restarted(|_| {}).await;
    let again = request(&ctx, &site.owner, "web", keyed("once", None))
        .await
        .unwrap();
    assert_eq!(again.row.id, first.id);
    assert_eq!(
        ctx.queue.depth().await.unwrap(),
        0,
        "what has ended is not pushed again"
    );
}

async fn a_replay_is_answered_even_when_the_queue_is_full(rig: Rig) {
    let site = rig.site("web").await;
    let ctx = rig.limited(1).await;
    let first = request(&ctx, &site.owner, "web", keyed("once", None))
        .await
        .unwrap();
    let again = request(&ctx, &site.owner, "web", keyed("once", None))
        .await
        .unwrap();
    assert_eq!(again.row.id, first.row.id);
    let new = request(&ctx, &site.owner, "web", keyed("twice", None)).await;
    assert!(matches!(
        new,
        Err(slipway_core::error::Error::QueueFull { .. })
    ));
}

async fn keys_of_different_people_and_projects_do_not_meet(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    let ann = rig.user("ann@example.com", SystemRole::Developer).await;
    rig.member(&web, &ann, ProjectRole::Member).await;
    let first = ask(&rig, &web, keyed("once", None)).await.unwrap();
    let other_project = ask(&rig, &shop, keyed("once", None)).await.unwrap();
    let other_person = request(&rig.ctx, &ann, "web", keyed("once", None))
        .await
        .unwrap();
    assert_ne!(first.id, other_project.id);
    assert_ne!(first.id, other_person.row.id);
    // Keys are exact: another case is another key.
    let other_case = ask(&rig, &web, keyed("ONCE", None)).await.unwrap();
    assert_ne!(first.id, other_case.id);
    let stopped = cancel(&rig.ctx, &web.owner, first.id, db::now()).await;
    stopped.unwrap();
    assert_eq!(
        ask(&rig, &web, keyed("once", None)).await.unwrap().id,
        first.id
    );
}

async fn requests_that_nobody_signed_in_for_are_recognised_too(rig: Rig) {
    let site = rig.site("web").await;
    let wanted = || NewDeployment {
        requested_by: None,
        idempotency: Some(Idempotency {
            key: "delivery-1".parse().unwrap(),
            request_hash: "0".to_owned(),
        }),
        ..site.wanted()
    };
    let first = rig.ctx.admission.request(wanted()).await.unwrap();
    let again = rig.ctx.admission.request(wanted()).await.unwrap();
    assert!(first.is_new && !again.is_new);
    assert_eq!(first.row.id, again.row.id);
}
