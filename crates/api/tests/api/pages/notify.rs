//! Notifications: services, places, deliveries, and what a project is told of.

use slipway_core::access::SystemRole;

use crate::app::{Client, TestApp};

const PROVIDER: [(&str, &str); 4] = [
    ("kind", "webhook"),
    ("name", "Hooks"),
    ("field-url", "https://example.com/canary"),
    ("field-secret", "canary-0123456789"),
];

async fn make_channel(admin: &Client) {
    admin
        .submit("/notifications", "/notifications/providers", &PROVIDER)
        .await
        .leads_to("/notifications");
    let fields = [("provider", "1"), ("name", "deploys")];
    admin
        .submit("/notifications", "/notifications/channels", &fields)
        .await
        .leads_to("/notifications/channels/1");
}

#[tokio::test]
async fn provider_is_set_up_and_its_secrets_are_not_shown() {
    let app = TestApp::spawn().await;
    let admin = app.admin().await;
    make_channel(&admin).await;
    let new = admin.get("/notifications/providers/new?kind=webhook").await;
    new.shows("Signing secret");
    let page = "/notifications/providers/1";
    let shown = admin.get(page).await;
    shown.shows("value=\"Hooks\"");
    shown.shows("set; leave empty to keep it");
    shown.hides("canary");
    let fields = [
        ("name", "Ours"),
        ("on", "on"),
        ("field-url", ""),
        ("field-secret", ""),
    ];
    admin
        .submit(page, page, &fields)
        .await
        .leads_to("/notifications");
    let list = admin.get("/notifications").await;
    list.shows("Ours");
    list.shows("deploys");
    let refused = admin
        .submit(page, "/notifications/providers/1/delete", &[])
        .await;
    assert_eq!(refused.status, 409);
    refused.shows("the provider has channels: deploys");
}

#[tokio::test]
async fn refused_form_keeps_what_was_typed_and_says_why() {
    let app = TestApp::spawn().await;
    let admin = app.admin().await;
    let mut fields = PROVIDER;
    fields[2] = ("field-url", "https://127.0.0.1/");
    let refused = admin
        .submit("/notifications", "/notifications/providers", &fields)
        .await;
    assert_eq!(refused.status, 422);
    refused.shows("settings.url");
    refused.shows("value=\"Hooks\"");
    refused.hides("canary-0123456789");
}

#[tokio::test]
async fn manager_sets_up_channels_and_no_providers() {
    let app = TestApp::spawn().await;
    make_channel(&app.admin().await).await;
    let manager = app.client_as(SystemRole::Manager).await;
    let shown = manager.get("/notifications").await;
    shown.shows("deploys");
    shown.hides("New provider");
    assert_eq!(manager.get("/notifications/providers/1").await.status, 403);
    let page = "/notifications/channels/1";
    let tried = manager
        .submit(page, "/notifications/channels/1/test", &[])
        .await;
    tried.shows("No worker is running, so nothing was sent.");
    let sent = manager.get("/notifications/deliveries").await;
    sent.shows("No worker is running");
    manager
        .submit(
            "/notifications/deliveries",
            "/notifications/deliveries/1/resend",
            &[("project", "")],
        )
        .await
        .leads_to("/notifications/deliveries#delivery-1");
    let viewer = app.client_as(SystemRole::Viewer).await;
    viewer.get("/").await.hides("href=\"/notifications\"");
}

#[tokio::test]
async fn project_is_subscribed_muted_and_unsubscribed() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    let page = "/projects/web";
    admin.get(page).await.shows("sets up a channel first");
    make_channel(&admin).await;
    let home = "/projects/web#notifications";
    let all = "/projects/web/subscriptions";
    let nothing = admin.submit(page, all, &[("event-failed", "on")]).await;
    assert_eq!(nothing.status, 422);
    let fields = [
        ("channel-1", "on"),
        ("event-failed", "on"),
        ("event-recovered", "on"),
        ("target-production", "on"),
        ("branches", "main release/*"),
    ];
    admin.submit(page, all, &fields).await.leads_to(home);
    let shown = admin.get(page).await;
    shown.shows("<h3>deploys</h3>");
    shown.shows("Failed, Recovered");
    shown.shows("Target production");
    shown.shows("Branch main, release/*");
    let own = "/projects/web/subscriptions/1";
    let mute = [("hours", "4"), ("reason", "stocktaking")];
    admin
        .submit(page, &format!("{own}/mute"), &mute)
        .await
        .leads_to(home);
    admin.get(page).await.shows("stocktaking");
    admin
        .submit(page, &format!("{own}/mute"), &[])
        .await
        .leads_to(home);
    admin.get(page).await.hides("stocktaking");
    let fields = [
        ("channel-1", "on"),
        ("event-started", "on"),
        ("changes_only", "on"),
    ];
    admin.submit(page, own, &fields).await.leads_to(home);
    let shown = admin.get(page).await;
    shown.shows("<p>Started</p>");
    shown.shows("Failures and recoveries only");
    shown.hides("Target production");
    admin
        .submit(page, &format!("{own}/delete"), &[])
        .await
        .leads_to(home);
    admin.get(page).await.shows("Nobody is told");
    let sent = admin.get("/projects/web/deliveries").await;
    sent.shows("Nothing was sent that fits");
}
