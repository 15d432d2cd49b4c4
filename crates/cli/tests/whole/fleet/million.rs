//! A step that prints a million lines: all of them are kept, and the worker does not grow.

use crate::rig::{Installation, Redis, peak_memory_kib};

const LINES: u32 = 1_000_000;
const GROWTH_MAX_KIB: u64 = 64 * 1024;

#[tokio::test]
async fn million_lines_are_stored_in_order_in_bounded_memory() {
    let installation = Installation::migrated(&Redis::shared());
    let api = installation.start_api();
    let worker = installation.start_worker();
    let client = api.client().await;
    client
        .create_project("shop", &installation.pipeline("true"))
        .await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    // What a first run needs once is not what the lines need.
    let first = client.deploy("shop", "web").await;
    client.until(first, "succeeded").await;
    let before = peak_memory_kib(worker.id());

    let pipeline = installation.pipeline(&format!("seq 1 {LINES}"));
    client.set_pipeline("shop", &pipeline).await;
    let id = client.deploy("shop", "web").await;
    client.until(id, "succeeded").await;

    let growth = peak_memory_kib(worker.id()) - before;
    assert!(growth < GROWTH_MAX_KIB, "the worker grew by {growth} KiB");
    let log = client.log(id).await;
    let mut lines = log.lines();
    let headline = lines.next().unwrap();
    assert!(
        headline.starts_with("Deployment 2 of project shop"),
        "{headline}"
    );
    for number in 1..=LINES {
        assert_eq!(lines.next(), Some(number.to_string().as_str()));
    }
    assert_eq!(lines.next(), None);
}
