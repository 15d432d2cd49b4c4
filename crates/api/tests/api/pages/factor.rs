//! The second step of signing in by form, and the page about one's factor.

use chrono::Utc;
use slipway_core::access::SystemRole;

use crate::{
    app::{Answer, Client, PASSWORD, TestApp},
    json::factor::{code, enrol, next_code},
};

/// The name and value of the cookie that the answer sets.
fn set_cookie(answer: &Answer, name: &str) -> String {
    let cookies = answer.headers.get_all("Set-Cookie").iter();
    let mut texts = cookies.map(|value| value.to_str().unwrap());
    let found = texts.find_map(|text| text.strip_prefix(&format!("{name}=")));
    let found = found.unwrap_or_else(|| panic!("no {name}: {:?}", answer.headers));
    found.split(';').next().unwrap().to_owned()
}

async fn password_step(app: &TestApp, email: &str) -> (Client, Answer) {
    let fields = [
        ("email", email),
        ("password", PASSWORD),
        ("next", "/deployments"),
    ];
    let answer = app.anonymous().post("/login", &fields).await;
    answer.leads_to("/login/code?next=/deployments");
    let value = set_cookie(&answer, "slipway_second_step");
    let browser = app.anonymous().holding("slipway_second_step", &value);
    (browser, answer)
}

#[tokio::test]
async fn a_code_in_the_same_browser_leads_to_where_one_wanted_to_go() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    enrol(&app, &client).await;
    let (browser, asked) = password_step(&app, &client.actor().email).await;
    let cookie = asked.header("Set-Cookie");
    for part in ["HttpOnly", "SameSite=Lax", "Max-Age=300", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let form = browser.get("/login/code?next=/deployments").await;
    form.shows("autocomplete=\"one-time-code\"");
    form.shows("recovery=1");
    let digits = next_code(&app, &client).await;
    let fields = [("code", digits.as_str()), ("next", "/deployments")];
    // Another browser has not done the first step.
    let elsewhere = app.anonymous().post("/login/code", &fields).await;
    elsewhere.leads_to("/login?next=/deployments&again=1");
    let wrong = browser
        .post(
            "/login/code",
            &[("code", "000000"), ("next", "/deployments")],
        )
        .await;
    assert_eq!(wrong.status, 422);
    wrong.shows("That code is wrong, or was used already.");
    let done = browser.post("/login/code", &fields).await;
    done.leads_to("/deployments");
    let session = set_cookie(&done, "slipway_session");
    assert_eq!(set_cookie(&done, "slipway_second_step"), "");
    let signed_in = app.anonymous().with_cookie(&session);
    assert_eq!(signed_in.get("/deployments").await.status, 200);
    // Neither the code nor the first step counts again.
    let again = browser.post("/login/code", &fields).await;
    again.leads_to("/login?next=/deployments&again=1");
    app.anonymous()
        .get("/login?again=1")
        .await
        .shows("That took too long, or too many tries.");
}

#[tokio::test]
async fn a_recovery_code_stands_in_and_is_counted() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    let codes = enrol(&app, &client).await;
    let (browser, _) = password_step(&app, &client.actor().email).await;
    let form = browser.get("/login/code?recovery=1").await;
    form.shows("Recovery code");
    let fields = [
        ("code", codes[0].as_str()),
        ("recovery", "1"),
        ("next", "//evil"),
    ];
    let done = browser.post("/login/code", &fields).await;
    done.leads_to("/");
    let session = set_cookie(&done, "slipway_session");
    let page = app.anonymous().with_cookie(&session);
    page.get("/account/second-factor")
        .await
        .shows("You have 9 recovery codes left.");
}

#[tokio::test]
async fn the_second_step_is_not_taken_from_another_site() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    enrol(&app, &client).await;
    let (browser, _) = password_step(&app, &client.actor().email).await;
    let digits = next_code(&app, &client).await;
    let sent = browser.form("/login/code", &[("code", &digits)]);
    let refused = crate::app::answer(sent.header("Origin", "https://evil.example")).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn the_page_switches_on_shows_codes_once_and_switches_off() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    let page = "/account/second-factor";
    client.get("/account").await.shows("Switch it on");
    let refused = client.submit(page, page, &[("password", "wrong")]).await;
    assert_eq!(refused.status, 422);
    let begun = client.submit(page, page, &[("password", PASSWORD)]).await;
    begun.shows("<svg class=\"qr\"");
    begun.shows("id=\"secret\"");
    begun.hides(" style=");
    let confirm = format!("{page}/confirm");
    let wrong = client.submit(page, &confirm, &[("code", "000000")]).await;
    assert_eq!(wrong.status, 422);
    wrong.hides("id=\"secret\"");
    wrong.shows("Code that it shows");
    let digits = code(&app, &client, Utc::now()).await;
    let on = client.submit(page, &confirm, &[("code", &digits)]).await;
    assert_eq!(on.body.matches("<li><code>").count(), 10, "{}", on.body);
    client
        .get(page)
        .await
        .shows("You have 10 recovery codes left.");
    let recovery = on.body.split("<li><code>").nth(1).unwrap();
    let recovery = recovery.split('<').next().unwrap();
    let fields = [("password", PASSWORD), ("code", recovery)];
    let renewed = client.submit(page, &format!("{page}/codes"), &fields).await;
    renewed.shows("<li><code>");
    let digits = next_code(&app, &client).await;
    let fields = [("password", PASSWORD), ("code", digits.as_str())];
    let off = client
        .submit(page, &format!("{page}/disable"), &fields)
        .await;
    off.leads_to(page);
    client.get(page).await.shows("Off.");
}

#[tokio::test]
async fn an_admin_removes_a_factor_from_the_list_of_users() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    enrol(&app, &client).await;
    let admin = app.admin().await;
    let listed = admin.get("/users").await;
    assert_eq!(listed.body.matches("Remove second factor").count(), 1);
    let path = format!("/users/{}/remove-factor", client.actor().user);
    admin.submit("/users", &path, &[]).await.leads_to("/users");
    admin.get("/users").await.hides("Remove second factor");
}
