//! Taking runs back from lost workers, and leaving everybody else's alone.

use std::time::{Duration, Instant};

use slipway_core::{
    db,
    deployment::{
        entity::deployment::Model,
        run::{Next, RunEnd},
        status::Status,
        store::{claim::renew, release},
    },
    ports::{JobQueue as _, LeaseToken, Place},
    recovery::reaper::{Reaper, reap, take_back_from},
};

use crate::rig::{LEASE, Rig};

on_both! {
    an_expired_run_is_queued_again_without_a_charge,
    the_third_loss_is_the_last,
    a_live_lease_is_left_alone,
    a_renewed_lease_is_left_alone,
    many_reapers_take_a_run_back_once,
    more_runs_than_one_page_are_taken_back_at_once,
    nothing_is_taken_back_before_the_warm_up,
    a_lost_worker_that_comes_back_writes_nothing,
    runs_of_a_dead_worker_are_taken_back_before_their_lease_ends,
    a_lost_worker_that_comes_back_records_no_release,
}

async fn reaped(rig: &Rig) -> u64 {
    reap(&rig.ctx, db::now()).await.unwrap()
}

async fn an_expired_run_is_queued_again_without_a_charge(rig: Rig) {
    let site = rig.site("web").await;
    let (id, next) = (rig.deploy(&site).await, rig.deploy(&site).await);
    rig.claim_next().await;
    rig.expire(id).await;
    assert_eq!(reaped(&rig).await, 1);
    assert_eq!(reaped(&rig).await, 0);
    let row = rig.row(id).await;
    assert_eq!(
        (row.status, row.attempt, row.interruptions, row.lease_token),
        (Status::Queued, 0, 1, None)
    );
    let places = rig.queue.places(&[id, next]).await.unwrap();
    assert_eq!(
        (places[&id], places[&next]),
        (Place::Pending, Place::Pending)
    );
    let again = rig.claim_next().await;
    assert_eq!((again.id, again.attempt, again.fence), (id, 1, 2));
}

async fn the_third_loss_is_the_last(rig: Rig) {
    let site = rig.site("web").await;
    let (id, next) = (rig.deploy(&site).await, rig.deploy(&site).await);
    for losses in 1..=3 {
        assert_eq!(rig.claim_next().await.id, id);
        rig.expire(id).await;
        assert_eq!(reaped(&rig).await, 1);
        let row = rig.row(id).await;
        assert_eq!(row.status.is_terminal(), losses == 3);
    }
    let row = rig.row(id).await;
    assert_eq!(row.status, Status::Failed);
    assert_eq!(row.reason.as_deref(), Some("worker_lost"));
    assert_eq!(rig.queue.places(&[id]).await.unwrap()[&id], Place::Absent);
    assert_eq!(rig.claim_next().await.id, next, "its target is free");
}

async fn a_live_lease_is_left_alone(rig: Rig) {
    let site = rig.site("web").await;
    rig.deploy(&site).await;
    let row = rig.claim_next().await;
    assert_eq!(reaped(&rig).await, 0);
    assert_eq!(rig.row(row.id).await, row);
}

async fn a_renewed_lease_is_left_alone(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim_next().await;
    rig.expire(id).await;
    let token = LeaseToken::from_stored(row.lease_token.clone().unwrap());
    assert_eq!(
        renew(&rig.ctx.db, &[(id, token)], LEASE)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(reaped(&rig).await, 0);
    assert_eq!(rig.finish(&row, RunEnd::Succeeded).await, Next::Ended);
}

async fn many_reapers_take_a_run_back_once(rig: Rig) {
    let site = rig.site("web").await;
    for round in 0..5 {
        let id = rig.deploy(&site).await;
        let row = rig.claim(id).await;
        rig.expire(id).await;
        let reapers: Vec<_> = (0..8)
            .map(|_| {
                let ctx = rig.ctx.clone();
                tokio::spawn(async move { reap(&ctx, db::now()).await.unwrap() })
            })
            .collect();
        let token = LeaseToken::from_stored(row.lease_token.clone().unwrap());
        let renewed = renew(&rig.ctx.db, &[(id, token)], LEASE)
            .await
            .unwrap()
            .len() as u64;
        let mut reaped = 0;
        for reaper in reapers {
            reaped += reaper.await.unwrap();
        }
        // Either the renewal came first, or exactly one reaper did.
        assert_eq!(reaped + renewed, 1, "round {round}");
        let row = rig.row(id).await;
        assert_eq!(row.interruptions, i64::try_from(reaped).unwrap());
        if row.status == Status::Queued {
            rig.claim(id).await;
        }
        let row = rig.row(id).await;
        rig.finish(&row, RunEnd::Succeeded).await;
    }
}

async fn more_runs_than_one_page_are_taken_back_at_once(rig: Rig) {
    let site = rig.site("web").await;
    for _ in 0..230 {
        rig.deploy_unpushed(&site).await;
    }
    rig.execute(
        "UPDATE deployments SET status = 'running', attempt = 1, lease_token = 't', lease_until = 1",
        [],
    )
    .await;
    assert_eq!(reaped(&rig).await, 230);
    let rows = rig.all(&site).await;
    assert!(
        rows.iter()
            .all(|row| row.status == Status::Queued && row.attempt == 0)
    );
}

async fn nothing_is_taken_back_before_the_warm_up(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    rig.claim_next().await;
    rig.expire(id).await;
    let warm_up = rig.ctx.settings.queue.lease();
    let start = Instant::now();
    let mut reaper = Reaper::default();
    let mut at = async |later: Duration| {
        let now = db::now();
        reaper.run_once(&rig.ctx, start + later, now).await.unwrap()
    };
    assert_eq!(at(Duration::ZERO).await, 0);
    assert_eq!(at(warm_up - Duration::from_millis(1)).await, 0);
    assert_eq!(at(warm_up).await, 1);
}

async fn a_lost_worker_that_comes_back_writes_nothing(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let lost = rig.claim_next().await;
    rig.expire(id).await;
    reaped(&rig).await;
    let token = LeaseToken::from_stored(lost.lease_token.clone().unwrap());
    assert!(
        renew(&rig.ctx.db, &[(id, token)], LEASE)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(rig.finish(&lost, RunEnd::Succeeded).await, Next::Lost);
    let row = rig.claim_next().await;
    assert_eq!(rig.finish(&lost, RunEnd::Succeeded).await, Next::Lost);
    assert_eq!(rig.row(id).await, row);
}

async fn runs_of_a_dead_worker_are_taken_back_before_their_lease_ends(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    rig.deploy(&web).await;
    rig.deploy(&shop).await;
    let (dead, alive) = (rig.claim_next().await, rig.claim_next().await);
    rig.execute(
        "UPDATE deployments SET lease_owner = 'alive' WHERE id = ?",
        [alive.id.into()],
    )
    .await;
    let owner = dead.lease_owner.clone().unwrap();
    let taken = async |owner: &str| take_back_from(&rig.ctx, owner, db::now()).await.unwrap();
    assert_eq!(taken("nobody").await, 0);
    assert_eq!(taken(&owner).await, 1);
    assert_eq!(taken(&owner).await, 0);
    let row = rig.row(dead.id).await;
    assert_eq!(
        (row.status, row.attempt, row.interruptions, row.lease_owner),
        (Status::Queued, 0, 1, None)
    );
    assert_eq!(rig.row(alive.id).await.status, Status::Running);
    let again = rig.claim_next().await;
    assert_eq!((again.id, again.attempt), (dead.id, 1));
    assert!(again.fence > dead.fence);
}

async fn a_lost_worker_that_comes_back_records_no_release(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let lost = rig.claim_next().await;
    let holder = |row: &Model| release::Holder {
        target: row.target_id,
        deployment: row.id,
        fence: row.fence,
    };
    rig.expire(id).await;
    reaped(&rig).await;
    let current = rig.claim_next().await;
    let conn = rig.ctx.db.writer();
    let noted = release::set_live(conn, holder(&lost), None, db::now()).await;
    assert!(!noted.unwrap());
    assert!(
        !release::set_restored(conn, holder(&lost), None)
            .await
            .unwrap()
    );
    assert_eq!(release::list(conn, site.target.id).await.unwrap(), []);
    let noted = release::set_live(conn, holder(&current), None, db::now()).await;
    assert!(noted.unwrap());
}
