//! Mail over a real server: encryption, accounts, and who is refused.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::Arc,
};

use slipway_core::notify::{Provider, Values, Verdict};
use slipway_testkit::{Authority, Receiver, SmtpServer, SmtpTls};

use crate::rig::{self, send, values};

const ACCOUNT: (&str, &str) = ("slipway", "correct horse battery");

struct Post {
    authority: Authority,
    server: SmtpServer,
    _folder: tempfile::TempDir,
    service: Arc<dyn Provider>,
}

impl Post {
    fn office(tls: SmtpTls, account: Option<(&str, &str)>) -> Self {
        let authority = Authority::new().expect("there are random bytes");
        let folder = tempfile::tempdir().expect("there is room");
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, authority.pem()).expect("there is room");
        let outgoing = rig::outgoing_with(&["127.0.0.0/8"], Some(ca_file));
        Self {
            server: SmtpServer::start(tls, &authority, account),
            service: rig::of(&slipway_notify::registry_over(&outgoing.into()), "smtp"),
            authority,
            _folder: folder,
        }
    }

    fn provider(&self, more: &[(&str, &str)]) -> Values {
        let port = self.server.port().to_string();
        let mut filled = values([
            ("host", "127.0.0.1"),
            ("port", port.as_str()),
            ("from", "Slipway <slipway@example.com>"),
        ]);
        more.iter()
            .for_each(|(name, value)| filled.set(*name, *value));
        filled
    }

    async fn send(&self, more: &[(&str, &str)], to: &str) -> Verdict {
        let channel = values([("recipients", to)]);
        send(&*self.service, &self.provider(more), &channel).await
    }
}

#[tokio::test]
async fn mail_goes_encrypted_and_signed_in() {
    let account = [("username", ACCOUNT.0), ("password", ACCOUNT.1)];
    for (tls, word) in [(SmtpTls::Starttls, "starttls"), (SmtpTls::Tls, "tls")] {
        let office = Post::office(tls, Some(ACCOUNT));
        let filled = [&account[..], &[("tls", word)]].concat();
        assert_eq!(
            office.service.check_provider(&office.provider(&filled)),
            Ok(())
        );
        let verdict = office
            .send(&filled, "ada@example.com, grace@example.com")
            .await;
        assert!(
            matches!(&verdict, Verdict::Delivered { answer } if answer.contains("taken as 1")),
            "{verdict:?}"
        );
        let taken = office.server.taken();
        let mail = taken.first().expect("it was taken");
        assert!(mail.encrypted);
        assert_eq!(mail.account.as_deref(), Some(ACCOUNT.0));
        assert_eq!(mail.from, "slipway@example.com");
        assert_eq!(mail.to, ["ada@example.com", "grace@example.com"]);
        let id = format!("Message-ID: <slipway.{}@example.com>", rig::KEY);
        assert!(mail.content.contains(&id), "{}", mail.content);
        assert!(mail.content.contains("Auto-Submitted: auto-generated"));
    }
}

#[tokio::test]
async fn wrong_password_is_said_without_it() {
    let office = Post::office(SmtpTls::Tls, Some(ACCOUNT));
    let filled = [
        ("tls", "tls"),
        ("username", "slipway"),
        ("password", "wrong-password"),
    ];
    let Verdict::Refused { answer } = office.send(&filled, "ada@example.com").await else {
        panic!("it was taken");
    };
    assert!(answer.contains("535"), "{answer}");
    assert!(!answer.contains("wrong-password"), "{answer}");
}

#[tokio::test]
async fn starttls_is_never_given_up() {
    let office = Post::office(SmtpTls::Off, None);
    let Verdict::Refused { answer } = office.send(&[("tls", "starttls")], "ada@example.com").await
    else {
        panic!("it was sent in the clear");
    };
    assert_eq!(
        answer,
        "the mail server offers no STARTTLS, which is required"
    );
    assert!(office.server.taken().is_empty());
}

#[tokio::test]
async fn password_is_not_sent_in_the_clear_unless_asked() {
    let office = Post::office(SmtpTls::Off, Some(ACCOUNT));
    let mut filled = vec![
        ("tls", "off"),
        ("username", ACCOUNT.0),
        ("password", ACCOUNT.1),
    ];
    let verdict = office.send(&filled, "ada@example.com").await;
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    assert!(office.server.taken().is_empty());
    filled.push(("password_in_clear", "allowed"));
    let verdict = office.send(&filled, "ada@example.com").await;
    assert!(matches!(verdict, Verdict::Delivered { .. }), "{verdict:?}");
}

#[tokio::test]
async fn recipients_are_judged_one_by_one() {
    let office = Post::office(SmtpTls::Off, None);
    let off = [("tls", "off")];
    let verdict = office.send(&off, "nobody@example.com").await;
    assert!(
        matches!(&verdict, Verdict::Refused { answer } if answer.contains("no such mailbox")),
        "{verdict:?}"
    );
    let verdict = office
        .send(&off, "nobody@example.com, later@example.com")
        .await;
    assert!(
        matches!(&verdict, Verdict::Later { answer, .. } if answer.contains("busy")),
        "{verdict:?}"
    );
    let verdict = office
        .send(&off, "nobody@example.com, ada@example.com")
        .await;
    assert!(
        matches!(&verdict, Verdict::Delivered { answer } if answer.contains("not for nobody@example.com")),
        "{verdict:?}"
    );
    let taken = office.server.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        taken.first().map(|mail| mail.to.clone()),
        Some(vec!["ada@example.com".to_owned()])
    );
}

/// Takes one mail, and then waits for the other side to hang up instead of answering its goodbye.
fn server_without_a_goodbye() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it has one").port();
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        stream.write_all(b"220 here\r\n")?;
        let mut in_mail = false;
        while let Some(line) = lines.next().transpose()? {
            let answer: &[u8] = match line.as_str() {
                "." => {
                    in_mail = false;
                    b"250 taken as 7\r\n"
                }
                _ if in_mail => continue,
                "DATA" => {
                    in_mail = true;
                    b"354 go on\r\n"
                }
                "QUIT" => continue,
                _ => b"250 fine\r\n",
            };
            stream.write_all(answer)?;
        }
        Ok(())
    });
    port
}

#[tokio::test]
async fn mail_that_was_taken_is_delivered_even_without_a_goodbye() {
    let office = Post::office(SmtpTls::Off, None);
    let port = server_without_a_goodbye().to_string();
    let filled = [("tls", "off"), ("port", port.as_str())];
    let verdict = office.send(&filled, "ada@example.com").await;
    assert!(
        matches!(&verdict, Verdict::Delivered { answer } if answer.contains("taken as 7")),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn server_with_another_name_or_authority_is_not_trusted() {
    let office = Post::office(SmtpTls::Tls, None);
    let stranger = Authority::new().unwrap();
    let other = SmtpServer::start(SmtpTls::Tls, &stranger, None);
    let port = other.port().to_string();
    let verdict = office
        .send(
            &[("tls", "tls"), ("port", port.as_str())],
            "ada@example.com",
        )
        .await;
    assert!(matches!(verdict, Verdict::Later { .. }), "{verdict:?}");
    assert!(other.taken().is_empty());
    assert!(!office.authority.pem().is_empty());
}

#[tokio::test]
async fn mail_does_not_go_to_this_machine_unless_it_is_allowed() {
    let canary = Receiver::start();
    let port = canary.port().to_string();
    let service = rig::of(
        &slipway_notify::registry_over(&rig::outgoing(&[]).into()),
        "smtp",
    );
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "localhost",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
    ] {
        let filled = values([
            ("host", host),
            ("port", port.as_str()),
            ("tls", "off"),
            ("from", "slipway@example.com"),
        ]);
        assert!(service.check_provider(&filled).is_err(), "{host}");
        let channel = values([("recipients", "ada@example.com")]);
        let verdict = send(&*service, &filled, &channel).await;
        assert!(
            matches!(verdict, Verdict::Refused { .. }),
            "{host} {verdict:?}"
        );
    }
    assert_eq!(canary.connections(), 0);
}
