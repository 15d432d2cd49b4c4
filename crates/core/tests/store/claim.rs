//! Claiming: one winner, in order, each time under a higher fence.

use std::sync::Arc;

use slipway_core::{
    db,
    deployment::{
        priority::Priority,
        reason::{Code, Reason},
        run::{Next, RunEnd},
        status::{Status, Transition},
        store::{
            Guard, apply,
            claim::{Claim, held_by, is_current, renew},
        },
    },
    id::DeploymentId,
    ports::Entry,
    target,
};

use crate::rig::{LEASE, Rig, Site, token};

everywhere! {
    only_one_of_twenty_claimers_wins,
    an_older_one_of_the_target_goes_first,
    other_targets_do_not_wait,
    a_claim_writes_lease_fence_attempt_and_holder,
    fences_of_a_target_rise_with_every_run,
    a_retrying_deployment_keeps_its_target_and_waits_its_time,
    what_runs_is_held_and_what_has_ended_is_forgotten,
    a_claim_whose_answer_was_lost_is_found_by_its_token,
    an_approved_older_one_goes_before_one_that_waits_for_its_next_attempt,
    an_approved_older_one_waits_for_one_that_runs,
    renewing_answers_only_what_is_still_held,
    a_run_that_was_replaced_is_not_current,
}

fn failed() -> RunEnd {
    RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"))
}

async fn holder(rig: &Rig, site: &Site) -> (i64, Option<DeploymentId>) {
    let found = target::store::by_id(rig.ctx.db.writer(), site.target.id).await;
    let row = found.unwrap().unwrap();
    (row.epoch, row.holder_id)
}

async fn only_one_of_twenty_claimers_wins(rig: Rig) {
    let site = rig.site("web").await;
    let rig = Arc::new(rig);
    for round in 1..=3 {
        let id = rig.deploy(&site).await;
        let claims: Vec<_> = (0..20)
            .map(|_| {
                let rig = Arc::clone(&rig);
                tokio::spawn(async move { rig.try_claim(id, &token()).await.unwrap() })
            })
            .collect();
        let mut won = Vec::new();
        for claim in claims {
            match claim.await.unwrap() {
                Claim::Won(row) => won.push(*row),
                Claim::Raced | Claim::Held(..) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!((won[0].attempt, won[0].fence), (1, round));
        rig.finish(&won[0], RunEnd::Succeeded).await;
    }
}

async fn an_older_one_of_the_target_goes_first(rig: Rig) {
    let site = rig.site("web").await;
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let entry = Entry {
        id: first,
        target: site.target.id,
        priority: Priority::Manual,
    };
    let behind = async || match rig.try_claim(second, &token()).await.unwrap() {
        Claim::Behind(older) => older,
        other => panic!("{other:?}"),
    };
    assert_eq!(behind().await, entry);
    let row = rig.claim(first).await;
    assert_eq!(behind().await, entry);
    rig.finish_with(&row, failed(), 60_000).await;
    assert_eq!(behind().await, entry, "a retry is not overtaken");
    rig.make_due(first).await;
    let row = rig.claim(first).await;
    rig.finish(&row, RunEnd::HandedBack).await;
    assert_eq!(behind().await, entry);
    let row = rig.claim(first).await;
    rig.finish(&row, RunEnd::Succeeded).await;
    rig.claim(second).await;
}

async fn other_targets_do_not_wait(rig: Rig) {
    let site = rig.site("web").await;
    let staging = site.at(rig.target(&site.owner, "web", "staging").await);
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&staging).await);
    rig.claim(second).await;
    rig.claim(first).await;
}

async fn a_claim_writes_lease_fence_attempt_and_holder(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    assert_eq!(holder(&rig, &site).await, (0, None));
    let before = slipway_core::deployment::store::claim::clock(rig.ctx.db.writer()).await;
    let token = token();
    let Claim::Won(row) = rig.try_claim(id, &token).await.unwrap() else {
        panic!("nobody else claims");
    };
    assert_eq!(
        (row.status, row.attempt, row.fence),
        (Status::Running, 1, 1)
    );
    assert_eq!(row.lease_owner.as_deref(), Some("worker-1"));
    assert_eq!(row.lease_token.as_deref(), Some(token.as_str()));
    assert!(row.started_at.is_some());
    let lease = row.lease_until.unwrap() - before.unwrap();
    assert!(lease >= db::micros(LEASE), "{lease}");
    assert_eq!(holder(&rig, &site).await, (1, Some(id)));
    rig.finish(&row, RunEnd::Succeeded).await;
    let ended = rig.row(id).await;
    assert_eq!(
        (ended.lease_token, ended.lease_owner, ended.lease_until),
        (None, None, None)
    );
    assert_eq!(holder(&rig, &site).await, (1, None));
}

async fn fences_of_a_target_rise_with_every_run(rig: Rig) {
    let site = rig.site("web").await;
    let mut fences = Vec::new();
    for end in [failed(), RunEnd::HandedBack, RunEnd::Succeeded] {
        if rig.all(&site).await.is_empty() {
            rig.deploy(&site).await;
        }
        let id = rig.all(&site).await[0].id;
        rig.make_due(id).await;
        let row = rig.claim(id).await;
        fences.push(row.fence);
        rig.finish(&row, end).await;
    }
    let next = rig.deploy(&site).await;
    fences.push(rig.claim(next).await.fence);
    assert_eq!(fences, [1, 2, 3, 4]);
}

async fn a_retrying_deployment_keeps_its_target_and_waits_its_time(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    assert_eq!(
        rig.finish_with(&row, failed(), 60_000).await,
        Next::Retry(60_000)
    );
    assert_eq!(holder(&rig, &site).await, (1, Some(id)));
    match rig.try_claim(id, &token()).await.unwrap() {
        Claim::NotYet(wait) => assert!(wait.as_secs() >= 50, "{wait:?}"),
        other => panic!("{other:?}"),
    }
    rig.make_due(id).await;
    assert_eq!(rig.claim(id).await.attempt, 2);
}

async fn what_runs_is_held_and_what_has_ended_is_forgotten(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let first = token();
    let Claim::Won(row) = rig.try_claim(id, &first).await.unwrap() else {
        panic!("nobody else claims");
    };
    match rig.try_claim(id, &token()).await.unwrap() {
        Claim::Held(holder, left) => {
            assert_eq!(holder, first);
            assert!(left <= LEASE && left.as_secs() > 500, "{left:?}");
        }
        other => panic!("{other:?}"),
    }
    rig.expire(id).await;
    let held = rig.try_claim(id, &token()).await.unwrap();
    assert!(
        matches!(held, Claim::Held(_, left) if left.is_zero()),
        "{held:?}"
    );
    rig.finish(&row, RunEnd::Succeeded).await;
    for id in [id, DeploymentId(999_999)] {
        let ended = rig.try_claim(id, &token()).await.unwrap();
        assert!(matches!(ended, Claim::Ended), "{ended:?}");
    }
}

async fn a_claim_whose_answer_was_lost_is_found_by_its_token(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let token = token();
    let conn = rig.ctx.db.writer();
    assert!(held_by(conn, id, &token).await.unwrap().is_none());
    let claimed = rig.try_claim(id, &token).await.unwrap();
    assert!(matches!(claimed, Claim::Won(_)));
    let row = held_by(conn, id, &token).await.unwrap().unwrap();
    assert_eq!(row.id, id);
    rig.finish(&row, RunEnd::Succeeded).await;
    assert!(held_by(conn, id, &token).await.unwrap().is_none());
}

/// Makes a queued deployment wait for approval, and approves one, as nothing in a service does yet.
async fn set_status(rig: &Rig, id: DeploymentId, status: &str) {
    rig.execute(
        "UPDATE deployments SET status = ? WHERE id = ?",
        [status.into(), id.into()],
    )
    .await;
}

async fn approve(rig: &Rig, id: DeploymentId) {
    let row = rig.row(id).await;
    let conn = rig.ctx.db.writer();
    let approved = apply(conn, &row, Guard::State, &Transition::Approve, db::now()).await;
    assert!(approved.unwrap());
}

async fn an_approved_older_one_goes_before_one_that_waits_for_its_next_attempt(rig: Rig) {
    let site = rig.site("web").await;
    let (older, newer) = (rig.deploy(&site).await, rig.deploy(&site).await);
    set_status(&rig, older, "awaiting_approval").await;
    let row = rig.claim(newer).await;
    rig.finish_with(&row, failed(), 1).await;
    rig.make_due(newer).await;
    approve(&rig, older).await;
    let behind = rig.try_claim(newer, &token()).await.unwrap();
    assert!(
        matches!(behind, Claim::Behind(entry) if entry.id == older),
        "{behind:?}"
    );
    let row = rig.claim(older).await;
    assert_eq!(holder(&rig, &site).await, (2, Some(older)));
    rig.finish(&row, RunEnd::Succeeded).await;
    assert_eq!(rig.claim(newer).await.fence, 3);
}

async fn an_approved_older_one_waits_for_one_that_runs(rig: Rig) {
    let site = rig.site("web").await;
    let (older, newer) = (rig.deploy(&site).await, rig.deploy(&site).await);
    set_status(&rig, older, "awaiting_approval").await;
    let row = rig.claim(newer).await;
    approve(&rig, older).await;
    let raced = rig.try_claim(older, &token()).await.unwrap();
    assert!(matches!(raced, Claim::Raced), "{raced:?}");
    assert_eq!(
        holder(&rig, &site).await,
        (1, Some(newer)),
        "nothing was written"
    );
    rig.finish(&row, RunEnd::Succeeded).await;
    rig.claim(older).await;
}

async fn renewing_answers_only_what_is_still_held(rig: Rig) {
    let site = rig.site("web").await;
    let staging = site.at(rig.target(&site.owner, "web", "staging").await);
    let (mine, other) = (rig.deploy(&site).await, rig.deploy(&staging).await);
    let (my_token, other_token, lost) = (token(), token(), token());
    rig.try_claim(mine, &my_token).await.unwrap();
    rig.try_claim(other, &other_token).await.unwrap();
    rig.expire(mine).await;
    rig.expire(other).await;
    let db = &rig.ctx.db;
    let renewed = renew(db, &[(mine, my_token.clone()), (other, lost)], LEASE)
        .await
        .unwrap();
    assert_eq!(
        renewed
            .iter()
            .map(|it| (it.id, it.cancel))
            .collect::<Vec<_>>(),
        [(mine, false)]
    );
    assert!(rig.row(mine).await.lease_until > Some(1));
    assert_eq!(
        rig.row(other).await.lease_until,
        Some(1),
        "that one is somebody else's"
    );
    assert!(renew(db, &[], LEASE).await.unwrap().is_empty());
    let stop = slipway_core::deployment::service::cancel;
    stop(&rig.ctx, &site.owner, mine, db::now()).await.unwrap();
    let renewed = renew(db, &[(mine, my_token.clone())], LEASE).await.unwrap();
    assert!(
        renewed[0].cancel,
        "the worker learns it with its next renewal"
    );
    let row = rig.row(mine).await;
    rig.finish(&row, RunEnd::Cancelled).await;
    assert!(
        renew(db, &[(mine, my_token)], LEASE)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_run_that_was_replaced_is_not_current(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let old = rig.claim(id).await;
    let db = &rig.ctx.db;
    assert!(is_current(db, id, old.fence).await.unwrap());
    rig.finish(&old, RunEnd::HandedBack).await;
    assert!(!is_current(db, id, old.fence).await.unwrap());
    let new = rig.claim(id).await;
    assert!(!is_current(db, id, old.fence).await.unwrap());
    assert!(is_current(db, id, new.fence).await.unwrap());
}
