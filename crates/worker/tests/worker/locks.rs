//! A worker before locked targets: it waits for them, and runs everything else meanwhile.

use std::time::Duration;

use slipway_core::{
    db,
    deployment::status::Status,
    lock::service::{self, Address, LockInput},
    ports::Claimed,
};

use crate::rig::{PROJECT, Rig, TARGET};

const LOCK: Address<'static> = Address::Target(PROJECT, TARGET);

async fn lock(rig: &Rig) {
    let input = LockInput {
        reason: "stocktaking".parse().unwrap(),
        expires_at: None,
    };
    let placed = service::put(&rig.ctx, &rig.admin, LOCK, input, db::now()).await;
    placed.unwrap();
}

#[tokio::test]
async fn locked_target_holds_up_nobody_and_goes_on_once_unlocked() {
    let rig = Rig::new("build:\n  - { name: only, run: echo done }\n").await;
    rig.target("other").await;
    lock(&rig).await;
    let (first, second) = (rig.deploy().await, rig.deploy().await);
    let elsewhere = rig.deploy_to("other", None).await;
    let worker = rig.worker();
    let ended = worker.finish(&rig, elsewhere).await;
    assert_eq!(ended.status, Status::Succeeded);
    for id in [first, second] {
        let row = rig.row(id).await;
        assert_eq!((row.status, row.attempt), (Status::Queued, 0));
    }
    // The locked target has been asked about, and is not asked about again.
    let token = slipway_core::ports::LeaseToken::random().unwrap();
    let nothing = rig
        .ctx
        .queue
        .claim(&token, Duration::from_secs(9), 100)
        .await;
    let Ok(Claimed::Empty(Some(wait))) = nothing else {
        panic!("{nothing:?}");
    };
    assert!(wait > Duration::from_secs(600), "{wait:?}");

    service::lift(&rig.ctx, &rig.admin, LOCK).await.unwrap();
    for id in [first, second] {
        assert_eq!(worker.finish(&rig, id).await.status, Status::Succeeded);
    }
}
