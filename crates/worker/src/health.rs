//! Asks a freshly activated release whether it works.
//!
//! It decides nothing: what follows from an unhealthy release is the caller's business.

use std::{error::Error, time::Duration};

use reqwest::{Client, redirect::Policy};
use tokio_util::sync::CancellationToken;

/// What to ask, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The address that is asked.
    pub url: String,
    /// The status code that means healthy. Redirects are not followed, so it can be one.
    pub expect: u16,
    /// How often it is asked before it counts as unhealthy; at least once.
    pub attempts_max: u32,
    /// Pause between two questions.
    pub interval: Duration,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The expected answer came.
    Healthy {
        /// How often it had to be asked.
        attempts: u32,
    },
    /// It never came; this is what happened instead the last time.
    Unhealthy(String),
    /// The caller asked to stop.
    Cancelled,
}

impl HealthCheck {
    /// Asks until the answer is the expected one, or there are no attempts left.
    pub async fn run(&self, cancel: &CancellationToken) -> Health {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Health::Cancelled,
            health = self.ask_repeatedly() => health,
        }
    }

    async fn ask_repeatedly(&self) -> Health {
        // A proxy or a redirect would answer for something else than the release.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(self.timeout)
            .build();
        let client = match client {
            Ok(client) => client,
            Err(error) => return Health::Unhealthy(reason(error)),
        };
        let mut attempts = 1;
        loop {
            match self.ask(&client).await {
                Ok(()) => return Health::Healthy { attempts },
                Err(problem) if attempts >= self.attempts_max => {
                    return Health::Unhealthy(problem);
                }
                Err(problem) => tracing::debug!(attempts, problem, "not healthy yet"),
            }
            tokio::time::sleep(self.interval).await;
            attempts += 1;
        }
    }

    async fn ask(&self, client: &Client) -> Result<(), String> {
        let answer = client.get(&self.url).send().await.map_err(reason)?;
        match answer.status().as_u16() {
            status if status == self.expect => Ok(()),
            status => Err(format!("answered {status} instead of {}", self.expect)),
        }
    }
}

/// The error with its causes, and without the address, which may hold a password.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::Notify,
    };

    use super::*;

    /// A server that gives one answer after the other; the last one repeats. An empty answer keeps
    /// the connection open and silent.
    struct Server {
        address: SocketAddr,
        asked: Arc<AtomicUsize>,
        question: Arc<Notify>,
    }

    impl Server {
        async fn start(answers: &'static [&'static str]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = Self {
                address: listener.local_addr().unwrap(),
                asked: Arc::default(),
                question: Arc::default(),
            };
            let (asked, question) = (Arc::clone(&server.asked), Arc::clone(&server.question));
            tokio::spawn(async move {
                let mut open = Vec::new();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _request = stream.read(&mut [0; 4096]).await.unwrap();
                    let number = asked.fetch_add(1, Ordering::SeqCst);
                    question.notify_one();
                    stream
                        .write_all(answer(answers, number).as_bytes())
                        .await
                        .unwrap();
                    open.push(stream);
                }
            });
            server
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn answer(answers: &[&str], number: usize) -> String {
        match answers[number.min(answers.len() - 1)] {
            "" => String::new(),
            status => format!(
                "HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n"
            ),
        }
    }

    fn check(address: SocketAddr) -> HealthCheck {
        // Whoever was first; all tests want the same one.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        HealthCheck {
            url: format!("http://user:hunter2@{address}/health"),
            expect: 200,
            attempts_max: 3,
            interval: Duration::from_millis(1),
            timeout: Duration::from_secs(30),
        }
    }

    #[tokio::test]
    async fn expected_answer_is_healthy_at_once() {
        let server = Server::start(&["200 OK"]).await;
        let health = check(server.address).run(&CancellationToken::new()).await;
        assert_eq!(
            (health, server.asked()),
            (Health::Healthy { attempts: 1 }, 1)
        );
    }

    #[tokio::test]
    async fn release_that_starts_slowly_becomes_healthy() {
        let server = Server::start(&["503 Not yet", "503 Not yet", "200 OK"]).await;
        let health = check(server.address).run(&CancellationToken::new()).await;
        assert_eq!(health, Health::Healthy { attempts: 3 });
    }

    #[tokio::test]
    async fn last_problem_is_told_when_attempts_run_out() {
        let server = Server::start(&["503 Not yet", "500 Broken"]).await;
        let health = check(server.address).run(&CancellationToken::new()).await;
        assert_eq!(
            health,
            Health::Unhealthy("answered 500 instead of 200".to_owned())
        );
        assert_eq!(server.asked(), 3);
    }

    #[tokio::test]
    async fn redirect_is_an_answer_and_not_followed() {
        let server = Server::start(&["302 Found", "200 OK"]).await;
        let check = HealthCheck {
            expect: 302,
            ..check(server.address)
        };
        let health = check.run(&CancellationToken::new()).await;
        assert_eq!(
            (health, server.asked()),
            (Health::Healthy { attempts: 1 }, 1)
        );
    }

    #[tokio::test]
    async fn unreachable_server_is_unhealthy_and_its_address_stays_out_of_the_reason() {
        // Bound and dropped, so that nothing listens there.
        let address = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let health = check(address).run(&CancellationToken::new()).await;
        let Health::Unhealthy(reason) = health else {
            panic!("{health:?}")
        };
        assert!(
            reason.contains("refused") && !reason.contains("hunter2"),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn server_that_never_answers_runs_into_the_timeout() {
        let server = Server::start(&[""]).await;
        let check = HealthCheck {
            attempts_max: 1,
            timeout: Duration::from_millis(50),
            ..check(server.address)
        };
        let health = check.run(&CancellationToken::new()).await;
        let Health::Unhealthy(reason) = health else {
            panic!("{health:?}")
        };
        assert!(reason.contains("timed out"), "{reason}");
    }

    #[tokio::test]
    async fn waiting_for_an_answer_can_be_cancelled() {
        let server = Server::start(&[""]).await;
        let (check, cancel) = (check(server.address), CancellationToken::new());
        let (health, ()) = tokio::join!(check.run(&cancel), async {
            server.question.notified().await;
            cancel.cancel();
        });
        assert_eq!(health, Health::Cancelled);
    }

    #[tokio::test]
    async fn malformed_address_is_unhealthy() {
        let server = Server::start(&["200 OK"]).await;
        let check = HealthCheck {
            url: "no address".to_owned(),
            ..check(server.address)
        };
        let health = check.run(&CancellationToken::new()).await;
        assert!(matches!(health, Health::Unhealthy(_)), "{health:?}");
    }
}
