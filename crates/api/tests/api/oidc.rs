//! Signing in at an identity provider: the whole way, and everything that it may do wrong.

use slipway_core::{
    access::SystemRole,
    account::{self, store},
    settings::{LocalSignIn, Oidc, Settings},
};
use slipway_testkit::provider::{Algorithm, CLIENT_ID, CLIENT_SECRET, Fault, IdentityProvider};

use crate::{
    app::{Answer, Client, PASSWORD, TestApp, answer},
    json::factor::{enrol, next_code},
};

/// What the settings say of a provider of tests.
pub(crate) fn oidc(provider: &IdentityProvider) -> Oidc {
    Oidc {
        issuer: Some(provider.issuer()),
        client_id: Some(CLIENT_ID.to_owned()),
        client_secret: Some(CLIENT_SECRET.into()),
        client_secret_file: None,
        name: "Example ID".to_owned(),
        scopes: ["openid", "email", "profile"].map(str::to_owned).into(),
        groups_claim: "groups".to_owned(),
        admin_groups: vec!["platform".to_owned()],
        manager_groups: vec!["leads".to_owned()],
        developer_groups: vec!["web".to_owned(), "app".to_owned()],
        viewer_groups: vec!["everyone".to_owned()],
        default_role: None,
        link_by_email: false,
        local_sign_in: LocalSignIn::Everybody,
    }
}

/// A server with a provider.
pub(crate) async fn app_with(
    provider: &IdentityProvider,
    change: impl FnOnce(&mut Settings),
) -> TestApp {
    let oidc = oidc(provider);
    TestApp::spawn_at(|settings, origin| {
        settings.server.public_url = Some(origin.to_owned());
        settings.oidc = Some(oidc);
        change(settings);
    })
    .await
}

fn provider() -> IdentityProvider {
    let provider = IdentityProvider::start(Algorithm::Es256);
    in_groups(&provider, &["web"]);
    provider
}

fn in_groups(provider: &IdentityProvider, groups: &[&str]) {
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    provider.person(|person| person.groups = groups);
}

/// The value of a cookie that the answer sets.
fn set_cookie(answer: &Answer, name: &str) -> String {
    let cookies = answer.headers.get_all("Set-Cookie").iter();
    let mut texts = cookies.map(|value| value.to_str().unwrap());
    let found = texts.find_map(|text| text.strip_prefix(&format!("{name}=")));
    let found = found.unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    found.split(';').next().unwrap().to_owned()
}

/// A browser that has begun, and the address at the provider that it was sent to.
async fn begun(app: &TestApp, next: &str) -> (Client, String) {
    let path = format!("/login/oidc?next={next}");
    let sent = app.anonymous().get(&path).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let secret = set_cookie(&sent, "slipway_provider");
    let browser = app.anonymous().holding("slipway_provider", &secret);
    (browser, sent.header("Location").to_owned())
}

/// The path that the provider sends a browser back to.
async fn sent_back(app: &TestApp, place: &str) -> String {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let sent = answer(http.get(place)).await;
    assert_eq!(sent.status, 302, "{}", sent.body);
    let place = sent.header("Location");
    place.strip_prefix(&app.origin).unwrap().to_owned()
}

/// The whole way.
async fn signs_in(app: &TestApp) -> Answer {
    let (browser, place) = begun(app, "/deployments").await;
    let back = sent_back(app, &place).await;
    browser.get(&back).await
}

fn signed_in(app: &TestApp, answer: &Answer) -> Client {
    answer.leads_to("/deployments");
    assert_eq!(set_cookie(answer, "slipway_provider"), "");
    app.anonymous()
        .with_cookie(&set_cookie(answer, "slipway_session"))
}

async fn role(client: &Client) -> String {
    let me = client.get("/api/v1/me").await;
    assert_eq!(me.status, 200, "{}", me.body);
    let me: serde_json::Value = serde_json::from_str(&me.body).unwrap();
    me["role"].as_str().unwrap().to_owned()
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, why: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    answer.shows(why);
    answer.shows("href=\"/login\"");
    let cookies = answer.headers.get_all("Set-Cookie").iter();
    let mut cookies = cookies.map(|value| value.to_str().unwrap());
    assert!(!cookies.any(|it| it.starts_with("slipway_session=")));
}

#[tokio::test]
async fn somebody_new_is_signed_in_and_led_to_where_they_wanted_to_go() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    let form = app.anonymous().get("/login?next=/deployments").await;
    form.shows("Sign in with Example ID");
    form.shows("href=\"/login/oidc?next=/deployments\"");
    let told = app.anonymous().get("/api/v1/auth/provider").await;
    told.shows("\"start\":\"/login/oidc\"");
    assert_eq!(provider.asked(), [""; 0], "asked before anybody signs in");
    let client = signed_in(&app, &signs_in(&app).await);
    assert_eq!(role(&client).await, "developer");
    let user = store::find_user_by_email(app.ctx.db.reader(), "pat@example.com").await;
    let user = user.unwrap().unwrap();
    assert_eq!(
        (user.name.as_str(), user.password_hash.as_str()),
        ("Pat Example", "")
    );
    // The same person again, with another address by now.
    provider.person(|person| "new@example.com".clone_into(&mut person.email));
    let again = signed_in(&app, &signs_in(&app).await);
    let me = again.get("/api/v1/me").await;
    me.shows("\"email\":\"Pat@example.com\"");
    me.shows(&format!("\"id\":{}", user.id));
    // Signing out ends our session, and only that.
    let out = again.submit("/", "/logout", &[]).await;
    out.leads_to("/login");
    assert_eq!(again.get("/api/v1/me").await.status, 401);
    assert_eq!(client.get("/api/v1/me").await.status, 200);
    let told = app.admin().await.get("/api/v1/audit/export").await;
    told.shows("identity.link");
    told.shows("\"means\":\"provider\"");
}

#[tokio::test]
async fn keys_of_rsa_are_checked_too() {
    let provider = IdentityProvider::start(Algorithm::Rs256);
    in_groups(&provider, &["app"]);
    let app = app_with(&provider, |_| {}).await;
    let client = signed_in(&app, &signs_in(&app).await);
    assert_eq!(role(&client).await, "developer");
    provider.misbehaves(Some(Fault::BadSignature));
    is_refused(&signs_in(&app).await, 401, "cannot be trusted");
}

#[tokio::test]
async fn nothing_that_was_tampered_with_signs_anybody_in() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    for fault in [
        Fault::WrongNonce,
        Fault::NoNonce,
        Fault::WrongAudience,
        Fault::SharedAudience,
        Fault::Expired,
        Fault::BadSignature,
        Fault::ForeignKey,
        Fault::NoAlgorithm,
        Fault::SharedSecret,
        Fault::OtherIssuer,
        Fault::NoToken,
    ] {
        provider.misbehaves(Some(fault));
        let refused = signs_in(&app).await;
        assert_eq!(refused.status, 401, "{fault:?}: {}", refused.body);
        is_refused(&refused, 401, "cannot be trusted");
    }
    provider.misbehaves(Some(Fault::Refuses));
    is_refused(&signs_in(&app).await, 401, "It has not signed you in.");
    provider.misbehaves(Some(Fault::WrongState));
    is_refused(&signs_in(&app).await, 400, "was not begun in this browser");
    let users = store::count_users(app.ctx.db.reader()).await.unwrap();
    assert_eq!(users, 1, "somebody was made an account");
    provider.misbehaves(None);
    signed_in(&app, &signs_in(&app).await);
}

#[tokio::test]
async fn what_was_begun_in_one_browser_ends_there_and_once() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    let (mine, place) = begun(&app, "/deployments").await;
    let back = sent_back(&app, &place).await;
    let (other, _) = begun(&app, "/deployments").await;
    for browser in [&app.anonymous(), &other] {
        is_refused(
            &browser.get(&back).await,
            400,
            "was not begun in this browser",
        );
    }
    signed_in(&app, &mine.get(&back).await);
    is_refused(&mine.get(&back).await, 400, "was finished already");
    // A code that somebody has caught is worth nothing in a browser of theirs.
    let (_, place) = begun(&app, "/").await;
    let caught = sent_back(&app, &place).await;
    let code = caught
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let (thief, place) = begun(&app, "/").await;
    let own = sent_back(&app, &place).await;
    let own_code = own
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let forged = own.replace(own_code, code);
    is_refused(
        &thief.get(&forged).await,
        502,
        "does not answer as it should",
    );
}

#[tokio::test]
async fn nobody_is_led_to_another_site() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    for next in ["//evil.example", "https://evil.example", "/%5Cevil.example"] {
        let (browser, place) = begun(&app, next).await;
        let back = sent_back(&app, &place).await;
        browser.get(&back).await.leads_to("/");
    }
}

#[tokio::test]
async fn groups_give_the_role_on_every_sign_in() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    for (groups, expected) in [
        (&["everyone"][..], "viewer"),
        (&["everyone", "platform", "web"], "admin"),
        (&["leads"], "manager"),
        (&["x", "app"], "developer"),
    ] {
        in_groups(&provider, groups);
        let client = signed_in(&app, &signs_in(&app).await);
        assert_eq!(role(&client).await, expected, "{groups:?}");
    }
    // Whoever loses rights loses the sessions that had them.
    in_groups(&provider, &["platform"]);
    let before = signed_in(&app, &signs_in(&app).await);
    in_groups(&provider, &["web"]);
    let after = signed_in(&app, &signs_in(&app).await);
    assert_eq!(before.get("/api/v1/me").await.status, 401);
    assert_eq!(role(&after).await, "developer");
    for groups in [&[][..], &["x"]] {
        in_groups(&provider, groups);
        is_refused(&signs_in(&app).await, 403, "none of your groups has a role");
        assert_eq!(after.get("/api/v1/me").await.status, 401, "{groups:?}");
    }
}

#[tokio::test]
async fn a_default_role_lets_everybody_in() {
    let provider = provider();
    in_groups(&provider, &[]);
    let app = app_with(&provider, |settings| {
        settings.oidc.as_mut().unwrap().default_role = Some(SystemRole::Viewer);
    })
    .await;
    let client = signed_in(&app, &signs_in(&app).await);
    assert_eq!(role(&client).await, "viewer");
}

#[tokio::test]
async fn an_address_that_is_not_verified_or_taken_is_refused() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    provider.person(|person| person.is_verified = false);
    is_refused(&signs_in(&app).await, 403, "your address is verified");
    provider.person(|person| person.is_verified = true);
    app.create_user("pat@example.com", "Local", SystemRole::Viewer)
        .await;
    is_refused(
        &signs_in(&app).await,
        403,
        "there is a local account with your address",
    );
}

#[tokio::test]
async fn a_local_account_is_linked_where_the_settings_say_so_and_never_an_admins() {
    let provider = provider();
    let app = app_with(&provider, |settings| {
        settings.oidc.as_mut().unwrap().link_by_email = true;
    })
    .await;
    app.create_user("pat@example.com", "Local", SystemRole::Viewer)
        .await;
    let client = signed_in(&app, &signs_in(&app).await);
    client.get("/api/v1/me").await.shows("\"name\":\"Local\"");
    assert_eq!(role(&client).await, "developer");
    provider.person(|person| {
        "subject-2".clone_into(&mut person.subject);
        "admin@example.com".clone_into(&mut person.email);
    });
    is_refused(
        &signs_in(&app).await,
        403,
        "there is a local account with your address",
    );
}

#[tokio::test]
async fn a_disabled_account_stays_out() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    let client = signed_in(&app, &signs_in(&app).await);
    let user = store::find_user_by_email(app.ctx.db.reader(), "pat@example.com").await;
    let change = account::service::UserChange {
        disabled: Some(true),
        ..Default::default()
    };
    let id = user.unwrap().unwrap().id;
    account::service::update_user(&app.ctx, &app.admin, id, change, slipway_core::db::now())
        .await
        .unwrap();
    assert_eq!(client.get("/api/v1/me").await.status, 401);
    is_refused(&signs_in(&app).await, 403, "your account is disabled");
}

#[tokio::test]
async fn new_keys_of_the_provider_are_taken_up() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    signed_in(&app, &signs_in(&app).await);
    let described = |provider: &IdentityProvider| {
        let asked = provider.asked().into_iter();
        asked.filter(|path| path == "/keys").count()
    };
    assert_eq!(described(&provider), 1);
    signed_in(&app, &signs_in(&app).await);
    assert_eq!(described(&provider), 1, "the keys are not kept");
    provider.rotates();
    signed_in(&app, &signs_in(&app).await);
    assert_eq!(described(&provider), 2);
}

#[tokio::test]
async fn a_provider_that_fails_is_said_to_and_harms_nothing_else() {
    let provider = provider();
    let app = app_with(&provider, |settings| {
        settings.oidc.as_mut().unwrap().local_sign_in = LocalSignIn::AdminsOnly;
    })
    .await;
    provider.misbehaves(Some(Fault::Fails));
    let refused = app.anonymous().get("/login/oidc").await;
    is_refused(&refused, 502, "It cannot be reached");
    // The local Admin signs in all the same; others may not with a password here.
    let fields = [
        ("email", "admin@example.com"),
        ("password", PASSWORD),
        ("next", "/"),
    ];
    app.anonymous().post("/login", &fields).await.leads_to("/");
    app.create_user("dev@example.com", "Dev", SystemRole::Developer)
        .await;
    let fields = [
        ("email", "dev@example.com"),
        ("password", PASSWORD),
        ("next", "/"),
    ];
    let dev = app.anonymous().post("/login", &fields).await;
    assert_eq!(dev.status, 401);
    dev.shows("Admins: with a password");
}

#[tokio::test]
async fn a_provider_that_talks_nonsense_or_of_another_is_not_believed() {
    for fault in [Fault::TalksNonsense, Fault::OtherDescription] {
        let provider = provider();
        let app = app_with(&provider, |_| {}).await;
        provider.misbehaves(Some(fault));
        let refused = app.anonymous().get("/login/oidc").await;
        is_refused(&refused, 502, "It cannot be reached");
    }
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_nobody_but_those_who_wait_for_it() {
    let provider = provider();
    let app = app_with(&provider, |_| {}).await;
    provider.misbehaves(Some(Fault::Hangs));
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let browser = app.anonymous();
            tokio::spawn(async move { browser.get("/login/oidc").await })
        })
        .collect();
    let fields = [
        ("email", "admin@example.com"),
        ("password", PASSWORD),
        ("next", "/"),
    ];
    app.anonymous().post("/login", &fields).await.leads_to("/");
    assert!(waiting.iter().all(|it| !it.is_finished()));
    for refused in waiting {
        is_refused(&refused.await.unwrap(), 502, "It cannot be reached");
    }
    let asked = provider.asked();
    assert_eq!(asked.len(), 1, "everybody asks by themselves: {asked:?}");
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_the_provider_too() {
    let provider = provider();
    let app = app_with(&provider, |settings| {
        settings.oidc.as_mut().unwrap().link_by_email = true;
    })
    .await;
    app.create_user("pat@example.com", "Local", SystemRole::Developer)
        .await;
    let local = app.client_of("pat@example.com").await;
    enrol(&app, &local).await;
    let asked = signs_in(&app).await;
    asked.leads_to("/login/code?next=/deployments");
    let step = set_cookie(&asked, "slipway_second_step");
    let browser = app.anonymous().holding("slipway_second_step", &step);
    let digits = next_code(&app, &local).await;
    let fields = [("code", digits.as_str()), ("next", "/deployments")];
    browser
        .post("/login/code", &fields)
        .await
        .leads_to("/deployments");
}

#[tokio::test]
async fn without_a_provider_there_is_no_button() {
    let app = TestApp::spawn().await;
    app.anonymous().get("/login").await.hides("/login/oidc");
    assert_eq!(app.anonymous().get("/login/oidc").await.status, 404);
}

#[tokio::test]
async fn a_terse_provider_is_asked_who_it_is() {
    let provider = provider();
    provider.is_terse();
    let app = app_with(&provider, |_| {}).await;
    let client = signed_in(&app, &signs_in(&app).await);
    assert_eq!(role(&client).await, "developer");
    client.get("/api/v1/me").await.shows("Pat Example");
    // What it does not tell must not pass for somebody without groups.
    for fault in [Fault::OtherPerson, Fault::TellsNobody] {
        provider.misbehaves(Some(fault));
        is_refused(&signs_in(&app).await, 502, "does not answer as it should");
        assert_eq!(client.get("/api/v1/me").await.status, 200, "{fault:?}");
    }
}
