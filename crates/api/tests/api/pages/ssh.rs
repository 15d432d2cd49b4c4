//! A project's SSH keys and trusted hosts on its page.

use slipway_core::access::SystemRole;

use crate::app::TestApp;

const HOST: &str = "[git.example.com]:2222 ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

#[tokio::test]
async fn ssh_key_is_made_shown_replaced_and_deleted() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    let page = "/projects/web";
    let key = "/projects/web/ssh-key";
    admin
        .submit(page, key, &[])
        .await
        .leads_to("/projects/web#ssh");
    let shown = admin.get(page).await;
    shown.shows("ssh-ed25519 AAAA");
    let first = shown.attribute("<code>SHA256:");
    admin
        .submit(page, key, &[])
        .await
        .leads_to("/projects/web#ssh");
    let shown = admin.get(page).await;
    shown.shows("SHA256:");
    assert_ne!(shown.attribute("<code>SHA256:"), first);

    let viewer = app.client_as(SystemRole::Viewer).await.get(page).await;
    viewer.shows("ssh-ed25519 AAAA");
    viewer.hides("action=\"/projects/web/ssh-key\"");
    admin
        .submit(page, "/projects/web/ssh-key/delete", &[])
        .await;
    admin.get(page).await.hides("ssh-ed25519 AAAA");
}

#[tokio::test]
async fn host_keys_are_trusted_and_removed() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    let page = "/projects/web";
    let hosts = "/projects/web/host-keys";
    admin.submit(page, hosts, &[("lines", HOST)]).await;
    let shown = admin.get(page).await;
    shown.shows("[git.example.com]:2222");
    shown.shows("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
    let id = shown.attribute("name=\"id\" value=\"");
    let refused = admin
        .submit(page, hosts, &[("lines", "* ssh-ed25519 AAAA")])
        .await;
    assert_eq!(refused.status, 422);
    admin
        .submit(
            page,
            "/projects/web/host-keys/delete",
            &[("id", id.as_str())],
        )
        .await
        .leads_to("/projects/web#ssh");
    admin.get(page).await.hides("git.example.com");
}
