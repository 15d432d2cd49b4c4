//! Nothing goes where it must not, however the address is written and whatever a name stands for.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use slipway_core::notify::Verdict;
use slipway_notify::{
    outgoing::{Outgoing, Resolve},
    registry_over,
};
use slipway_testkit::{Mode, Receiver};

use crate::rig::{of, outgoing, send, values};

const GOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CANARY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A name server that answers with each of these once, and then with the last one.
#[derive(Debug)]
struct Script {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Vec<IpAddr>>) -> Arc<Self> {
        Arc::new(Self {
            answers: answers.into_iter().collect(),
            asked: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Resolve for Script {
    async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(asked).or(self.answers.last());
        // A port of its own must not matter.
        let addresses = answer.expect("there is an answer").iter();
        Ok(addresses.map(|ip| SocketAddr::new(*ip, 9)).collect())
    }
}

async fn post(outgoing: &Outgoing, url: &str) -> Verdict {
    let service = of(&registry_over(&Arc::new(outgoing.clone())), "webhook");
    let provider = values([("url", url), ("secret", "0123456789abcdef")]);
    send(&*service, &provider, &values([])).await
}

/// A receiver that may be reached at 127.0.0.2, and one that may not at 127.0.0.1, on one port.
fn neighbours() -> (Receiver, Receiver) {
    let canary = Receiver::start();
    let good = Receiver::start_at(SocketAddr::new(GOOD, canary.port()));
    (good, canary)
}

#[tokio::test]
async fn this_machine_is_not_reached_however_it_is_written() {
    let canary = Receiver::start();
    let port = canary.port();
    let outgoing = outgoing(&[]);
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "canary.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "user@127.0.0.1",
        "example.com@127.0.0.1",
        "example.com:pass@127.0.0.1",
        "127.0.0.1#@example.com",
    ] {
        let verdict = post(&outgoing, &format!("http://{host}:{port}/")).await;
        let plain = post(&outgoing, &format!("http://{host}/")).await;
        for verdict in [verdict, plain] {
            assert!(
                matches!(verdict, Verdict::Refused { .. }),
                "{host} {verdict:?}"
            );
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn other_protocols_are_not_spoken() {
    let canary = Receiver::start();
    let outgoing = outgoing(&["127.0.0.0/8"]);
    for scheme in [
        "gopher",
        "ftp",
        "file",
        "ws",
        "dict",
        "ldap",
        "javascript",
        "data",
    ] {
        let verdict = post(
            &outgoing,
            &format!("{scheme}://127.0.0.1:{}/", canary.port()),
        )
        .await;
        assert!(
            matches!(verdict, Verdict::Refused { .. }),
            "{scheme} {verdict:?}"
        );
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn name_is_asked_for_once_and_means_what_was_judged() {
    let (good, canary) = neighbours();
    let script = Script::new([vec![GOOD], vec![CANARY]]);
    let outgoing = outgoing(&["127.0.0.2"]).with_resolver(Arc::<Script>::clone(&script));
    let url = format!("http://hooks.example.com:{}/", canary.port());
    let first = post(&outgoing, &url).await;
    assert!(matches!(first, Verdict::Delivered { .. }), "{first:?}");
    assert_eq!(script.asked.load(Ordering::SeqCst), 1);
    assert_eq!(good.received().len(), 1);
    // The name's meaning has changed: the next message is judged anew.
    let second = post(&outgoing, &url).await;
    assert!(matches!(second, Verdict::Refused { .. }), "{second:?}");
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn one_wrong_address_among_good_ones_is_enough() {
    let (good, canary) = neighbours();
    let script = Script::new([vec![GOOD, CANARY]]);
    let outgoing = outgoing(&["127.0.0.2"]).with_resolver(script);
    let url = format!("http://hooks.example.com:{}/", canary.port());
    let verdict = post(&outgoing, &url).await;
    assert_eq!(
        verdict,
        Verdict::Refused {
            answer: "not sent: hooks.example.com is this machine; a server of your own must be \
                     listed in notifications.allow"
                .to_owned()
        }
    );
    assert_eq!(good.connections() + canary.connections(), 0);
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let (good, canary) = neighbours();
    for allow in [vec!["127.0.0.2"], vec!["127.0.0.0/8"]] {
        let outgoing = outgoing(&allow);
        good.behave(Mode::redirect(canary.url("/")));
        let verdict = post(&outgoing, &good.url("/")).await;
        assert_eq!(
            verdict,
            Verdict::Refused {
                answer: "302 redirect, which is not followed".to_owned()
            }
        );
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn allowed_servers_are_reached_by_port_and_name() {
    let canary = Receiver::start();
    let port = canary.port();
    let by_address = format!("127.0.0.1:{port}");
    let by_name = format!("hooks.internal:{port}");
    let by_localhost = format!("localhost:{port}");
    for (allow, host, reached) in [
        (by_address.as_str(), "127.0.0.1", true),
        (by_address.as_str(), "[::ffff:127.0.0.1]", true),
        ("127.0.0.1:1", "127.0.0.1", false),
        (by_name.as_str(), "hooks.internal", true),
        (by_name.as_str(), "other.internal", false),
        (by_localhost.as_str(), "localhost", true),
        ("127.0.0.0/8", "localhost", false),
    ] {
        let before = canary.received().len();
        let script = Script::new([vec![CANARY]]);
        let outgoing = outgoing(&[allow]).with_resolver(script);
        let verdict = post(&outgoing, &format!("http://{host}:{port}/")).await;
        let delivered = matches!(verdict, Verdict::Delivered { .. });
        assert_eq!(delivered, reached, "{allow} {host} {verdict:?}");
        assert_eq!(canary.received().len(), before + usize::from(reached));
    }
}

#[tokio::test]
async fn metadata_service_has_to_be_named_itself() {
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    let script = Script::new([vec![metadata]]);
    for allow in ["169.254.0.0/16", "0.0.0.0/0", "metadata.internal:80"] {
        let outgoing = outgoing(&[allow]).with_resolver(Arc::<Script>::clone(&script));
        for host in ["metadata.internal", "169.254.169.254", "[::ffff:a9fe:a9fe]"] {
            let verdict = post(&outgoing, &format!("http://{host}/latest/meta-data")).await;
            let Verdict::Refused { answer } = verdict else {
                panic!("{allow} {host} {verdict:?}");
            };
            assert!(answer.contains("metadata service"), "{answer}");
        }
    }
}

#[tokio::test]
async fn mail_server_whose_name_stands_for_this_machine_is_not_reached() {
    let canary = Receiver::start();
    let port = canary.port().to_string();
    let outgoing = outgoing(&["127.0.0.2"]).with_resolver(Script::new([vec![GOOD, CANARY]]));
    let service = of(&registry_over(&Arc::new(outgoing)), "smtp");
    let provider = values([
        ("host", "mail.example.com"),
        ("port", port.as_str()),
        ("tls", "off"),
        ("from", "slipway@example.com"),
    ]);
    let channel = values([("recipients", "ada@example.com")]);
    let verdict = send(&*service, &provider, &channel).await;
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    assert_eq!(canary.connections(), 0);
}
