//! A live log that breaks off again and again loses nothing and repeats nothing.

use std::fs;

use crate::rig::{Client, Event, Installation, Redis};

/// What the step prints; our own headline comes before it.
const LINES: i64 = 2000;
/// Events after which a viewer's connection is cut.
const CUT_AFTER: usize = 170;
/// Prints one half, waits until somebody has read of it, and prints the other.
const SCRIPT: &str = r#"
seq 1 1000
while [ -d "$PLACE" ] && [ ! -e "$PLACE/go-on" ]; do sleep 0.05; done
for number in $(seq 1001 2000); do echo "$number"; done
"#;

#[tokio::test]
async fn stream_that_is_cut_goes_on_at_another_api_process_with_the_next_line() {
    let installation = Installation::migrated(&Redis::shared());
    let apis = [installation.start_api(), installation.start_api()];
    let _worker = installation.start_worker();
    let client = apis[0].client().await;
    let pipeline = installation.pipeline(SCRIPT);
    client.create_project("shop", &pipeline).await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    let id = client.deploy("shop", "web").await;
    let clients = apis.each_ref().map(|api| client.at(&api.address));

    let mut lines: Vec<Event> = Vec::new();
    let mut others: Vec<Event> = Vec::new();
    for turn in 0.. {
        others.clear();
        let viewer = &clients[turn % clients.len()];
        if read_some(viewer, id, &mut lines, &mut others).await {
            break;
        }
        if turn == 2 {
            assert!(
                lines.len() < 1000,
                "the second half is written while somebody watches"
            );
            fs::write(installation.path("go-on"), "").unwrap();
        }
    }

    let numbers: Vec<i64> = lines.iter().filter_map(|event| event.id).collect();
    assert_eq!(numbers, (1..=LINES + 1).collect::<Vec<_>>());
    assert_eq!(lines[0].json()["stream"], "slipway", "{:?}", lines[0]);
    for (line, number) in lines[1..].iter().zip(1..) {
        assert_eq!(line.json()["text"], format!("{number}"), "{line:?}");
        assert_eq!(line.json()["step"], "only", "{line:?}");
    }
    assert_end(&others);

    others.clear();
    let mut repeated = lines.clone();
    assert!(read_some(&clients[0], id, &mut repeated, &mut others).await);
    assert_eq!(repeated.len(), lines.len(), "nothing follows the last line");
    assert_end(&others);
}

/// Reads until the stream ends, which is true, or for a while; then the connection is dropped.
async fn read_some(
    viewer: &Client,
    id: i64,
    lines: &mut Vec<Event>,
    others: &mut Vec<Event>,
) -> bool {
    let after = lines.last().and_then(|event| event.id).unwrap_or_default();
    let mut stream = viewer.events(id, after).await;
    for _ in 0..CUT_AFTER {
        let Some(event) = stream.next().await else {
            return true;
        };
        let list = if event.name == "log" {
            &mut *lines
        } else {
            &mut *others
        };
        list.push(event);
    }
    false
}

/// The last words of a stream: the final state, then that nothing follows.
fn assert_end(others: &[Event]) {
    let names: Vec<&str> = others.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names[names.len() - 2..], ["status", "end"], "{others:?}");
    let status = others[others.len() - 2].json();
    assert_eq!(status["status"], "succeeded", "{status}");
}
