//! Short-lived cookies that bind the steps of a sign-in to one browser.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
};
use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::ctx::Ctx;

use crate::auth::is_tls;

/// A cookie for some minutes.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    name: &'static str,
    tls_name: &'static str,
    minutes: i64,
}

impl Brief {
    /// Proves the first step of a sign-in.
    pub const SECOND_STEP: Self = Self {
        name: "slipway_second_step",
        tls_name: "__Host-slipway_second_step",
        minutes: 5,
    };

    /// Keeps the secret of a sign-in at the identity provider.
    pub const PROVIDER: Self = Self {
        name: "slipway_provider",
        tls_name: "__Host-slipway_provider",
        minutes: 10,
    };

    fn name(self, ctx: &Ctx) -> &'static str {
        if is_tls(ctx) {
            self.tls_name
        } else {
            self.name
        }
    }

    /// The value that a browser sent.
    #[must_use]
    pub fn read(self, ctx: &Ctx, request: &HttpRequest) -> Option<String> {
        let cookie = request.cookie(self.name(ctx))?;
        Some(cookie.value().to_owned()).filter(|value| !value.is_empty())
    }

    /// The cookie that gives a browser the value.
    #[must_use]
    pub fn holding(self, ctx: &Ctx, value: &SecretString) -> Cookie<'static> {
        // Lax, as a provider's page leads back to us.
        Cookie::build(self.name(ctx), value.expose_secret().to_owned())
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(is_tls(ctx))
            .max_age(Duration::minutes(self.minutes))
            .finish()
    }

    /// The cookie that makes a browser forget the value.
    #[must_use]
    pub fn forgotten(self, ctx: &Ctx) -> Cookie<'static> {
        let mut cookie = Cookie::build(self.name(ctx), "")
            .path("/")
            .http_only(true)
            .secure(is_tls(ctx))
            .finish();
        cookie.make_removal();
        cookie
    }
}
