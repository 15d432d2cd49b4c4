//! A mail server that takes everything and keeps it, on a free loopback port.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// A mail server for one test; it ends with the process.
#[derive(Clone, Debug)]
pub struct MailServer {
    port: u16,
    received: Arc<Mutex<Vec<Mail>>>,
}

/// A mail that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who was named as its sender.
    pub from: String,
    /// To whom it goes.
    pub to: Vec<String>,
    /// Headers and text.
    pub content: String,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Panics
    /// When no port is to be had.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let received = Arc::default();
        let server = Self { port, received };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.talk(&stream));
            }
        });
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What has come in.
    #[must_use]
    pub fn received(&self) -> Vec<Mail> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One conversation, as far as RFC 5321 needs it.
    fn talk(&self, stream: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream).lines();
        let say = |text: &str| {
            let mut stream = stream;
            write!(stream, "{text}\r\n").ok()
        };
        let mut mail = Mail {
            from: String::new(),
            to: Vec::new(),
            content: String::new(),
        };
        say("220 test")?;
        loop {
            let line = lines.next()?.ok()?;
            let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match word.as_str() {
                "MAIL" => mail.from = address(),
                "RCPT" => mail.to.push(address()),
                "DATA" => {
                    say("354 go on")?;
                    let text = lines.by_ref().map_while(Result::ok);
                    let text: Vec<String> = text.take_while(|line| line != ".").collect();
                    mail.content = text.join("\n");
                    let received = self.received.lock();
                    received
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(mail.clone());
                }
                "QUIT" => return say("221 bye"),
                _ => {}
            }
            say("250 fine")?;
        }
    }
}
