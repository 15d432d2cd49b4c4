//! A server on loopback that takes what services for messages take, answers as it is told, and keeps
//! what came in. It speaks HTTP over real sockets, with or without TLS.

mod conversation;
mod smtp;

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{
    certs::{Authority, Certificate},
    poll::eventually_blocking,
};

pub use smtp::{SmtpServer, SmtpTls, TakenMail};

/// How a receiver treats a request.
#[derive(Clone, Debug)]
pub enum Mode {
    /// It answers with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// It reads the request and says nothing for as long as the client waits.
    Hang,
    /// It breaks the connection off when the request comes.
    Reset,
    /// It answers with something that is not HTTP.
    Garbage,
    /// It answers 200 and a body without end.
    Endless,
}

impl Mode {
    /// A status and a body.
    #[must_use]
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Answer(status, Vec::new(), body.into())
    }

    /// A redirect to somewhere else.
    #[must_use]
    pub fn redirect(location: impl Into<String>) -> Self {
        Self::Answer(302, vec![("location", location.into())], String::new())
    }

    /// Too many requests, and when to come again.
    #[must_use]
    pub fn too_many(retry_after: impl Into<String>, body: impl Into<String>) -> Self {
        Self::Answer(429, vec![("retry-after", retry_after.into())], body.into())
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// A receiver for one test; it ends with the process.
#[derive(Clone, Debug)]
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    mode: Mutex<Mode>,
    next: Mutex<VecDeque<Mode>>,
    received: Mutex<Vec<Received>>,
    /// Who has connected.
    peers: Mutex<Vec<SocketAddr>>,
    /// How many of them were `connections` itself.
    asked: AtomicUsize,
    sent: AtomicUsize,
}

impl Receiver {
    /// Starts one without TLS that answers 200.
    ///
    /// # Panics
    /// When no port is to be had.
    #[must_use]
    pub fn start() -> Self {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), None)
    }

    /// The same on an address of one's own choice.
    ///
    /// # Panics
    /// When it is taken.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        Self::listen(address, None)
    }

    /// Starts one with TLS, whose certificate for `localhost` and `127.0.0.1` this authority signs.
    ///
    /// # Panics
    /// When no port is to be had or the certificate cannot be made.
    #[must_use]
    pub fn start_tls(authority: &Authority) -> Self {
        Self::start_tls_as(authority, &["localhost", "127.0.0.1"])
    }

    /// The same for other names.
    ///
    /// # Panics
    /// When no port is to be had or the certificate cannot be made.
    #[must_use]
    pub fn start_tls_as(authority: &Authority, names: &[&str]) -> Self {
        let certificate = authority.issue(names).expect("the names are good ones");
        let config = Arc::new(server_config(&certificate));
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), Some(config))
    }

    fn listen(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("a port is free");
        let receiver = Self {
            address: listener.local_addr().expect("it is bound"),
            scheme: if tls.is_some() { "https" } else { "http" },
            state: Arc::new(State {
                mode: Mutex::new(Mode::status(200, "ok")),
                next: Mutex::default(),
                received: Mutex::default(),
                peers: Mutex::default(),
                asked: AtomicUsize::new(0),
                sent: AtomicUsize::new(0),
            }),
        };
        let serving = receiver.clone();
        thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                let peers = serving.state.peers.lock();
                peers.unwrap_or_else(PoisonError::into_inner).push(peer);
                let (serving, tls) = (serving.clone(), tls.clone());
                thread::spawn(move || serving.serve(stream, tls));
            }
        });
        receiver
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its address, by IP, followed by a path that begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// From now on it treats requests like this.
    pub fn behave(&self, mode: Mode) {
        *self
            .state
            .mode
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// It treats one request like this, after those that were announced before.
    pub fn behave_once(&self, mode: Mode) {
        let next = self.state.next.lock();
        next.unwrap_or_else(PoisonError::into_inner).push_back(mode);
    }

    /// What has come in, complete requests only.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        let received = self.state.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections were made until now, whatever became of them.
    ///
    /// # Panics
    /// When it does not take connections any more.
    #[must_use]
    pub fn connections(&self) -> usize {
        // Connections are taken in their order: once this one is counted, so are all before it.
        let own = TcpStream::connect(self.address).expect("it listens");
        let own = own.local_addr().expect("it is connected");
        let asked = self.state.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let peers = eventually_blocking(Duration::from_secs(10), || {
            let peers = self.state.peers.lock();
            let peers = peers.unwrap_or_else(PoisonError::into_inner);
            peers
                .contains(&own)
                .then_some(peers.len())
                .ok_or(peers.len())
        });
        peers - asked
    }

    /// How many bytes of endless bodies were taken.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<()> {
        match tls {
            None => self.answer(stream),
            Some(config) => {
                let connection = ServerConnection::new(config).ok()?;
                self.answer(StreamOwned::new(connection, stream))
            }
        }
    }

    fn answer(&self, mut stream: impl Read + Write) -> Option<()> {
        let next = self.state.next.lock().ok()?.pop_front();
        let mode = next.or_else(|| Some(self.state.mode.lock().ok()?.clone()))?;
        if matches!(mode, Mode::Reset) {
            // Closing while the request lies unread makes the kernel send a reset.
            let mut first = [0; 1];
            return stream.read_exact(&mut first).ok();
        }
        let request = conversation::read(&mut stream)?;
        self.state.received.lock().ok()?.push(request);
        conversation::answer(&mut stream, &mode, &self.state.sent)
    }
}

fn server_config(certificate: &Certificate) -> ServerConfig {
    let chain = CertificateDer::pem_slice_iter(certificate.pem.as_bytes());
    let chain: Vec<_> = chain.map(|item| item.expect("it was just made")).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes());
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key.expect("it was just made"))
        .expect("the key is the certificate's")
}
