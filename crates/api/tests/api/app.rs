//! A real server on a free port, with a database of its own and clients of every role.

use std::{collections::BTreeMap, net::TcpListener};

use reqwest::{Method, RequestBuilder, header::HeaderMap, redirect::Policy};
use sea_orm::ActiveValue::Set;
use secrecy::{ExposeSecret as _, SecretString};
use slipway_api::{auth::COOKIE, server};
use slipway_core::{
    access::{Actor, SystemRole},
    account::{
        self, first_admin,
        password::Password,
        service::NewUser,
        sign_in::{Origin, Passed},
    },
    ctx::Ctx,
    db::{self, Db},
    id::UserId,
    recovery::duties,
    schema,
    settings::{
        Settings,
        load::{Source, load},
    },
    start,
    vault::key::{MasterKey, SessionSecret},
};
use slipway_testkit::{TestDatabase, sqlite_database};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

/// The password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A running server.
pub(crate) struct TestApp {
    /// What the server itself works with.
    pub(crate) ctx: Ctx,
    /// `http://host:port`.
    pub(crate) origin: String,
    /// The first account.
    pub(crate) admin: Actor,
    stop: CancellationToken,
    server: actix_web::dev::ServerHandle,
    _database: TestDatabase,
}

impl TestApp {
    /// Starts a server as it comes.
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    /// Starts a server with other settings.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::spawn_at(|settings, _| change(settings)).await
    }

    /// Starts a server with other settings, which may name its address.
    pub(crate) async fn spawn_at(change: impl FnOnce(&mut Settings, &str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        // The process has one TLS provider, whichever test is first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let database = sqlite_database();
        let mut settings = settings(&database);
        change(&mut settings, &origin);
        let db = Db::connect(&settings.database).await.unwrap();
        schema::migrate(&db, &settings.database).await.unwrap();
        let backends = slipway_queue::in_memory();
        let providers = slipway_notify::registry(&settings.notifications).unwrap();
        let ctx = start::open(settings, backends.queue, backends.bus)
            .await
            .unwrap()
            .with_providers(providers);
        duties::probe_once(&ctx).await;
        let wanted = first_admin::Wanted {
            email: Some("admin@example.com".to_owned()),
            password: Some(PASSWORD.into()),
        };
        first_admin::ensure(&ctx, wanted, db::now()).await.unwrap();
        let admin = signed_in(&ctx, "admin@example.com").await.1;
        let stop = CancellationToken::new();
        let state = server::State::new(ctx.clone(), stop.clone()).unwrap();
        let server = server::build(state, listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            ctx,
            origin,
            admin,
            stop,
            server: handle,
            _database: database,
        }
    }

    /// A client that is not signed in.
    pub(crate) fn anonymous(&self) -> Client {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy();
        Client {
            http: http.build().unwrap(),
            origin: self.origin.clone(),
            cookie: None,
            other: None,
            actor: None,
        }
    }

    /// A client with a session of the first account.
    pub(crate) async fn admin(&self) -> Client {
        self.client_of(&self.admin.email).await
    }

    /// A client with a session of a new account.
    pub(crate) async fn client_as(&self, role: SystemRole) -> Client {
        let email = format!("{}-{}@example.com", role.as_str(), unique());
        self.create_user(&email, "Somebody", role).await;
        self.client_of(&email).await
    }

    /// Makes an account.
    pub(crate) async fn create_user(&self, email: &str, name: &str, role: SystemRole) {
        let input = NewUser {
            email: email.parse().unwrap(),
            name: name.parse().unwrap(),
            role,
            password: Password::new(SecretString::from(PASSWORD)).unwrap(),
        };
        account::service::create_user(&self.ctx, &self.admin, input, db::now())
            .await
            .unwrap();
    }

    /// An account that nobody signs in to.
    pub(crate) async fn plain_user(&self, email: &str, role: SystemRole) -> UserId {
        let now = db::now();
        let row = account::entity::user::ActiveModel {
            email: Set(email.to_owned()),
            email_key: Set(email.to_owned()),
            name: Set("Somebody".to_owned()),
            role: Set(role),
            password_hash: Set("none".to_owned()),
            created_at: Set(now),
            updated_at: Set(now),
            ..Default::default()
        };
        let inserted = account::store::insert_user(self.ctx.db.writer(), row).await;
        inserted.unwrap().id
    }

    /// A client with a session of an account, without the work of a password.
    pub(crate) async fn session_of(&self, user: UserId) -> Client {
        let (now, new) = (db::now(), account::session::generate().unwrap());
        let row = account::entity::session::ActiveModel {
            user_id: Set(user),
            token_hash: Set(new.hash),
            address: Set("127.0.0.1".to_owned()),
            user_agent: Set(String::new()),
            created_at: Set(now),
            seen_at: Set(now),
            expires_at: Set(now + account::sign_in::SESSION_MAX),
            ..Default::default()
        };
        let inserted = account::store::insert_session(self.ctx.db.writer(), row);
        inserted.await.unwrap();
        let cookie = new.plain.expose_secret().to_owned();
        let actor = account::sign_in::by_session(&self.ctx, &cookie, now).await;
        Client {
            cookie: Some(cookie),
            actor: Some(actor.unwrap()),
            ..self.anonymous()
        }
    }

    /// A client with a session of this account.
    pub(crate) async fn client_of(&self, email: &str) -> Client {
        let (cookie, actor) = signed_in(&self.ctx, email).await;
        Client {
            cookie: Some(cookie.expose_secret().to_owned()),
            actor: Some(actor),
            ..self.anonymous()
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        // Asks the server to end; the runtime of the test ends right after it.
        drop(self.server.stop(false));
    }
}

fn settings(database: &TestDatabase) -> Settings {
    let mut environment: BTreeMap<String, String> = database.environment().into_iter().collect();
    let key = MasterKey::generate().unwrap().to_hex();
    let secret = SessionSecret::generate().unwrap();
    let pairs = [
        (
            "SLIPWAY__SECURITY__ENCRYPTION_KEY",
            key.expose_secret().to_owned(),
        ),
        (
            "SLIPWAY__SECURITY__SESSION_SECRET",
            String::from_utf8(secret.expose().to_vec()).unwrap(),
        ),
    ];
    environment.extend(pairs.map(|(name, value)| (name.to_owned(), value)));
    load(&Source::default(), &environment).unwrap()
}

async fn signed_in(ctx: &Ctx, email: &str) -> (SecretString, Actor) {
    let password = SecretString::from(PASSWORD);
    let origin = Origin::default();
    let passed = account::sign_in::sign_in(ctx, email, password, origin, db::now()).await;
    match passed.unwrap() {
        Passed::SignedIn(session) => (session.cookie, session.actor),
        Passed::NeedsFactor(_) => panic!("{email} has a second factor"),
    }
}

/// A number that no other call in this process gets.
pub(crate) fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Somebody who speaks HTTP with the server. Follows no redirects.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    origin: String,
    /// The session cookie's value.
    pub(crate) cookie: Option<String>,
    /// Another cookie, name and value.
    other: Option<String>,
    actor: Option<Actor>,
}

impl Client {
    /// Whose session it is.
    pub(crate) fn actor(&self) -> &Actor {
        self.actor.as_ref().expect("nobody is signed in")
    }

    /// A request, with the session's cookie, to be sent by [`answer`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.origin));
        let session = self.cookie.as_ref().map(|it| format!("{COOKIE}={it}"));
        let cookies: Vec<String> = session.into_iter().chain(self.other.clone()).collect();
        if cookies.is_empty() {
            request
        } else {
            request.header("Cookie", cookies.join("; "))
        }
    }

    /// The same client with another cookie besides the session's.
    pub(crate) fn holding(&self, name: &str, value: &str) -> Self {
        Self {
            other: Some(format!("{name}={value}")),
            ..self.clone()
        }
    }

    /// The same client with another session's cookie.
    pub(crate) fn with_cookie(&self, value: &str) -> Self {
        Self {
            cookie: Some(value.to_owned()),
            ..self.clone()
        }
    }

    /// A request without the session's cookie.
    pub(crate) fn bare(&self, method: &Method, path: &str) -> RequestBuilder {
        let address = format!("{}{path}", self.origin);
        self.http.request(method.clone(), address)
    }

    /// Gets a path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Sends a form as it is.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        answer(self.form(path, fields)).await
    }

    /// Sends a form from a page: with the token that the page holds.
    pub(crate) async fn submit(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.get(page).await.token();
        let fields: Vec<_> = [("token", token.as_str())]
            .iter()
            .chain(fields)
            .copied()
            .collect();
        self.post(path, &fields).await
    }

    /// A form, to be sent by [`answer`].
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.request(Method::POST, path)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
    }
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Sends a request.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

impl Answer {
    /// A header's value; empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The token of the page's forms.
    pub(crate) fn token(&self) -> String {
        self.attribute("name=\"token\" value=\"")
    }

    /// What stands between `before` and the next quotation mark.
    #[track_caller]
    pub(crate) fn attribute(&self, before: &str) -> String {
        let found = self
            .body
            .split_once(before)
            .and_then(|(_, rest)| rest.split_once('"'));
        let (value, _) = found.unwrap_or_else(|| panic!("no {before} in:\n{}", self.body));
        value.to_owned()
    }

    /// Fails unless the page holds this.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(
            self.body.contains(text),
            "{}: no {text:?} in:\n{}",
            self.status,
            self.body
        );
    }

    /// Fails if the page holds this.
    #[track_caller]
    pub(crate) fn hides(&self, text: &str) {
        assert!(
            !self.body.contains(text),
            "{}: {text:?} in:\n{}",
            self.status,
            self.body
        );
    }

    /// Fails unless it sends the browser on to this place.
    #[track_caller]
    pub(crate) fn leads_to(&self, place: &str) {
        assert_eq!(
            (self.status, self.header("Location")),
            (303, place),
            "{}",
            self.body
        );
    }
}
