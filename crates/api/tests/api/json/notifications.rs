//! Providers, channels, subscriptions and deliveries.

use serde_json::{Value, json};
use slipway_core::{
    access::SystemRole,
    audit::{self, service::Filter},
    id::AuditId,
};

use super::caller::Caller;
use crate::app::TestApp;

const TOKEN: &str = "canary-4711-token";

fn ntfy(name: &str) -> Value {
    let settings = json!({ "server": "https://ntfy.example", "token": TOKEN });
    json!({ "name": name, "kind": "ntfy", "settings": settings })
}

/// A provider and a channel of it, by number.
async fn carrier(admin: &Caller) -> (i64, i64) {
    let made = admin
        .post("/api/v1/providers", ntfy("Phones"))
        .await
        .expect(201);
    let provider = made["id"].as_i64().unwrap();
    let channel =
        json!({ "provider": provider, "name": "Night", "settings": { "topic": "night" } });
    let made = admin.post("/api/v1/channels", channel).await.expect(201);
    (provider, made["id"].as_i64().unwrap())
}

#[tokio::test]
async fn credentials_are_written_and_never_read() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let made = admin
        .post("/api/v1/providers", ntfy("Phones"))
        .await
        .expect(201);
    assert_eq!(
        made["settings"],
        json!({ "server": "https://ntfy.example" })
    );
    assert_eq!(made["secrets"], json!(["token"]));
    let path = format!("/api/v1/providers/{}", made["id"]);
    // What is not named stays, what is empty goes.
    let kept = json!({ "settings": { "server": "https://push.example" } });
    let changed = admin.patch(&path, kept).await.expect(200);
    assert_eq!(changed["secrets"], json!(["token"]));
    let all = admin.get("/api/v1/providers").await.expect(200);
    let one = admin.get(&path).await.expect(200);
    assert_eq!(all["items"][0], one);
    let filter = Filter::default();
    let trail = audit::service::export(&app.ctx, &app.admin, &filter, AuditId(0), 1_000).await;
    let told = format!("{made} {changed} {all} {:?}", trail.unwrap());
    assert!(
        told.contains("provider.create") && !told.contains(TOKEN),
        "{told}"
    );
    let cleared = json!({ "settings": { "token": "" } });
    let changed = admin.patch(&path, cleared).await.expect(200);
    assert_eq!(changed["secrets"], json!([]));
    admin.delete(&path).await.expect(204);
    admin.get(&path).await.expect(404);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_path() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let (provider, _) = carrier(&admin).await;
    let webhook = |url: &str| {
        let settings = json!({ "url": url, "secret": "0123456789abcdef" });
        json!({ "name": "Hook", "kind": "webhook", "settings": settings })
    };
    for (path, body, field) in [
        ("providers", json!({ "name": "", "kind": "ntfy" }), "name"),
        ("providers", json!({ "name": "A", "kind": "nfty" }), "kind"),
        (
            "providers",
            json!({ "name": "A", "kind": "ntfy" }),
            "settings.server",
        ),
        (
            "providers",
            json!({ "name": "A", "kind": "ntfy", "settings": { "srever": "x" } }),
            "settings.srever",
        ),
        (
            "providers",
            json!({ "name": "A", "kind": "ntfy", "settings": { "server": 5 } }),
            "settings.server",
        ),
        (
            "providers",
            json!({ "name": "A", "kind": "ntfy", "secret": 1 }),
            "secret",
        ),
        (
            "providers",
            webhook("https://127.0.0.1/hook"),
            "settings.url",
        ),
        ("providers", webhook("https://0x7f.1/hook"), "settings.url"),
        (
            "providers",
            webhook("https://me:pass@example.com/"),
            "settings.url",
        ),
        (
            "channels",
            json!({ "provider": 999, "name": "A" }),
            "provider",
        ),
        (
            "channels",
            json!({ "provider": provider, "name": "A" }),
            "settings.topic",
        ),
        (
            "channels",
            json!({ "provider": provider, "name": "A", "settings": { "topic": "a/b" } }),
            "settings.topic",
        ),
    ] {
        let answer = admin.post(&format!("/api/v1/{path}"), body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert_eq!(answer.field(), field, "{body}: {}", answer.body);
    }
    let again = admin.post("/api/v1/providers", ntfy("Phones")).await;
    assert_eq!((again.status, again.code()), (409, "name_taken"));
}

#[tokio::test]
async fn kinds_describe_what_can_be_filled_in() {
    let app = TestApp::spawn().await;
    let manager = Caller::of_role(&app, SystemRole::Manager).await;
    let kinds = manager.get("/api/v1/providers/kinds").await.expect(200);
    let kinds = kinds["items"].as_array().unwrap();
    let names: Vec<_> = kinds
        .iter()
        .map(|kind| kind["kind"].as_str().unwrap())
        .collect();
    let expected = [
        "slack",
        "discord",
        "teams",
        "mattermost",
        "telegram",
        "smtp",
        "ntfy",
        "webhook",
    ];
    assert_eq!(names, expected);
    let smtp = &kinds[5];
    let field = |name: &str| {
        let fields = smtp["provider_fields"].as_array().unwrap();
        fields
            .iter()
            .find(|field| field["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(field("port")["minimum"], 1);
    assert_eq!(field("tls")["choices"], json!(["starttls", "tls", "off"]));
    assert_eq!(field("password")["secret"], true);
    assert_eq!(smtp["channel_fields"][0]["type"], "addresses");
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let (provider, channel) = carrier(&admin).await;
    let path = "/api/v1/projects/web/subscriptions";
    let body = json!({ "channels": [channel], "events": ["failed"] });
    let made = admin.post(path, body).await.expect(201);
    let refused = admin.delete(&format!("/api/v1/providers/{provider}")).await;
    assert_eq!((refused.status, refused.code()), (409, "provider_in_use"));
    let refused = admin.delete(&format!("/api/v1/channels/{channel}")).await;
    assert_eq!((refused.status, refused.code()), (409, "channel_in_use"));
    admin
        .delete(&format!("{path}/{}", made["id"]))
        .await
        .expect(204);
    admin
        .delete(&format!("/api/v1/channels/{channel}"))
        .await
        .expect(204);
    admin
        .delete(&format!("/api/v1/providers/{provider}"))
        .await
        .expect(204);
}

#[tokio::test]
async fn subscriptions_are_kept_changed_and_muted() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let (_, channel) = carrier(&admin).await;
    let offered = admin.get("/api/v1/projects/web/channels").await.expect(200);
    assert_eq!(offered["items"][0]["id"], channel);
    assert!(offered["items"][0].get("settings").is_none());
    let path = "/api/v1/projects/web/subscriptions";
    let body = json!({
        "channels": [channel], "events": ["failed", "recovered"], "targets": ["live"],
        "branches": ["release/*"], "changes_only": true,
    });
    let made = admin.post(path, body).await.expect(201);
    assert_eq!(made["events"], json!(["failed", "recovered"]));
    assert_eq!(made["targets"], json!(["live"]));
    assert_eq!(made["channels"][0]["name"], "Night");
    let one = format!("{path}/{}", made["id"]);
    let change = json!({ "targets": [], "branches": [] });
    let changed = admin.patch(&one, change).await.expect(200);
    assert_eq!(
        (&changed["targets"], &changed["branches"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(changed["events"], made["events"]);
    let wish = json!({ "until": "2999-01-01T00:00:00Z", "reason": "stocktaking" });
    let muted = admin.put(&format!("{one}/mute"), wish).await.expect(200);
    assert_eq!(muted["mute"]["reason"], "stocktaking");
    let past = json!({ "until": "2020-01-01T00:00:00Z", "reason": "stocktaking" });
    assert_eq!(
        admin.put(&format!("{one}/mute"), past).await.field(),
        "mute.until"
    );
    let told = admin.delete(&format!("{one}/mute")).await.expect(200);
    assert_eq!(told["mute"], Value::Null);
    for (body, field) in [
        (
            json!({ "channels": [999], "events": ["failed"] }),
            "channels[0]",
        ),
        (
            json!({ "channels": [channel], "events": ["fialed"] }),
            "events[0]",
        ),
        (json!({ "channels": [channel], "events": [] }), "events"),
        (
            json!({ "channels": [channel], "events": ["failed"], "targets": ["none"] }),
            "targets[0]",
        ),
        (
            json!({ "channels": [channel], "events": ["failed"], "branches": ["["] }),
            "branches[0]",
        ),
    ] {
        let answer = admin.post(path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.field()),
            (422, field),
            "{body} {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn deliveries_are_listed_in_pages_and_sent_again() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let (_, channel) = carrier(&admin).await;
    let test = format!("/api/v1/channels/{channel}/test");
    let mut trials = Vec::new();
    for _ in 0..3 {
        let trial = admin.post(&test, json!({})).await.expect(200);
        assert_eq!(trial["state"], "dropped");
        let answer = trial["answer"].as_str().unwrap();
        assert!(answer.contains("No worker"), "{answer}");
        trials.push(trial["delivery"].clone());
    }
    let path = format!("/api/v1/deliveries?channel={channel}&state=dropped&limit=2");
    let first = admin.get(&path).await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = admin
        .get(&format!("{path}&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(second["next_cursor"], Value::Null);
    let pages = [&first, &second].into_iter();
    let items = pages.flat_map(|page| page["items"].as_array().unwrap().clone());
    let ids: Vec<_> = items.map(|item| item["id"].clone()).collect();
    trials.reverse();
    assert_eq!(ids, trials);
    let one = format!("/api/v1/deliveries/{}", ids[0]);
    let before = admin.get(&one).await.expect(200);
    assert_eq!(before["event"], "test");
    let again = admin
        .post(&format!("{one}/resend"), json!({}))
        .await
        .expect(202);
    assert_eq!(again["state"], "pending");
    assert_ne!(again["key"], before["key"]);
    let twice = admin.post(&format!("{one}/resend"), json!({})).await;
    assert_eq!((twice.status, twice.code()), (409, "still_open"));
    let none = admin
        .get("/api/v1/deliveries?state=failed&channel=999")
        .await;
    assert_eq!(none.expect(200)["items"], json!([]));
    assert_eq!(
        admin.get("/api/v1/deliveries?limit=0").await.field(),
        "limit"
    );
    admin
        .get("/api/v1/deliveries?project=none")
        .await
        .expect(404);
}
