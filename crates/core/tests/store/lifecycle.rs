//! Every edge of the state machine against the database, and every refusal.

use slipway_core::{
    db,
    deployment::{
        entity::deployment::Model,
        reason::{Code, Reason},
        run::{Next, RunEnd},
        status::{Status, Transition, next},
        store::{self, Guard},
    },
    error::Error,
    id::{DeploymentId, UserId},
};

use crate::rig::{Rig, Site};

on_both! {
    every_edge_is_written_and_every_other_is_refused,
    a_stale_fence_writes_nothing,
    a_state_that_has_moved_on_is_left_alone,
    three_failures_end_it_and_two_are_charged_waits,
    a_reason_that_no_retry_mends_ends_it_at_once,
    what_is_handed_back_is_not_charged,
    an_interruption_is_counted_and_not_charged,
    success_clears_the_reason_of_an_earlier_attempt,
}

fn transitions() -> Vec<Transition> {
    let reason = || Reason::new(Code::StepFailed, "exit code 1");
    vec![
        Transition::Approve,
        Transition::Reject { by: UserId(1) },
        Transition::Start,
        Transition::Succeed,
        Transition::Fail(reason()),
        Transition::RetryLater {
            reason: reason(),
            delay_ms: 60_000,
        },
        Transition::Interrupt,
        Transition::HandBack,
        Transition::Cancel {
            by: Some(UserId(1)),
        },
        Transition::Supersede {
            by: DeploymentId(999),
        },
    ]
}

/// A deployment in this state, put there without the state machine.
async fn in_state(rig: &Rig, site: &Site, status: Status) -> Model {
    let id = rig.deploy_unpushed(site).await;
    rig.execute(
        "UPDATE deployments SET status = ?, attempt = 1, fence = 7, lease_token = 't', \
         lease_until = 1, started_at = created_at WHERE id = ?",
        [status.as_str().into(), id.into()],
    )
    .await;
    rig.row(id).await
}

async fn every_edge_is_written_and_every_other_is_refused(rig: Rig) {
    let site = rig.site("web").await;
    for from in Status::ALL {
        for transition in transitions() {
            let row = in_state(&rig, &site, from).await;
            let conn = rig.ctx.db.writer();
            let written = store::apply(conn, &row, Guard::State, &transition, db::now()).await;
            let after = rig.row(row.id).await;
            let edge = format!("{from} {}", transition.as_str());
            match next(from, &transition) {
                Ok(to) => {
                    assert!(written.unwrap(), "{edge}");
                    assert_eq!(after.status, to, "{edge}");
                    assert_eq!(after.finished_at.is_some(), to.is_terminal(), "{edge}");
                    let kept = from != Status::Running;
                    assert_eq!(after.lease_token.is_some(), kept, "{edge}");
                }
                Err(_) => {
                    let refused = matches!(
                        written,
                        Err(Error::Conflict {
                            code: "illegal_transition",
                            ..
                        })
                    );
                    assert!(refused, "{edge}");
                    assert_eq!(after, row, "{edge}");
                }
            }
        }
    }
}

async fn a_stale_fence_writes_nothing(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let old = rig.claim(id).await;
    rig.finish(&old, RunEnd::HandedBack).await;
    let new = rig.claim(id).await;
    let failed = RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
    for end in [
        RunEnd::Succeeded,
        failed,
        RunEnd::Cancelled,
        RunEnd::HandedBack,
    ] {
        assert_eq!(rig.finish(&old, end).await, Next::Lost);
        assert_eq!(rig.row(id).await, new);
    }
    assert_eq!(rig.finish(&new, RunEnd::Succeeded).await, Next::Ended);
    assert_eq!(rig.finish(&new, RunEnd::Succeeded).await, Next::Lost);
}

async fn a_state_that_has_moved_on_is_left_alone(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let seen = rig.row(id).await;
    let running = rig.claim(id).await;
    let by = Transition::Supersede {
        by: DeploymentId(999),
    };
    let conn = rig.ctx.db.writer();
    let written = store::apply(conn, &seen, Guard::State, &by, db::now()).await;
    assert!(!written.unwrap());
    assert_eq!(rig.row(id).await, running);
}

async fn three_failures_end_it_and_two_are_charged_waits(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let mut seen = Vec::new();
    loop {
        rig.make_due(id).await;
        let row = rig.claim(id).await;
        let failed = RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
        let next = rig.finish_with(&row, failed, 60_000).await;
        let after = rig.row(id).await;
        assert_eq!(after.reason.as_deref(), Some("step_failed"));
        seen.push((after.attempt, next, after.status));
        if after.status.is_terminal() {
            break;
        }
    }
    assert_eq!(
        seen,
        [
            (1, Next::Retry(60_000), Status::Queued),
            (2, Next::Retry(60_000), Status::Queued),
            (3, Next::Ended, Status::Failed),
        ]
    );
}

async fn a_reason_that_no_retry_mends_ends_it_at_once(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    let missing = RunEnd::Failed(Reason::new(Code::SecretMissing, "TOKEN"));
    assert_eq!(rig.finish(&row, missing).await, Next::Ended);
    let after = rig.row(id).await;
    assert_eq!((after.status, after.attempt), (Status::Failed, 1));
    assert_eq!(after.reason_text.as_deref(), Some("TOKEN"));
}

async fn what_is_handed_back_is_not_charged(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    for _ in 0..4 {
        let row = rig.claim(id).await;
        assert_eq!(row.attempt, 1);
        assert_eq!(rig.finish(&row, RunEnd::HandedBack).await, Next::Requeue);
        let after = rig.row(id).await;
        assert_eq!(
            (after.status, after.attempt, after.interruptions),
            (Status::Queued, 0, 0)
        );
    }
}

async fn an_interruption_is_counted_and_not_charged(rig: Rig) {
    let site = rig.site("web").await;
    let row = in_state(&rig, &site, Status::Running).await;
    let guard = Guard::Fence(row.fence);
    let conn = rig.ctx.db.writer();
    let written = store::apply(conn, &row, guard, &Transition::Interrupt, db::now()).await;
    assert!(written.unwrap());
    let after = rig.row(row.id).await;
    assert_eq!((after.attempt, after.interruptions), (0, 1));
    assert_eq!(after.started_at, row.started_at);
}

async fn success_clears_the_reason_of_an_earlier_attempt(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    let failed = RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
    rig.finish(&row, failed).await;
    rig.make_due(id).await;
    let row = rig.claim(id).await;
    rig.finish(&row, RunEnd::Succeeded).await;
    let after = rig.row(id).await;
    assert_eq!((after.reason, after.reason_text), (None, None));
    assert_eq!((after.status, after.attempt), (Status::Succeeded, 2));
}
