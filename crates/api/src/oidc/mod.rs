//! The identity provider's side of a sign-in (`OpenID` Connect, authorization code with PKCE): asks it,
//! and checks what it signed. Who its people are here, and what they may, is core's concern.
//!
//! The provider is asked only when somebody signs in through it. While it is away that takes a time
//! limit at most, and touches nothing else.

mod bound;
mod fetch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openidconnect::{
    AdditionalClaims, AuthType, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    DiscoveryError, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardErrorResponse, StandardTokenResponse,
    SubjectIdentifier, TokenResponse as _, UserInfoClaims, UserInfoError, UserInfoUrl,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod,
        CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
        CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use slipway_core::{account::provider::Identity, settings::Oidc};
use tokio::sync::Mutex;

pub use self::bound::is_state_of;
use self::{bound::Bound, fetch::fetch};

/// Where a browser begins to sign in at the provider.
pub const START: &str = "/login/oidc";
/// Where the provider sends people back to.
pub const CALLBACK: &str = "/login/oidc/callback";
/// How long one answer of the provider may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what the provider says of itself is believed.
const KEPT: Duration = Duration::from_secs(3600);
/// How long it is left alone after it has failed.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// Everything in an ID token that has no field of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Claims {
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl AdditionalClaims for Claims {}

type Fields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type Answer = StandardTokenResponse<Fields, CoreTokenType>;

type Asking = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why somebody cannot be signed in by the provider. What it is exactly is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It cannot be reached, or does not answer as it should.
    #[error("the identity provider does not answer as it should")]
    Away(#[source] anyhow::Error),
    /// What it signed is not for us, not for this sign-in, or not signed by it.
    #[error("what the identity provider answered cannot be trusted")]
    Untrusted(#[source] anyhow::Error),
}

/// What the provider tells of somebody.
#[derive(Debug)]
struct Told {
    identity: Identity,
    /// None while it has not spoken of groups.
    groups: Option<Vec<String>>,
}

#[derive(Debug, Default)]
struct Known {
    metadata: Option<(Instant, Arc<CoreProviderMetadata>)>,
    failed_at: Option<Instant>,
}

/// The configured provider.
#[derive(Clone, Debug)]
pub struct Provider {
    settings: Oidc,
    redirect: RedirectUrl,
    http: reqwest::Client,
    known: Arc<Mutex<Known>>,
}

/// With what is known of a connection that failed.
fn because(why: anyhow::Error, source: Option<fetch::FetchError>) -> anyhow::Error {
    match source {
        Some(source) => anyhow::Error::new(source).context(why),
        None => why,
    }
}

impl Provider {
    /// Reads the settings; the provider is not asked yet.
    ///
    /// # Errors
    /// When an address is none.
    pub fn new(settings: &Oidc, public_url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let base = public_url.trim_end_matches('/');
        Ok(Self {
            redirect: RedirectUrl::new(format!("{base}{CALLBACK}"))?,
            settings: settings.clone(),
            http,
            known: Arc::default(),
        })
    }

    /// The settings that it was made with.
    #[must_use]
    pub fn settings(&self) -> &Oidc {
        &self.settings
    }

    /// Where a browser goes that keeps this secret.
    ///
    /// # Errors
    /// [`Trouble::Away`].
    pub async fn start_url(&self, secret: &SecretString) -> Result<String, Trouble> {
        let client = self.client().await?;
        let bound = Bound::of(secret.expose_secret());
        let verifier = PkceCodeVerifier::new(bound.verifier.expose_secret().to_owned());
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let (state, nonce) = (bound.state, bound.nonce);
        let mut request = client
            .authorize_url(
                flow,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for scope in &self.settings.scopes {
            // It is asked for already.
            if scope != "openid" {
                request = request.add_scope(Scope::new(scope.clone()));
            }
        }
        Ok(request.url().0.into())
    }

    /// Exchanges what a browser brought back, and checks who it is.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn identity(&self, code: String, secret: &str) -> Result<Identity, Trouble> {
        let client = self.client().await?;
        let bound = Bound::of(secret);
        let verifier = PkceCodeVerifier::new(bound.verifier.expose_secret().to_owned());
        let answer: Answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| Trouble::Away(error.into()))?
            .set_pkce_verifier(verifier)
            .request_async(&|request| fetch(self.http.clone(), request))
            .await
            .map_err(|error| {
                // In full it would hold the answer, with its tokens.
                let why = anyhow::anyhow!("exchanging the code: {error}");
                let source = if let RequestTokenError::Request(source) = error {
                    Some(source)
                } else {
                    None
                };
                Trouble::Away(because(why, source))
            })?;
        let nonce = Nonce::new(bound.nonce);
        let told = match self.checked(&client, &answer, &nonce) {
            Ok(told) => told,
            Err(first) => {
                // Its keys may have changed since they were read.
                tracing::debug!(error = ?first, "an ID token was not accepted; reading the keys again");
                self.known.lock().await.metadata = None;
                let client = self.client().await?;
                let checked = self.checked(&client, &answer, &nonce);
                checked.map_err(Trouble::Untrusted)?
            }
        };
        let told = self.completed(&client, &answer, told).await?;
        Ok(Identity {
            groups: told.groups.unwrap_or_default(),
            ..told.identity
        })
    }

    /// Asks for what the ID token does not tell. A failure must not pass for somebody without groups.
    async fn completed(
        &self,
        client: &Asking,
        answer: &Answer,
        mut told: Told,
    ) -> Result<Told, Trouble> {
        let is_complete = told.identity.verified_email.is_some() && told.groups.is_some();
        if is_complete || client.user_info_url().is_none() {
            return Ok(told);
        }
        let subject = SubjectIdentifier::new(told.identity.subject.clone());
        let request = client
            .user_info(answer.access_token().clone(), Some(subject))
            .map_err(|error| Trouble::Away(error.into()))?;
        let claims: UserInfoClaims<Claims, CoreGenderClaim> = request
            .request_async(&|request| fetch(self.http.clone(), request))
            .await
            .map_err(|error| {
                let why = anyhow::anyhow!("asking who it is: {error}");
                let source = if let UserInfoError::Request(source) = error {
                    Some(source)
                } else {
                    None
                };
                Trouble::Away(because(why, source))
            })?;
        let email = claims.email().map(|email| email.as_str().to_owned());
        let email = email.filter(|_| claims.email_verified() == Some(true));
        let name = claims.name().and_then(|name| name.get(None));
        let name = name.map(|name| name.as_str().to_owned());
        let groups = claims
            .additional_claims()
            .rest
            .get(&self.settings.groups_claim);
        told.identity.verified_email = told.identity.verified_email.or(email);
        told.identity.name = told.identity.name.or(name);
        told.groups = told.groups.or_else(|| groups.map(texts));
        Ok(told)
    }

    fn checked(&self, client: &Asking, answer: &Answer, nonce: &Nonce) -> anyhow::Result<Told> {
        let token = answer
            .id_token()
            .ok_or_else(|| anyhow::anyhow!("there is no ID token"))?;
        // No algorithm with a shared secret, and not `none`.
        let verifier = client.id_token_verifier().set_allowed_algs([
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
            CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            CoreJwsSigningAlgorithm::EcdsaP384Sha384,
            CoreJwsSigningAlgorithm::EdDsa,
        ]);
        let claims = token.claims(&verifier, nonce)?;
        let is_verified = claims.email_verified() == Some(true);
        let email = claims.email().map(|email| email.as_str().to_owned());
        let name = claims.name().and_then(|name| name.get(None));
        let name = name.map(|name| name.as_str().to_owned());
        let subject = claims.subject().as_str().to_owned();
        anyhow::ensure!(
            !subject.is_empty() && subject.len() <= 255,
            "the subject has {} bytes",
            subject.len()
        );
        let groups = claims
            .additional_claims()
            .rest
            .get(&self.settings.groups_claim);
        let identity = Identity {
            issuer: claims.issuer().as_str().to_owned(),
            subject,
            verified_email: email.filter(|_| is_verified),
            name,
            groups: Vec::new(),
        };
        Ok(Told {
            identity,
            groups: groups.map(texts),
        })
    }

    async fn client(&self) -> Result<Asking, Trouble> {
        let metadata = self.metadata().await?;
        let settings = &self.settings;
        let secret = settings.client_secret.as_ref();
        let secret = secret.map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
        let metadata = CoreProviderMetadata::clone(&metadata);
        let takes_basic = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let client_id = ClientId::new(settings.client_id.clone().unwrap_or_default());
        let client = Client::from_provider_metadata(metadata, client_id, secret)
            .set_redirect_uri(self.redirect.clone());
        Ok(client.set_auth_type(if takes_basic {
            AuthType::BasicAuth
        } else {
            AuthType::RequestBody
        }))
    }

    /// What the provider says of itself. Only one asks it at a time, and nobody for some seconds
    /// after it has failed.
    async fn metadata(&self) -> Result<Arc<CoreProviderMetadata>, Trouble> {
        let mut known = self.known.lock().await;
        if let Some((read_at, metadata)) = &known.metadata
            && read_at.elapsed() < KEPT
        {
            return Ok(Arc::clone(metadata));
        }
        if known.failed_at.is_some_and(|at| at.elapsed() < LEFT_ALONE) {
            return Err(Trouble::Away(anyhow::anyhow!("it has failed just now")));
        }
        match self.discovered().await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                known.failed_at = None;
                known.metadata = Some((Instant::now(), Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(error) => {
                known.failed_at = Some(Instant::now());
                Err(Trouble::Away(error))
            }
        }
    }

    async fn discovered(&self) -> anyhow::Result<CoreProviderMetadata> {
        let issuer = IssuerUrl::new(self.settings.issuer.clone().unwrap_or_default())?;
        let is_secure = issuer.url().scheme() == "https";
        let http = &|request| fetch(self.http.clone(), request);
        let metadata = CoreProviderMetadata::discover_async(issuer, http)
            .await
            .map_err(|error| {
                let why = anyhow::anyhow!("reading its description: {error}");
                let source = if let DiscoveryError::Request(source) = error {
                    Some(source)
                } else {
                    None
                };
                because(why, source)
            })?;
        let token = metadata.token_endpoint();
        let token = token.ok_or_else(|| anyhow::anyhow!("it names no token endpoint"))?;
        let person = metadata.userinfo_endpoint().map(UserInfoUrl::url);
        let addresses = [
            Some(metadata.authorization_endpoint().url()),
            Some(token.url()),
            Some(metadata.jwks_uri().url()),
            person,
        ];
        let weak = addresses
            .iter()
            .flatten()
            .find(|url| url.scheme() != "https");
        if let Some(url) = weak.filter(|_| is_secure) {
            anyhow::bail!("it names an address without TLS: {url}");
        }
        Ok(metadata)
    }
}

/// Groups as a list, or a single one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        Value::String(one) => vec![one.clone()],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_in_a_list_or_alone() {
        let read = |text: &str| texts(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"["a", 1, "b"]"#), ["a", "b"]);
        assert_eq!(read(r#""a""#), ["a"]);
        assert_eq!(read(r#"{"a": true}"#), [""; 0]);
    }
}
