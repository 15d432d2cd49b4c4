//! Damage that only Redis can suffer: single keys lost, scripts forgotten, junk in the lists.

use std::time::Duration;

use fred::interfaces::{
    HashesInterface, KeysInterface, ListInterface, LuaInterface, SortedSetsInterface,
};
use slipway_core::ports::{Authority, Claimed, Place, QueueError, Released};
use tokio::time::timeout;

use crate::rig::{LONG, MANY, RawRedis, Rig, SOON, entry, on_raw_redis, token};

#[tokio::test]
async fn repair_frees_a_target_whose_running_entry_has_no_lease() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        let (lost, next) = (entry(1, 1), entry(2, 1));
        rig.add(&[lost, next]).await;
        rig.claim_this(lost).await;
        let _: u64 = raw.client.del(raw.key("leases")).await.unwrap();

        assert_eq!(
            rig.places(&[lost, next]).await,
            [Place::Adrift, Place::Pending]
        );
        assert!(rig.queue.repair(lost.target).await.unwrap());
        assert!(!rig.queue.repair(lost.target).await.unwrap());
        rig.claim_this(next).await;
        // What the reconciler does with an entry that is adrift.
        let done = rig.queue.finish(lost, &Authority::Database).await.unwrap();
        assert_eq!(done, Released::Done);
        rig.add(&[lost]).await;
        assert_eq!(rig.places(&[lost]).await, [Place::Pending]);
    })
    .await;
}

#[tokio::test]
async fn a_renewal_heals_a_lease_that_was_lost() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        let only = entry(1, 1);
        rig.add(&[only]).await;
        let lease = rig.claim_this(only).await;
        let _: u64 = raw.client.del(raw.key("leases")).await.unwrap();
        let lost = rig.queue.renew(&[(only.id, lease)], LONG).await.unwrap();
        assert_eq!(lost, []);
        assert_eq!(rig.places(&[only]).await, [Place::Leased]);
    })
    .await;
}

#[tokio::test]
async fn repair_frees_a_target_held_for_an_entry_that_is_not_delayed() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        let (retried, next) = (entry(1, 1), entry(2, 1));
        rig.add(&[retried, next]).await;
        rig.claim_this(retried).await;
        rig.queue
            .retry(retried, &Authority::Database, LONG)
            .await
            .unwrap();
        let _: u64 = raw.client.zrem(raw.key("delayed"), "1").await.unwrap();

        assert_eq!(rig.places(&[retried]).await, [Place::Adrift]);
        assert_eq!(rig.claim().await, Claimed::Empty(None));
        assert!(rig.queue.repair(retried.target).await.unwrap());
        rig.claim_this(next).await;
    })
    .await;
}

#[tokio::test]
async fn repair_lists_a_ready_target_exactly_once() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        rig.add(&[entry(1, 7)]).await;
        for rounds in [0, 2, 3] {
            let _: u64 = raw.client.del(raw.key("ready:1")).await.unwrap();
            for _ in 0..rounds {
                let _: u64 = raw.client.rpush(raw.key("ready:1"), "7").await.unwrap();
            }
            assert!(rig.queue.repair(entry(1, 7).target).await.unwrap());
            let ready: Vec<String> = raw.client.lrange(raw.key("ready:1"), 0, -1).await.unwrap();
            assert_eq!(ready, ["7"]);
        }
        rig.claim_this(entry(1, 7)).await;
    })
    .await;
}

#[tokio::test]
async fn repair_blocks_a_target_whose_running_entry_was_forgotten() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        let (running, next) = (entry(1, 1), entry(2, 1));
        rig.add(&[running]).await;
        let lease = rig.claim_this(running).await;
        let _: u64 = raw.client.del(raw.key("state")).await.unwrap();
        rig.add(&[next]).await;

        assert!(rig.queue.repair(running.target).await.unwrap());
        assert_eq!(rig.claim().await, Claimed::Empty(None));
        rig.queue
            .finish(running, &Authority::Lease(lease))
            .await
            .unwrap();
        rig.claim_this(next).await;
    })
    .await;
}

#[tokio::test]
async fn ids_that_nobody_added_are_dropped_by_claims() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        rig.add(&[entry(1, 1)]).await;
        let junk: Vec<String> = (900..1150).map(|id| id.to_string()).collect();
        let _: u64 = raw.client.lpush(raw.key("pend:1"), junk).await.unwrap();
        let _: u64 = raw
            .client
            .rpush(raw.key("ready:1"), vec!["8", "9"])
            .await
            .unwrap();
        let _: u64 = raw
            .client
            .zadd(raw.key("delayed"), None, None, false, false, (0.0, "950"))
            .await
            .unwrap();
        let _: u64 = raw
            .client
            .zadd(raw.key("leases"), None, None, false, false, (0.0, "951"))
            .await
            .unwrap();

        rig.claim_this(entry(1, 1)).await;
        assert_eq!(rig.claim().await, Claimed::Empty(None));
        assert_eq!(rig.queue.depth().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        rig.add(&[entry(1, 1)]).await;
        let () = raw.client.script_flush(false).await.unwrap();
        let lease = rig.claim_this(entry(1, 1)).await;
        let done = rig
            .queue
            .finish(entry(1, 1), &Authority::Lease(lease))
            .await;
        assert_eq!(done.unwrap(), Released::Done);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_finished_entries() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        let entries = [entry(1, 1), entry(2, 1), entry(3, 2), entry(4, 3)];
        rig.add(&entries).await;
        let lease = rig.claim_this(entries[0]).await;
        rig.queue
            .retry(entries[0], &Authority::Lease(lease), LONG)
            .await
            .unwrap();
        rig.claim_this(entries[2]).await;
        rig.queue.hold(entries[3], &token(), LONG).await.unwrap();
        for entry in entries {
            rig.queue.finish(entry, &Authority::Database).await.unwrap();
        }
        assert_eq!(rig.claim().await, Claimed::Empty(None));
        assert_eq!(raw.keys().await, [raw.key("epoch")]);
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_deletes_what_was_left_of_the_old_index() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        rig.add(&[entry(1, 1), entry(2, 2)]).await;
        rig.claim_this(entry(1, 1)).await;
        for n in 0..1500 {
            let _: u64 = raw
                .client
                .rpush(raw.key(&format!("pend:{n}")), "1")
                .await
                .unwrap();
        }
        let _: u64 = raw.client.del(raw.key("epoch")).await.unwrap();
        assert!(rig.queue.begin_rebuild().await.unwrap());
        assert_eq!(raw.keys().await, [raw.key("rebuild")]);
        rig.queue.end_rebuild().await.unwrap();
        assert_eq!(raw.keys().await, [raw.key("epoch")]);
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_that_lost_its_lock_cannot_end_the_next_one() {
    on_raw_redis(|slow: Rig, raw: RawRedis| async move {
        let next = raw.backends().await.queue;
        slow.wipe().await;
        assert!(slow.queue.begin_rebuild().await.unwrap());
        // As if fifteen seconds had passed.
        let _: u64 = raw.client.del(raw.key("rebuild")).await.unwrap();
        assert!(next.begin_rebuild().await.unwrap());
        let refused = slow.queue.restore(entry(1, 1), None).await;
        assert!(matches!(refused, Err(QueueError::Lost)));
        assert!(matches!(
            slow.queue.end_rebuild().await,
            Err(QueueError::Lost)
        ));
        assert!(matches!(next.depth().await, Err(QueueError::Lost)));
        next.end_rebuild().await.unwrap();
        slow.queue.end_rebuild().await.unwrap();
        assert_eq!(slow.queue.depth().await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn wake_tokens_do_not_pile_up() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        for id in 1..=100 {
            rig.add(&[entry(id, id)]).await;
        }
        let tokens: u64 = raw.client.llen(raw.key("wake")).await.unwrap();
        assert_eq!(tokens, 64);
        for _ in 0..100 {
            assert!(matches!(rig.claim().await, Claimed::Entry(_)));
        }
        assert_eq!(rig.claim().await, Claimed::Empty(None));
        let tokens: u64 = raw.client.llen(raw.key("wake")).await.unwrap();
        assert_eq!(tokens, 0);
    })
    .await;
}

#[tokio::test]
async fn a_key_of_another_type_is_reported_and_not_taken_for_an_outage() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        let _: () = raw
            .client
            .set(raw.key("job"), "x", None, None, false)
            .await
            .unwrap();
        let refused = rig.queue.depth().await;
        assert!(
            matches!(refused, Err(QueueError::Protocol(_))),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_that_names_a_vanished_entry_claims_another() {
    on_raw_redis(|rig: Rig, raw: RawRedis| async move {
        rig.add(&[entry(1, 1), entry(2, 2)]).await;
        let lease = rig.claim_this(entry(1, 1)).await;
        let _: u64 = raw.client.hdel(raw.key("job"), "1").await.unwrap();
        let claimed = rig.queue.claim(&lease, LONG, MANY).await.unwrap();
        assert_eq!(claimed, Claimed::Entry(entry(2, 2)));
    })
    .await;
}

#[tokio::test]
async fn a_wake_token_that_nobody_waits_for_goes_to_another_process() {
    on_raw_redis(|gone: Rig, raw: RawRedis| async move {
        let other = raw.backends().await.queue;
        // The server still blocks for this one when the caller has left.
        gone.queue.wait_for_work(Duration::from_millis(200)).await;
        gone.add(&[entry(1, 1)]).await;
        let waiting = other.wait_for_work(LONG);
        timeout(SOON, waiting).await.expect("waiting ends");
    })
    .await;
}
