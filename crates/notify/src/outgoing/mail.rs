//! A conversation with a mail server at a judged address.

use std::{fmt, time::Duration};

use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{
            AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
        },
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
    },
};
use tokio::time;

use super::{CONNECT_TIMEOUT, Outgoing, Place, Trouble};
use crate::answer::line;

/// Mail servers greet late on purpose, to be rid of those who cannot wait.
const MAIL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the answer to the goodbye is waited for; nothing depends on it.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailTls {
    /// Not at all.
    Off,
    /// After STARTTLS, and never without.
    Starttls,
    /// From the first byte on.
    On,
}

/// A mail server, and who we are there.
pub(crate) struct MailServer {
    /// Name or address.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// How the connection is encrypted.
    pub(crate) tls: MailTls,
    /// Whether a password may be sent over a connection that is not.
    pub(crate) password_in_clear: bool,
    /// Account and password.
    pub(crate) account: Option<(String, String)>,
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// A server that answered no.
enum No {
    Ours(Trouble),
    Theirs(Error),
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        Self::Theirs(error)
    }
}

impl Outgoing {
    /// Hands a mail over; the answer says what the server said.
    pub(crate) async fn mail(
        &self,
        server: &MailServer,
        message: &Message,
    ) -> Result<String, Trouble> {
        let refused = |why: String| Trouble::Refused(format!("not sent: {why}"));
        let host = self.host(&server.host, server.port).map_err(refused)?;
        let place = self.place(&host, server.port).await?;
        let talk = time::timeout(MAIL_TIMEOUT, self.converse(server, &place, message));
        let named = format!("{}:{}", server.host, server.port);
        match talk.await {
            Ok(Ok((mut connection, answer))) => {
                // Outside the deadline: the mail is handed over, however slowly the server says goodbye.
                let _goodbye = time::timeout(GOODBYE_TIMEOUT, connection.quit()).await;
                Ok(answer)
            }
            Ok(Err(No::Ours(trouble))) => Err(trouble),
            Ok(Err(No::Theirs(error))) => Err(said(&named, &error)),
            Err(_elapsed) => Err(Trouble::Later(format!("no answer in time from {named}"))),
        }
    }

    /// The answer to the mail, and the connection over which it was given. After a no the connection
    /// is closed without a goodbye.
    async fn converse(
        &self,
        server: &MailServer,
        place: &Place,
        message: &Message,
    ) -> Result<(AsyncSmtpConnection, String), No> {
        let hello = ClientId::default();
        let mut connection = self.connect(server, place, &hello).await?;
        if server.tls == MailTls::Starttls {
            if !connection.can_starttls() {
                let why = "the mail server offers no STARTTLS, which is required".to_owned();
                return Err(No::Ours(Trouble::Refused(why)));
            }
            connection.starttls(self.tls(place)?, &hello).await?;
        }
        if let Some((name, password)) = &server.account {
            if server.tls == MailTls::Off && !server.password_in_clear {
                let why = "the password is not sent over a connection that is not encrypted";
                return Err(No::Ours(Trouble::Refused(why.to_owned())));
            }
            let credentials = Credentials::new(name.clone(), password.clone());
            connection.auth(&MECHANISMS, &credentials).await?;
        }
        let answer = hand_over(&mut connection, message).await?;
        Ok((connection, answer))
    }

    async fn connect(
        &self,
        server: &MailServer,
        place: &Place,
        hello: &ClientId,
    ) -> Result<AsyncSmtpConnection, Error> {
        let tls = (server.tls == MailTls::On)
            .then(|| self.tls(place))
            .transpose()?;
        let addresses = place.addresses.as_slice();
        let timeout = Some(CONNECT_TIMEOUT);
        AsyncSmtpConnection::connect_tokio1(addresses, timeout, hello, tls, None).await
    }

    fn tls(&self, place: &Place) -> Result<TlsParameters, Error> {
        let builder = TlsParameters::builder(place.host.clone());
        let builder = builder.certificate_store(CertificateStore::None);
        let roots = self.roots.certificates.iter();
        let roots = roots.filter_map(|root| Certificate::from_der(root.to_vec()).ok());
        roots
            .fold(builder, TlsParametersBuilder::add_root_certificate)
            .build_rustls()
    }
}

/// Those recipients get it whom the server takes; it is an error only if it takes none of them.
async fn hand_over(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<String, No> {
    let envelope = message.envelope();
    let from = envelope.from().cloned();
    connection.command(Mail::new(from, Vec::new())).await?;
    let mut not_taken = Vec::new();
    for to in envelope.to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_taken) => {}
            Err(error) if error.status().is_some() => not_taken.push((to, error)),
            Err(error) => return Err(error.into()),
        }
    }
    if not_taken.len() == envelope.to().len() {
        // What one of them may get later is worth another attempt.
        let transient = not_taken.iter().position(|(_, error)| error.is_transient());
        if not_taken.is_empty() {
            return Err(No::Ours(Trouble::Refused(
                "not sent: nobody is addressed".to_owned(),
            )));
        }
        let (_, error) = not_taken.swap_remove(transient.unwrap_or(0));
        return Err(error.into());
    }
    connection.command(Data).await?;
    let response = connection.message(&message.formatted()).await?;
    let said: Vec<_> = response.message().collect();
    let mut answer = format!("{} {}", response.code(), line(&said.join(" "), 200));
    for (to, error) in not_taken {
        answer.push_str(&format!(
            "; not for {to}: {}",
            line(&error.to_string(), 100)
        ));
    }
    Ok(answer)
}

fn said(named: &str, error: &Error) -> Trouble {
    let text = line(&error.to_string(), 300);
    if error.is_permanent() {
        Trouble::Refused(format!("{named}: {text}"))
    } else {
        Trouble::Later(format!("{named}: {text}"))
    }
}
