//! Hints from one process to others.

use slipway_core::{
    id::DeploymentId,
    ports::{Event, Received, Subscription},
};
use tokio::time::timeout;

use crate::rig::{DEADLINE, Rig};

async fn next(subscription: &mut Box<dyn Subscription>) -> Received {
    timeout(DEADLINE, subscription.next())
        .await
        .expect("a hint")
}

pub(crate) async fn a_hint_reaches_every_subscriber(rig: Rig) {
    let mut subscriptions = [rig.bus.subscribe().await, rig.bus.subscribe().await];
    let id = DeploymentId(12);
    for event in [Event::Log(id, 345), Event::Changed(id), Event::Cancel(id)] {
        rig.bus.publish(event).await;
        for subscription in &mut subscriptions {
            assert_eq!(next(subscription).await, Received::Event(event));
        }
    }
}

pub(crate) async fn hints_arrive_in_order(rig: Rig) {
    let mut subscription = rig.bus.subscribe().await;
    let hints = (1..=500).map(|line| Event::Log(DeploymentId(1), line));
    for event in hints.clone() {
        rig.bus.publish(event).await;
    }
    for event in hints {
        assert_eq!(next(&mut subscription).await, Received::Event(event));
    }
}

pub(crate) async fn a_slow_reader_is_told_that_it_lost_hints(rig: Rig) {
    const SENT: i64 = 6000;
    let mut slow = rig.bus.subscribe().await;
    let mut quick = rig.bus.subscribe().await;
    for line in 1..=SENT {
        let event = Event::Log(DeploymentId(1), line);
        rig.bus.publish(event).await;
        assert_eq!(next(&mut quick).await, Received::Event(event));
    }
    assert_eq!(next(&mut slow).await, Received::Lagged);
    let Received::Event(Event::Log(_, first)) = next(&mut slow).await else {
        panic!("hints go on after a gap");
    };
    assert!(first > 1);
    for line in first + 1..=SENT {
        let event = Event::Log(DeploymentId(1), line);
        assert_eq!(next(&mut slow).await, Received::Event(event));
    }
}
