//! What each service is sent for each event, as its receiver sees it.

use slipway_core::notify::{Event, Values, Verdict};
use slipway_notify::provider::Slack;
use slipway_testkit::{Receiver, eventually_blocking};

use crate::rig::{self, send_notice, service, values};

/// Sends every event and renders what arrived.
async fn told(kind: &str, provider: &[(&str, &str)], channel: &[(&str, &str)]) -> String {
    let receiver = Receiver::start();
    let service = service(kind);
    let fill = |pairs: &[(&str, &str)]| {
        let base = receiver.url("");
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), value.replace("BASE", &base)));
        pairs.collect::<Values>()
    };
    let (provider, channel) = (fill(provider), fill(channel));
    assert_eq!(service.check_provider(&provider), Ok(()));
    assert_eq!(service.check_channel(&provider, &channel), Ok(()));
    let mut text = String::new();
    for event in Event::ALL {
        let verdict = send_notice(&*service, &provider, &channel, &rig::notice(event)).await;
        assert!(
            matches!(verdict, Verdict::Delivered { .. }),
            "{event} {verdict:?}"
        );
        let received = receiver.received();
        let request = received.last().expect("it has arrived");
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), Some("application/json"));
        let authorization = request.header("authorization").unwrap_or("none");
        let body = serde_json::to_string_pretty(&request.json()).expect("it is JSON");
        let target = &request.target;
        text.push_str(&format!(
            "== {event}: {target}, authorization {authorization}\n{body}\n"
        ));
    }
    text
}

#[tokio::test]
async fn discord_gets_embeds() {
    let provider = [("webhook_url", "BASE/api/webhooks/1234/abcd-token")];
    insta::assert_snapshot!(told("discord", &provider, &[("thread_id", "99")]).await);
}

#[tokio::test]
async fn slack_webhook_gets_blocks() {
    let provider = [("webhook_url", "BASE/services/T0/B0/token")];
    insta::assert_snapshot!(told("slack", &provider, &[]).await);
}

#[tokio::test]
async fn slack_bot_names_the_channel_and_signs_in() {
    let receiver = Receiver::start();
    let outgoing = rig::outgoing(&["127.0.0.0/8"]);
    let slack = Slack::at(outgoing.into(), receiver.url(""));
    let provider = values([("bot_token", "xoxb-1234-abcd")]);
    let channel = values([("channel", "C0123")]);
    receiver.behave(slipway_testkit::Mode::status(200, "{\"ok\":true}"));
    let verdict = rig::send(&slack, &provider, &channel).await;
    let answer = "200: ok".to_owned();
    assert_eq!(verdict, Verdict::Delivered { answer });
    let received = receiver.received();
    let request = received.first().expect("it has arrived");
    assert_eq!(request.target, "/api/chat.postMessage");
    assert_eq!(
        request.header("authorization"),
        Some("Bearer xoxb-1234-abcd")
    );
    assert_eq!(request.json()["channel"], "C0123");
}

#[tokio::test]
async fn teams_gets_a_card() {
    let provider = [(
        "webhook_url",
        "BASE/workflows/abc/triggers/manual?sig=token",
    )];
    insta::assert_snapshot!(told("teams", &provider, &[]).await);
}

#[tokio::test]
async fn mattermost_gets_attachments() {
    let provider = [("webhook_url", "BASE/hooks/abcdef")];
    insta::assert_snapshot!(told("mattermost", &provider, &[("channel", "town-square")]).await);
}

#[tokio::test]
async fn telegram_gets_html() {
    let provider = [
        ("bot_token", "123456789:AAFabcdefghijklmnopqrstuvwxyz012345"),
        ("api_url", "BASE/"),
    ];
    let channel = [("chat_id", "-1001234567890"), ("topic_id", "7")];
    insta::assert_snapshot!(told("telegram", &provider, &channel).await);
}

#[tokio::test]
async fn ntfy_gets_plain_text() {
    let provider = [("server", "BASE"), ("token", "tk_abcdef")];
    insta::assert_snapshot!(told("ntfy", &provider, &[("topic", "deployments")]).await);
}

#[tokio::test]
async fn receiver_of_ones_own_gets_the_notice() {
    let provider = [("url", "BASE/hook"), ("secret", "0123456789abcdef")];
    insta::assert_snapshot!(told("webhook", &provider, &[]).await);
}

#[tokio::test]
async fn mail_is_text_and_html() {
    let server = rig::plain_mail_server();
    let service = service("smtp");
    let provider = rig::plain_mail(&server);
    let channel = values([("recipients", "ada@example.com, Grace <grace@example.com>")]);
    for event in Event::ALL {
        let verdict = send_notice(&*service, &provider, &channel, &rig::notice(event)).await;
        assert!(
            matches!(verdict, Verdict::Delivered { .. }),
            "{event} {verdict:?}"
        );
    }
    let taken = eventually_blocking(std::time::Duration::from_secs(10), || {
        let taken = server.taken();
        if taken.len() == Event::ALL.len() {
            Ok(taken)
        } else {
            Err(taken)
        }
    });
    let contents = taken
        .iter()
        .map(|mail| rig::without_boundary(&mail.content));
    insta::assert_snapshot!(contents.collect::<Vec<_>>().join("\n====\n"));
}
