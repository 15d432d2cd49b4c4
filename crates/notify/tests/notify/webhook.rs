//! The webhook as its receiver sees it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::json;
use slipway_core::notify::Verdict;
use slipway_testkit::{Authority, Mode, Received, Receiver};

use crate::rig::{KEY, failed, send, service, values};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn post(receiver: &Receiver) -> Verdict {
    let url = receiver.url("/hook?token=hidden-in-the-query");
    let provider = values([("url", url.as_str()), ("secret", SECRET)]);
    let service = service("webhook");
    assert_eq!(service.check_provider(&provider), Ok(()));
    send(&*service, &provider, &values([])).await
}

/// Checks a signature the way that the specification tells receivers to.
fn is_signed(request: &Received, body: &[u8]) -> bool {
    let header = |name| request.header(name).expect("the header is there");
    let key = STANDARD
        .decode(SECRET.trim_start_matches("whsec_"))
        .expect("it is well-formed");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
    signed.push_str(std::str::from_utf8(body).expect("it is well-formed"));
    let signature = header("webhook-signature")
        .strip_prefix("v1,")
        .expect("it is well-formed");
    let signature = STANDARD.decode(signature).expect("it is well-formed");
    hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn document_is_complete_and_signed() {
    let receiver = Receiver::start();
    let verdict = post(&receiver).await;
    assert_eq!(
        verdict,
        Verdict::Delivered {
            answer: "200: ok".to_owned()
        }
    );
    let received = receiver.received();
    let request = received.first().expect("it has arrived");
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/hook?token=hidden-in-the-query");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("webhook-id"), Some(KEY));
    assert_eq!(request.header("idempotency-key"), Some(KEY));
    assert!(is_signed(request, &request.body));
    let mut altered = request.body.clone();
    altered.push(b' ');
    assert!(!is_signed(request, &altered));
    assert_eq!(
        request.json(),
        json!({
            "schema": 1,
            "id": KEY,
            "type": "failed",
            "timestamp": "2026-11-25T21:05:09.000Z",
            "data": failed(),
        })
    );
}

#[tokio::test]
async fn answers_decide_whether_it_is_tried_again() {
    let receiver = Receiver::start();
    let later = |answer: &str, after: Option<u64>| Verdict::Later {
        answer: answer.to_owned(),
        after: after.map(Duration::from_secs),
    };
    let refused = |answer: &str| Verdict::Refused {
        answer: answer.to_owned(),
    };
    let endless = "9".repeat(40);
    for (mode, expected) in [
        (
            Mode::status(500, ""),
            later("500 Internal Server Error", None),
        ),
        (Mode::status(408, ""), later("408 Request Timeout", None)),
        (Mode::status(425, "early"), later("425: early", None)),
        (Mode::too_many("7", "slow"), later("429: slow", Some(7))),
        (Mode::too_many("x", "slow"), later("429: slow", None)),
        (
            Mode::too_many(endless, "slow"),
            later("429: slow", Some(3600)),
        ),
        (
            Mode::too_many("Wed, 21 Oct 2015 07:28:00 GMT", "slow"),
            later("429: slow", Some(0)),
        ),
        (
            Mode::too_many("Mon, 21 Oct 2999 07:28:00 GMT", "slow"),
            later("429: slow", Some(3600)),
        ),
        (Mode::status(404, "no\nhook"), refused("404: no hook")),
        (Mode::status(410, ""), refused("410 Gone")),
        (
            Mode::status(502, "<!DOCTYPE html><title>x</title>"),
            later("502 Bad Gateway", None),
        ),
        (
            Mode::status(
                403,
                format!("not {SECRET} or /hook?token=hidden-in-the-query"),
            ),
            refused("403: not [REDACTED] or /hook?token=[REDACTED]"),
        ),
    ] {
        receiver.behave_once(mode.clone());
        assert_eq!(post(&receiver).await, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn broken_receivers_are_tried_again_and_their_address_is_not_named() {
    let receiver = Receiver::start();
    for mode in [Mode::Reset, Mode::Garbage, Mode::Hang] {
        receiver.behave(mode.clone());
        let Verdict::Later { answer, after } = post(&receiver).await else {
            panic!("{mode:?} is not tried again");
        };
        assert_eq!(after, None);
        assert!(answer.contains(&receiver.url("")), "{answer}");
        assert!(
            !answer.contains("hook") && !answer.contains("hidden"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn endless_answer_is_cut_off() {
    let receiver = Receiver::start();
    receiver.behave(Mode::Endless);
    let Verdict::Delivered { answer } = post(&receiver).await else {
        panic!("the status said that it was taken");
    };
    assert_eq!(answer.chars().count(), "200: ".len() + 300 + 1);
    // What the kernel buffers on both sides is all that is sent besides.
    assert!(receiver.sent() < 16 * 1024 * 1024, "{}", receiver.sent());
}

#[tokio::test]
async fn certificate_of_a_stranger_is_not_trusted() {
    let receiver = Receiver::start_tls(&Authority::new().unwrap());
    let Verdict::Later { answer, .. } = post(&receiver).await else {
        panic!("it was not refused");
    };
    assert!(answer.contains("UnknownIssuer"), "{answer}");
    assert!(receiver.received().is_empty());
}

#[test]
fn values_that_cannot_work_are_named() {
    let service = service("webhook");
    for (url, secret, wrong) in [
        ("https://example.com", "short", "secret"),
        ("https://example.com", "whsec_???", "secret"),
        ("ftp://example.com", SECRET, "url"),
        ("https://me:pass@example.com", SECRET, "url"),
        ("https://localhost/x", SECRET, "url"),
    ] {
        let found = service.check_provider(&values([("url", url), ("secret", secret)]));
        let fields: Vec<_> = found.unwrap_err().into_iter().map(|e| e.field).collect();
        assert_eq!(fields, [wrong], "{url} {secret}");
    }
}
