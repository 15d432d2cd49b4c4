//! What the answers of each service mean.

use std::time::Duration;

use slipway_core::notify::{Provider, Values, Verdict};
use slipway_notify::provider::Slack;
use slipway_testkit::{Authority, Mode, Receiver};

use crate::rig::{self, send, service, values};

fn delivered(answer: &str) -> Verdict {
    let answer = answer.to_owned();
    Verdict::Delivered { answer }
}

fn later(answer: &str, after_ms: Option<u64>) -> Verdict {
    Verdict::Later {
        answer: answer.to_owned(),
        after: after_ms.map(Duration::from_millis),
    }
}

fn refused(answer: &str) -> Verdict {
    let answer = answer.to_owned();
    Verdict::Refused { answer }
}

/// Each answer with what it means.
async fn mean(
    service: &dyn Provider,
    receiver: &Receiver,
    filled: (&Values, &Values),
    cases: Vec<(Mode, Verdict)>,
) {
    for (mode, expected) in cases {
        receiver.behave_once(mode.clone());
        let verdict = send(service, filled.0, filled.1).await;
        assert_eq!(verdict, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn of_discord() {
    let receiver = Receiver::start();
    let url = receiver.url("/api/webhooks/1234/very-secret-token");
    let cases = vec![
        (
            Mode::status(200, r#"{"id":"77","content":"x"}"#),
            delivered("200: message 77"),
        ),
        (Mode::status(204, ""), delivered("204 No Content")),
        (
            Mode::too_many(
                "2",
                r#"{"message":"You are being rate limited.","retry_after":1.5,"global":false}"#,
            ),
            later("429: You are being rate limited.", Some(1_500)),
        ),
        (Mode::too_many("2", "busy"), later("429: busy", Some(2_000))),
        (
            Mode::status(404, r#"{"message":"Unknown Webhook","code":10015}"#),
            refused("404: Unknown Webhook"),
        ),
        (
            Mode::status(400, r#"{"message":"no /1234/very-secret-token here"}"#),
            refused("400: no /1234/[REDACTED] here"),
        ),
    ];
    let filled = values([("webhook_url", url.as_str())]);
    mean(
        &*service("discord"),
        &receiver,
        (&filled, &values([])),
        cases,
    )
    .await;
}

#[tokio::test]
async fn of_slack() {
    let receiver = Receiver::start();
    let url = receiver.url("/services/T00000/B00000/token0000");
    let cases = vec![
        (Mode::status(200, "ok"), delivered("200: ok")),
        (
            Mode::too_many("30", ""),
            later("429 Too Many Requests", Some(30_000)),
        ),
        (
            Mode::status(410, "channel_is_archived"),
            refused("410: channel_is_archived"),
        ),
    ];
    let filled = values([("webhook_url", url.as_str())]);
    mean(&*service("slack"), &receiver, (&filled, &values([])), cases).await;

    let slack = Slack::at(rig::outgoing(&["127.0.0.0/8"]).into(), receiver.url(""));
    let cases = vec![
        (
            Mode::status(200, r#"{"ok":true,"ts":"1.2"}"#),
            delivered("200: ok"),
        ),
        (
            Mode::status(200, r#"{"ok":false,"error":"channel_not_found"}"#),
            refused("channel_not_found"),
        ),
        (
            Mode::status(200, r#"{"ok":false,"error":"internal_error"}"#),
            later("internal_error", None),
        ),
        (
            Mode::too_many("3", r#"{"ok":false,"error":"ratelimited"}"#),
            later("429: ratelimited", Some(3_000)),
        ),
        (
            Mode::status(200, "<html>"),
            later("200: not an answer of Slack", None),
        ),
        (Mode::status(503, "down"), later("503: down", None)),
    ];
    let filled = values([("bot_token", "xoxb-1234-abcd")]);
    let channel = values([("channel", "C0123")]);
    mean(&slack, &receiver, (&filled, &channel), cases).await;
}

#[tokio::test]
async fn of_telegram() {
    let receiver = Receiver::start();
    let token = "123456789:AAFabcdefghijklmnopqrstuvwxyz012345";
    let cases = vec![
        (
            Mode::status(200, r#"{"ok":true,"result":{"message_id":5}}"#),
            delivered("200: message 5"),
        ),
        (
            Mode::status(
                429,
                r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 8","parameters":{"retry_after":8}}"#,
            ),
            later("429: Too Many Requests: retry after 8", Some(8_000)),
        ),
        (
            Mode::status(
                400,
                r#"{"ok":false,"description":"Bad Request: group chat was upgraded","parameters":{"migrate_to_chat_id":-1001}}"#,
            ),
            refused("400: Bad Request: group chat was upgraded; the chat is now -1001"),
        ),
        (
            Mode::status(
                404,
                format!(r#"{{"ok":false,"description":"no bot{token}"}}"#),
            ),
            refused("404: no bot[REDACTED]"),
        ),
    ];
    let api = receiver.url("");
    let filled = values([("bot_token", token), ("api_url", api.as_str())]);
    let channel = values([("chat_id", "1")]);
    mean(&*service("telegram"), &receiver, (&filled, &channel), cases).await;
}

#[tokio::test]
async fn of_the_others() {
    let receiver = Receiver::start();
    let url = receiver.url("/hooks/token00000");
    let filled = values([("webhook_url", url.as_str())]);
    let cases = vec![
        (Mode::status(200, "ok"), delivered("200: ok")),
        (
            Mode::status(
                400,
                r#"{"id":"web.incoming_webhook","message":"Invalid webhook","status_code":400}"#,
            ),
            refused("400: Invalid webhook"),
        ),
        (
            Mode::too_many("1", ""),
            later("429 Too Many Requests", Some(1_000)),
        ),
    ];
    mean(
        &*service("mattermost"),
        &receiver,
        (&filled, &values([])),
        cases,
    )
    .await;

    let cases = vec![
        (Mode::status(202, ""), delivered("202 Accepted")),
        (
            Mode::status(
                401,
                r#"{"error":{"code":"x","message":"The signature is wrong."}}"#,
            ),
            refused("401: The signature is wrong."),
        ),
        (Mode::status(502, ""), later("502 Bad Gateway", None)),
    ];
    mean(&*service("teams"), &receiver, (&filled, &values([])), cases).await;

    let server = receiver.url("");
    let filled = values([("server", server.as_str())]);
    let channel = values([("topic", "deployments")]);
    let cases = vec![
        (
            Mode::status(200, r#"{"id":"aZ9","event":"message"}"#),
            delivered("200: message aZ9"),
        ),
        (
            Mode::status(403, r#"{"code":40301,"http":403,"error":"forbidden"}"#),
            refused("403: forbidden"),
        ),
        (
            Mode::status(429, r#"{"code":42901,"error":"limit reached"}"#),
            later("429: limit reached", None),
        ),
    ];
    mean(&*service("ntfy"), &receiver, (&filled, &channel), cases).await;
}

#[tokio::test]
async fn authority_of_ones_own_is_trusted_when_it_is_configured() {
    let authority = Authority::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let receiver = Receiver::start_tls(&authority);
    let outgoing = rig::outgoing_with(&["127.0.0.0/8"], Some(ca_file));
    let service = rig::of(&slipway_notify::registry_over(&outgoing.into()), "discord");
    let url = receiver.url("/api/webhooks/1234/abcd-token");
    let verdict = send(
        &*service,
        &values([("webhook_url", url.as_str())]),
        &values([]),
    )
    .await;
    assert_eq!(verdict, delivered("200: ok"));

    let other = Receiver::start_tls_as(&authority, &["other.example.com"]);
    let url = other.url("/api/webhooks/1234/abcd-token");
    let verdict = send(
        &*service,
        &values([("webhook_url", url.as_str())]),
        &values([]),
    )
    .await;
    let Verdict::Later { answer, .. } = verdict else {
        panic!("a certificate for another name was taken: {verdict:?}");
    };
    assert!(answer.contains("not valid for name"), "{answer}");
    assert!(other.received().is_empty());
}

type Filled = &'static [(&'static str, &'static str)];

/// A provider's values, the field that is wrong, and a part of why.
const PROVIDERS: [(&str, Filled, &str, &str); 13] = [
    (
        "discord",
        &[("webhook_url", "https://example.com/x")],
        "webhook_url",
        "api/webhooks",
    ),
    (
        "teams",
        &[("webhook_url", "https://me.webhook.office.com/webhookb2/x")],
        "webhook_url",
        "retired",
    ),
    (
        "mattermost",
        &[("webhook_url", "https://example.com/x")],
        "webhook_url",
        "/hooks/",
    ),
    ("slack", &[], "webhook_url", "needed"),
    (
        "slack",
        &[
            ("webhook_url", "https://hooks.slack.com/x"),
            ("bot_token", "xoxb-1"),
        ],
        "bot_token",
        "keep one",
    ),
    ("slack", &[("bot_token", "secret")], "bot_token", "xoxb-"),
    (
        "telegram",
        &[("bot_token", "abc")],
        "bot_token",
        "look like",
    ),
    (
        "ntfy",
        &[("server", "https://ntfy.sh/topic")],
        "server",
        "topic",
    ),
    (
        "ntfy",
        &[("server", "https://ntfy.sh"), ("username", "u")],
        "password",
        "needed",
    ),
    (
        "ntfy",
        &[("token", "t"), ("username", "u"), ("password", "p")],
        "token",
        "keep one",
    ),
    (
        "smtp",
        &[("host", "localhost"), ("port", "25")],
        "host",
        "this machine",
    ),
    ("smtp", &[("from", "nobody")], "from", "no mail address"),
    (
        "smtp",
        &[("tls", "off"), ("username", "u"), ("password", "p")],
        "password_in_clear",
        "must be allowed",
    ),
];

type Pair = (&'static str, &'static str);

/// A provider's value, a channel's value and the field that is wrong.
const CHANNELS: [(&str, Pair, Pair, &str); 7] = [
    ("discord", ("x", "x"), ("thread_id", "abc"), "thread_id"),
    ("slack", ("bot_token", "xoxb-1"), ("channel", ""), "channel"),
    (
        "slack",
        ("webhook_url", "https://x.example"),
        ("channel", "C1"),
        "channel",
    ),
    ("telegram", ("x", "x"), ("chat_id", "abc"), "chat_id"),
    ("telegram", ("x", "x"), ("topic_id", "0"), "topic_id"),
    ("ntfy", ("x", "x"), ("topic", "a/b"), "topic"),
    (
        "smtp",
        ("x", "x"),
        ("recipients", "ada@example.com, nobody"),
        "recipients",
    ),
];

#[test]
fn values_of_another_service_are_explained() {
    let registry = slipway_notify::registry_over(&rig::outgoing(&[]).into());
    for (kind, pairs, field, part) in PROVIDERS {
        let filled: Values = pairs.iter().copied().collect();
        let wrong = rig::of(&registry, kind)
            .check_provider(&filled)
            .unwrap_err();
        let found: Vec<_> = wrong
            .iter()
            .map(|w| (w.field.as_str(), w.message.as_str()))
            .collect();
        assert!(
            matches!(found.as_slice(), [(at, why)] if *at == field && why.contains(part)),
            "{kind} {filled:?}: {found:?}"
        );
    }
    for (kind, provider, channel, field) in CHANNELS {
        let wrong = service(kind).check_channel(&values([provider]), &values([channel]));
        let fields: Vec<_> = wrong.unwrap_err().into_iter().map(|w| w.field).collect();
        assert_eq!(fields, [field], "{kind} {channel:?}");
    }
}
