//! Redis behind TLS, with a password and an authority of its own.
//!
//! Needs `SLIPWAY_TEST_REDIS_TLS_URL` and `SLIPWAY_TEST_REDIS_CA`.

use slipway_core::{
    id::DeploymentId,
    ports::{Claimed, Event, QueueError, Received},
    settings,
};
use slipway_queue::ConnectError;
use tokio::time::timeout;

use crate::rig::{DEADLINE, LONG, MANY, RawRedis, SOON, entry, settings_from_url, token};

fn settings() -> settings::Redis {
    let server = slipway_testkit::redis_tls();
    let mut settings = settings_from_url(&server.url);
    settings.ca_file = Some(server.ca_file);
    settings
}

#[tokio::test]
async fn the_whole_protocol_works_over_tls_with_a_private_authority() {
    let raw = RawRedis::open(settings()).await;
    let backends = raw.backends().await;
    let (queue, bus) = (&backends.queue, &backends.bus);
    let mut hints = bus.subscribe().await;
    assert!(queue.begin_rebuild().await.unwrap());
    queue.end_rebuild().await.unwrap();
    queue.enqueue(entry(1, 1), false).await.unwrap();
    timeout(SOON, queue.wait_for_work(LONG))
        .await
        .expect("waiting ends");
    let claimed = queue.claim(&token(), LONG, MANY).await.unwrap();
    assert_eq!(claimed, Claimed::Entry(entry(1, 1)));

    let hint = Event::Cancel(DeploymentId(1));
    bus.publish(hint).await;
    let received = timeout(DEADLINE, hints.next()).await.expect("a hint");
    assert_eq!(received, Received::Event(hint));
    raw.wipe().await;
}

#[tokio::test]
async fn a_server_whose_authority_is_not_trusted_is_not_talked_to() {
    // The server is there, and its authority is all that stands between.
    let mut settings = settings();
    RawRedis::open(settings.clone()).await;
    settings.ca_file = None;
    let refused = match slipway_queue::connect(&settings).await {
        Ok(backends) => backends.queue.probe().await,
        Err(ConnectError::NoSystemRoots) => return,
        Err(error) => panic!("{error}"),
    };
    assert!(
        matches!(refused, Err(QueueError::Unavailable(_))),
        "{refused:?}"
    );
}
