//! An identity provider (`OpenID` Connect) on a free loopback port, that checks what it is sent as a
//! strict one does, and misbehaves when it is told to. Its keys are made when it starts.

mod behaviour;
mod http;
mod keys;

use std::{
    collections::HashMap,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::behaviour::{Algorithm, Fault, Person};
use self::{
    http::{Reply, Request},
    keys::Key,
};

/// The client that it knows.
pub const CLIENT_ID: &str = "slipway-test";
/// That client's secret.
pub const CLIENT_SECRET: &str = "a secret of the client & = % +";

const ACCESS_TOKEN: &str = "an-access-token";
/// What a terse ID token does not tell.
const PERSONAL: [&str; 4] = ["email", "email_verified", "name", "groups"];

struct Begun {
    challenge: String,
    nonce: String,
    redirect: String,
}

struct State {
    person: Person,
    fault: Option<Fault>,
    /// Whether it shows a page before it sends people back.
    asks: bool,
    /// Whether the ID token tells no more than it must.
    is_terse: bool,
    key: Key,
    begun: HashMap<String, Begun>,
    asked: Vec<String>,
    made: u64,
}

/// A provider for one test; it ends with the process.
#[derive(Clone)]
pub struct IdentityProvider {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityProvider({})", self.port)
    }
}

impl IdentityProvider {
    /// Starts one that signs in this way.
    ///
    /// # Panics
    /// When no port or no key is to be had.
    #[must_use]
    pub fn start(algorithm: Algorithm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let person = Person {
            subject: "subject-1".to_owned(),
            email: "Pat@example.com".to_owned(),
            is_verified: true,
            groups: Vec::new(),
        };
        let state = State {
            person,
            fault: None,
            asks: false,
            is_terse: false,
            key: Key::new(algorithm, 1),
            begun: HashMap::new(),
            asked: Vec::new(),
            made: 0,
        };
        let provider = Self {
            port,
            state: Arc::new(Mutex::new(state)),
        };
        let serving = provider.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.answer(stream));
            }
        });
        provider
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets somebody else sign in there, or the same person as somebody else.
    pub fn person(&self, change: impl FnOnce(&mut Person)) {
        change(&mut self.state().person);
    }

    /// Does something wrong from now on, or nothing.
    pub fn misbehaves(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Shows a page with a link, `#continue`, before it sends people back.
    pub fn asks_first(&self) {
        self.state().asks = true;
    }

    /// Tells address and groups only to whoever asks with the access token.
    pub fn is_terse(&self) {
        self.state().is_terse = true;
    }

    /// Signs with another key from now on, and publishes only that.
    pub fn rotates(&self) {
        let mut state = self.state();
        let key = Key::new(state.key.algorithm(), state.key.number() + 1);
        state.key = key;
    }

    /// The paths that it was asked for so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn answer(&self, stream: TcpStream) -> Option<()> {
        let request = http::read(&stream)?;
        self.state().asked.push(request.path.clone());
        let fault = self.state().fault;
        let reply = match fault {
            Some(Fault::Hangs) => {
                http::wait_until_left(stream);
                return None;
            }
            Some(Fault::Fails) => Reply::text(500, "out of order"),
            Some(Fault::TalksNonsense) => Reply::html("<h1>Welcome</h1>"),
            _ => self.reply(&request),
        };
        http::write(&stream, &reply)
    }

    fn reply(&self, request: &Request) -> Reply {
        match request.path.as_str() {
            "/.well-known/openid-configuration" => Reply::json(&self.description()),
            "/keys" => {
                let keys = [self.state().key.published()];
                Reply::json(&json!({ "keys": keys }))
            }
            "/authorize" => self.authorize(request),
            "/person" => self.told(request),
            "/token" => match self.token(request) {
                Ok(answer) => Reply::json(&answer),
                Err(why) => {
                    let body = json!({ "error": "invalid_grant", "error_description": why });
                    Reply::json(&body).with_status(400)
                }
            },
            _ => Reply::text(404, "nothing here"),
        }
    }

    fn description(&self) -> Value {
        let issuer = self.issuer();
        let is_other = self.state().fault == Some(Fault::OtherDescription);
        let told = if is_other {
            "https://other.example".to_owned()
        } else {
            issuer.clone()
        };
        json!({
            "issuer": told,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/person"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        })
    }

    fn authorize(&self, request: &Request) -> Reply {
        let value = |name: &str| request.value(name).unwrap_or_default();
        let scopes = value("scope");
        let is_right = value("client_id") == CLIENT_ID
            && value("response_type") == "code"
            && value("code_challenge_method") == "S256"
            && scopes.split(' ').any(|scope| scope == "openid")
            && !value("state").is_empty();
        if !is_right {
            return Reply::text(400, "that is no request for a code");
        }
        let mut state = self.state();
        if state.asks && request.value("continue").is_none() {
            let place = format!("/authorize?{}&continue=1", request.query);
            let place = place.replace('&', "&amp;");
            let page = format!(
                "<title>Elsewhere</title><h1>Elsewhere</h1><a id=\"continue\" href=\"{place}\">Continue</a>"
            );
            return Reply::html(&page);
        }
        state.made += 1;
        let code = format!("code-{}", state.made);
        let begun = Begun {
            challenge: value("code_challenge"),
            nonce: value("nonce"),
            redirect: value("redirect_uri"),
        };
        state.begun.insert(code.clone(), begun);
        let mut place = url::Url::parse(&value("redirect_uri")).expect("an address to go back to");
        let told = match state.fault {
            Some(Fault::WrongState) => "another".to_owned(),
            _ => value("state"),
        };
        place.query_pairs_mut().append_pair("state", &told);
        if state.fault == Some(Fault::Refuses) {
            let pair = ("error", "access_denied");
            place.query_pairs_mut().append_pair(pair.0, pair.1);
        } else {
            place.query_pairs_mut().append_pair("code", &code);
        }
        place.query_pairs_mut().append_pair("iss", &self.issuer());
        Reply::redirect(place.as_str())
    }

    fn token(&self, request: &Request) -> Result<Value, &'static str> {
        let value = |name: &str| request.value(name).unwrap_or_default();
        if request.client().as_ref() != Some(&(CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())) {
            return Err("that is not our client");
        }
        if value("grant_type") != "authorization_code" {
            return Err("that is another grant");
        }
        let begun = self.state().begun.remove(&value("code"));
        let begun = begun.ok_or("there is no such code, or it was used")?;
        if begun.redirect != value("redirect_uri") {
            return Err("that is another address");
        }
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(value("code_verifier")));
        if begun.challenge != challenge {
            return Err("that is not who has begun it");
        }
        let gives_one = self.state().fault != Some(Fault::NoToken);
        let token = gives_one.then(|| self.id_token(&begun.nonce));
        let mut answer = Claims::new();
        set(&mut answer, "access_token", json!(ACCESS_TOKEN));
        set(&mut answer, "token_type", json!("Bearer"));
        set(&mut answer, "expires_in", json!(300));
        if let Some(token) = token {
            set(&mut answer, "id_token", json!(token));
        }
        Ok(Value::Object(answer))
    }

    fn told(&self, request: &Request) -> Reply {
        let state = self.state();
        if !request.bears(ACCESS_TOKEN) || state.fault == Some(Fault::TellsNobody) {
            return Reply::text(401, "that is none of your business");
        }
        let claims = self.all_claims(&state, "");
        let mut claims: Claims = claims
            .into_iter()
            .filter(|(name, _)| name == "sub" || PERSONAL.contains(&name.as_str()))
            .collect();
        if state.fault == Some(Fault::OtherPerson) {
            set(&mut claims, "sub", json!("somebody-else"));
        }
        Reply::json(&Value::Object(claims))
    }

    fn id_token(&self, nonce: &str) -> String {
        let state = self.state();
        let mut claims = self.claims(&state, nonce);
        match state.fault {
            Some(Fault::BadSignature) => {
                let signed = state.key.signed(&claims);
                set(&mut claims, "sub", json!("somebody-else"));
                keys::with_other_claims(&signed, &claims)
            }
            Some(Fault::ForeignKey) => {
                Key::new(state.key.algorithm(), state.key.number()).signed(&claims)
            }
            Some(Fault::NoAlgorithm) => keys::unsigned(&claims),
            Some(Fault::SharedSecret) => keys::signed_with_secret(&claims, CLIENT_SECRET),
            _ => state.key.signed(&claims),
        }
    }

    fn claims(&self, state: &State, nonce: &str) -> Claims {
        let mut claims = self.all_claims(state, nonce);
        if state.is_terse {
            claims.retain(|name, _| !PERSONAL.contains(&name.as_str()));
        }
        claims
    }

    fn all_claims(&self, state: &State, nonce: &str) -> Claims {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is after 1970").as_secs();
        let mut claims = Claims::new();
        for (name, value) in [
            ("iss", json!(self.issuer())),
            ("aud", json!(CLIENT_ID)),
            ("sub", json!(state.person.subject)),
            ("iat", json!(now)),
            ("exp", json!(now + 300)),
            ("nonce", json!(nonce)),
            ("email", json!(state.person.email)),
            ("email_verified", json!(state.person.is_verified)),
            ("name", json!("Pat Example")),
            ("groups", json!(state.person.groups)),
        ] {
            set(&mut claims, name, value);
        }
        match state.fault {
            Some(Fault::WrongNonce) => set(&mut claims, "nonce", json!("another")),
            Some(Fault::NoNonce) => drop(claims.remove("nonce")),
            Some(Fault::WrongAudience) => set(&mut claims, "aud", json!("another")),
            Some(Fault::SharedAudience) => {
                set(&mut claims, "aud", json!([CLIENT_ID, "another"]));
            }
            Some(Fault::Expired) => {
                set(&mut claims, "iat", json!(now - 3_900));
                set(&mut claims, "exp", json!(now - 3_600));
            }
            Some(Fault::OtherIssuer) => set(&mut claims, "iss", json!("https://other.example")),
            _ => {}
        }
        claims
    }
}

/// What a token says.
type Claims = serde_json::Map<String, Value>;

fn set(claims: &mut Claims, name: &str, value: Value) {
    claims.insert(name.to_owned(), value);
}
