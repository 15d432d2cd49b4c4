//! A server of our own that goes away and comes back.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use slipway_core::{
    id::DeploymentId,
    ports::{Claimed, Enqueued, Event, QueueError, Received},
    settings,
};
use slipway_queue::ConnectError;
use tempfile::TempDir;
use tokio::time::{Instant, interval, timeout};

use crate::rig::{DEADLINE, LONG, MANY, SOON, entry, settings_from_url, token};

/// Shorter than what a caller may be kept waiting by a server that is away.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A private `redis-server`, killed when this is dropped.
struct Server {
    port: u16,
    options: Vec<String>,
    folder: TempDir,
    process: Option<Child>,
}

impl Server {
    fn new(options: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        Self {
            port: free.port(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            folder: tempfile::tempdir().unwrap(),
            process: None,
        }
    }

    async fn start(&mut self) {
        let port = self.port.to_string();
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "yes",
            ])
            .args(["--appendfsync", "always", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
        eventually("the server starts", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .ok()
        })
        .await;
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("the server runs");
        let sent = Command::new("kill")
            .args([signal, &process.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    fn settings(&self) -> settings::Redis {
        settings_from_url(&format!("redis://127.0.0.1:{}", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tries until something is there.
async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    let mut pace = interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
    }
}

fn is_unavailable<T>(answer: &Result<T, QueueError>) -> bool {
    matches!(answer, Err(QueueError::Unavailable(_)))
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_waited_for() {
    let mut server = Server::new(&[]);
    let settings = server.settings();
    let connecting = slipway_queue::connect(&settings);
    let backends = timeout(AT_ONCE * 2, connecting)
        .await
        .expect("connect returns")
        .unwrap();
    let refused = timeout(AT_ONCE, backends.queue.probe())
        .await
        .expect("an answer");
    assert!(is_unavailable(&refused), "{refused:?}");

    server.start().await;
    eventually("the queue finds the server", async || {
        matches!(backends.queue.probe().await, Err(QueueError::Lost)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn work_goes_on_after_an_outage() {
    let mut server = Server::new(&[]);
    server.start().await;
    let backends = slipway_queue::connect(&server.settings()).await.unwrap();
    let queue = &backends.queue;
    let mut hints = backends.bus.subscribe().await;
    assert!(queue.begin_rebuild().await.unwrap());
    queue.end_rebuild().await.unwrap();
    queue.enqueue(entry(1, 1), false).await.unwrap();
    queue.wait_for_work(LONG).await;

    server.stop();
    for _ in 0..20 {
        let refused = timeout(AT_ONCE, queue.enqueue(entry(2, 1), false)).await;
        let refused = refused.expect("an answer");
        assert!(is_unavailable(&refused), "{refused:?}");
    }
    let hint = Event::Changed(DeploymentId(1));
    timeout(AT_ONCE, backends.bus.publish(hint))
        .await
        .expect("hints hold up nobody");
    timeout(DEADLINE, queue.wait_for_work(LONG))
        .await
        .expect("waiting ends");

    server.start().await;
    let added = eventually("the queue finds the server", async || {
        queue.enqueue(entry(2, 1), false).await.ok()
    })
    .await;
    assert!(matches!(added, Enqueued::Added { .. }), "{added:?}");
    let claimed = queue.claim(&token(), LONG, MANY).await.unwrap();
    assert_eq!(claimed, Claimed::Entry(entry(1, 1)));

    let received = timeout(DEADLINE, hints.next())
        .await
        .expect("word of the outage");
    assert_eq!(received, Received::Lagged);
    backends.bus.publish(hint).await;
    let received = timeout(DEADLINE, hints.next()).await.expect("a hint");
    assert_eq!(received, Received::Event(hint));

    queue.enqueue(entry(3, 3), false).await.unwrap();
    timeout(SOON, queue.wait_for_work(LONG))
        .await
        .expect("waiting ends");
}

#[tokio::test]
async fn a_server_that_hangs_is_reported_in_time() {
    let mut server = Server::new(&[]);
    server.start().await;
    let backends = slipway_queue::connect(&server.settings()).await.unwrap();
    server.signal("-STOP");
    let refused = timeout(AT_ONCE, backends.queue.probe())
        .await
        .expect("an answer");
    assert!(is_unavailable(&refused), "{refused:?}");
    server.signal("-CONT");
    eventually("the queue goes on", async || {
        matches!(backends.queue.probe().await, Err(QueueError::Lost)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_takes_no_write_is_unavailable_though_it_answers() {
    let mut server = Server::new(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    server.start().await;
    let backends = slipway_queue::connect(&server.settings()).await.unwrap();
    let refused = backends.queue.probe().await;
    assert!(is_unavailable(&refused), "{refused:?}");
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_names_the_setting() {
    let mut server = Server::new(&["--requirepass", "right"]);
    server.start().await;
    for password in ["wrong", ""] {
        let mut settings = server.settings();
        settings.password = Some(password.into());
        let error = slipway_queue::connect(&settings).await.unwrap_err();
        assert!(matches!(error, ConnectError::Credentials(_)), "{error:?}");
        assert!(error.to_string().contains("redis.password"), "{error}");
    }
    let mut settings = server.settings();
    settings.password = Some("right".into());
    let backends = slipway_queue::connect(&settings).await.unwrap();
    assert!(matches!(
        backends.queue.probe().await,
        Err(QueueError::Lost)
    ));
}

#[tokio::test]
async fn dropping_everything_closes_every_connection() {
    let mut server = Server::new(&[]);
    server.start().await;
    let raw = crate::rig::RawRedis::open(server.settings()).await;
    let backends = slipway_queue::connect(&server.settings()).await.unwrap();
    let subscription = backends.bus.subscribe().await;
    backends
        .queue
        .wait_for_work(Duration::from_millis(50))
        .await;
    assert!(raw.connections().await > 2);

    drop((backends, subscription));
    eventually("connections are closed", async || {
        (raw.connections().await == 1).then_some(())
    })
    .await;
}
