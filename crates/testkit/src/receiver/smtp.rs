//! A real mail server, aiosmtpd, with and without TLS and accounts.

use std::{fs, time::Duration};

use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    certs::Authority,
    process::{Program, RunningProgram},
};

/// The system's own, because Debian's package is for that one.
const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = include_str!("smtp_server.py");

const START_DEADLINE: Duration = Duration::from_secs(20);

/// How a mail server encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all.
    Off,
    /// After STARTTLS, and it takes nothing without.
    Starttls,
    /// From the first byte on.
    Tls,
}

/// A mail server for one test, ended when it is dropped. It refuses mail to `nobody@` for good and
/// mail to `later@` for now.
#[derive(Debug)]
pub struct SmtpServer {
    folder: TempDir,
    port: u16,
    _program: RunningProgram,
}

/// A mail that a server has taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct TakenMail {
    /// Who was named as its sender.
    pub from: String,
    /// To whom it goes.
    pub to: Vec<String>,
    /// Headers and text.
    pub content: String,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Who had signed in.
    pub account: Option<String>,
}

impl SmtpServer {
    /// Starts one on a free port; its certificate for `localhost` and `127.0.0.1` is signed by the
    /// authority. With an account it takes mail from that one only.
    ///
    /// # Panics
    /// When aiosmtpd is not installed or does not start.
    #[must_use]
    pub fn start(tls: SmtpTls, authority: &Authority, account: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let written = authority.write_loopback(folder.path());
        written.expect("there is room for certificates");
        let mode = match tls {
            SmtpTls::Off => "off",
            SmtpTls::Starttls => "starttls",
            SmtpTls::Tls => "tls",
        };
        let (login, password) = account.unzip();
        let program = Program::new(PYTHON)
            .args(["-c", SCRIPT])
            .args([folder.path()])
            .args([Some(mode), login, password].into_iter().flatten())
            .start();
        let port = program.wait_for_line(START_DEADLINE, |line| {
            line.strip_prefix("port ")?.parse().ok()
        });
        Self {
            folder,
            port,
            _program: program,
        }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has taken, in that order.
    ///
    /// # Panics
    /// When what it wrote down cannot be read.
    #[must_use]
    pub fn taken(&self) -> Vec<TakenMail> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        paths.sort_unstable();
        let mails = paths.iter().map(|path| {
            let text = fs::read_to_string(path).expect("it can be read");
            serde_json::from_str(&text).expect("it is a mail")
        });
        mails.collect()
    }
}
