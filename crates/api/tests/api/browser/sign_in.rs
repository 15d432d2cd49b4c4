//! Signing in with a second factor, and at an identity provider, as a person does it.

use chrono::Utc;
use slipway_core::access::SystemRole;
use slipway_testkit::provider::{Algorithm, IdentityProvider};

use super::{
    at,
    chromium::{Look, with_chromium},
    fill, press, reads, text,
};
use crate::{
    app::{PASSWORD, TestApp},
    json::factor::{code, next_code},
    oidc::app_with,
};

#[tokio::test]
async fn a_second_factor_is_switched_on_and_asked_for() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    let email = client.actor().email.clone();
    with_chromium(Look::default(), async |page| {
        let place = format!("{}/account/second-factor", app.origin);
        page.goto(&place).await.unwrap();
        reads(page, "h1", "Sign in").await;
        fill(page, "#email", &email).await;
        fill(page, "#password", PASSWORD).await;
        press(page, "button.primary").await;
        at(page, "/account/second-factor").await;
        fill(page, "input[name=password]", PASSWORD).await;
        press(page, "main button.primary").await;
        reads(page, "h2", "Tell your authenticator").await;
        // What is drawn is black on white, however dark the page is.
        let drawn = "return getComputedStyle(document.querySelector('.qr rect')).fill";
        let drawn = page.execute(drawn, vec![]).await.unwrap();
        assert_eq!(drawn, "rgb(255, 255, 255)");
        let digits = code(&app, &client, Utc::now()).await;
        fill(page, "input[name=code]", &digits).await;
        press(page, "main button.primary").await;
        reads(page, "h2", "Your recovery codes").await;
        let recovery = text(page, "#recovery-codes code").await;
        press(page, ".who button").await;
        at(page, "/login").await;
        fill(page, "#email", &email).await;
        fill(page, "#password", PASSWORD).await;
        press(page, "button.primary").await;
        at(page, "/login/code").await;
        let next = next_code(&app, &client).await;
        fill(page, "#code", &next).await;
        press(page, "button.primary").await;
        at(page, "/").await;
        press(page, ".who button").await;
        at(page, "/login").await;
        fill(page, "#email", &email).await;
        fill(page, "#password", PASSWORD).await;
        press(page, "button.primary").await;
        at(page, "/login/code").await;
        press(page, "a[href$='recovery=1']").await;
        reads(page, "label[for=code]", "Recovery code").await;
        fill(page, "#code", &recovery).await;
        press(page, "button.primary").await;
        at(page, "/").await;
    })
    .await;
}

#[tokio::test]
async fn somebody_signs_in_at_the_provider_and_comes_back() {
    let provider = IdentityProvider::start(Algorithm::Es256);
    provider.person(|person| person.groups = vec!["web".to_owned()]);
    provider.asks_first();
    let app = app_with(&provider, |_| {}).await;
    with_chromium(Look::default(), async |page| {
        let place = format!("{}/deployments", app.origin);
        page.goto(&place).await.unwrap();
        reads(page, "h1", "Sign in").await;
        press(page, "a.button").await;
        reads(page, "h1", "Elsewhere").await;
        press(page, "#continue").await;
        at(page, "/deployments").await;
        reads(page, ".who-name", "Pat Example").await;
        press(page, ".who button").await;
        at(page, "/login").await;
    })
    .await;
}

#[tokio::test]
async fn pages_of_signing_in_fit_a_small_phone() {
    let provider = IdentityProvider::start(Algorithm::Es256);
    let app = app_with(&provider, |_| {}).await;
    let client = app.client_as(SystemRole::Developer).await;
    let email = client.actor().email.clone();
    let look = Look {
        width: 360,
        ..Look::default()
    };
    let fits = async |page: &fantoccini::Client| {
        let sizes = "return [innerWidth, document.documentElement.scrollWidth]";
        let sizes = page.execute(sizes, vec![]).await.unwrap();
        assert_eq!(sizes, serde_json::json!([360, 360]));
    };
    with_chromium(look, async |page| {
        let place = format!("{}/account/second-factor", app.origin);
        page.goto(&place).await.unwrap();
        reads(page, "h1", "Sign in").await;
        fits(page).await;
        fill(page, "#email", &email).await;
        fill(page, "#password", PASSWORD).await;
        press(page, "button.primary").await;
        at(page, "/account/second-factor").await;
        fits(page).await;
        fill(page, "input[name=password]", PASSWORD).await;
        press(page, "main button.primary").await;
        reads(page, "h2", "Tell your authenticator").await;
        fits(page).await;
        let digits = code(&app, &client, Utc::now()).await;
        fill(page, "input[name=code]", &digits).await;
        press(page, "main button.primary").await;
        reads(page, "h2", "Your recovery codes").await;
        fits(page).await;
        page.goto(&place).await.unwrap();
        reads(page, "h2", "New recovery codes").await;
        fits(page).await;
    })
    .await;
}
