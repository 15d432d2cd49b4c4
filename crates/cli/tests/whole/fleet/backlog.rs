//! The backlog has an exact limit, and a repeated request is the same request.

use tokio::task::JoinSet;

use crate::rig::{Answer, Client, DEADLINE, Installation, Redis};

const LIMIT: usize = 20;
const REQUESTS: usize = 60;

#[tokio::test]
async fn full_backlog_refuses_exactly_what_is_too_much() {
    let limit = "SLIPWAY__QUEUE__BACKLOG_LIMIT";
    let installation = Installation::migrated(&Redis::shared()).set(limit, LIMIT.to_string());
    let mut api = installation.start_api();
    let client = api.client().await;
    client
        .create_project("shop", &installation.pipeline("true"))
        .await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;

    let answers = request_at_once(&client).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(_, answer)| answer.status == 202);
    assert_eq!((accepted.len(), refused.len()), (LIMIT, REQUESTS - LIMIT));
    for (_, answer) in &refused {
        let body = answer.clone().expect(429).json();
        assert_eq!(body["code"], "queue_full", "{body}");
        assert_eq!(body["limit"], LIMIT, "{body}");
        assert_eq!(body["depth"], LIMIT, "{body}");
        let seconds = answer
            .header("Retry-After")
            .and_then(|text| text.parse::<u32>().ok());
        assert!(seconds > Some(0), "{answer:?}");
    }

    api.program.terminate();
    assert!(
        api.program.wait(DEADLINE).success(),
        "{}",
        api.program.logs()
    );
    let api = installation.start_api();
    let client = client.at(&api.address);
    for (key, answer) in &accepted {
        let again = client
            .request_deployment_once("shop", "web", key)
            .await
            .expect(202);
        assert_eq!(again.json()["id"], answer.json()["id"], "{key}");
    }
    client.request_deployment("shop", "web").await.expect(429);

    let _worker = installation.start_worker();
    for (_, answer) in &accepted {
        let ended = client.ended(answer.json()["id"].as_i64().unwrap()).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    client.request_deployment("shop", "web").await.expect(202);
}

/// Each request with its key.
async fn request_at_once(client: &Client) -> Vec<(String, Answer)> {
    let mut requests = JoinSet::new();
    for number in 0..REQUESTS {
        let client = client.clone();
        requests.spawn(async move {
            let key = format!("request-{number}");
            let answer = client.request_deployment_once("shop", "web", &key).await;
            (key, answer)
        });
    }
    requests.join_all().await
}
