//! Mail that people asked for. It holds no secret but the link in it, and goes nowhere but to the
//! account's own address.

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox,
    transport::smtp::authentication::Credentials,
};
use secrecy::ExposeSecret as _;
use slipway_core::settings::{Smtp, SmtpTls};

/// How long a server may take.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// Hands mail to the configured server.
#[derive(Clone, Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// Reads the settings; the server is not asked yet.
    ///
    /// # Errors
    /// When the sender's address or the host is not acceptable.
    pub fn new(settings: &Smtp) -> anyhow::Result<Self> {
        type Transport = AsyncSmtpTransport<Tokio1Executor>;
        let host = settings.host.as_str();
        let mut builder = match settings.tls {
            SmtpTls::Off => Transport::builder_dangerous(host),
            SmtpTls::On => Transport::relay(host)?,
            SmtpTls::Starttls => Transport::starttls_relay(host)?,
        };
        if let (Some(name), Some(password)) = (&settings.username, &settings.password) {
            let password = password.expose_secret().to_owned();
            builder = builder.credentials(Credentials::new(name.clone(), password));
        }
        Ok(Self {
            transport: builder.port(settings.port).timeout(Some(TIMEOUT)).build(),
            from: settings.from.parse()?,
        })
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// When the address is none, or the server does not take it.
    pub async fn send(&self, to: &str, subject: &str, text: String) -> anyhow::Result<()> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(to.parse()?)
            .subject(subject)
            .body(text)?;
        self.transport.send(message).await?;
        Ok(())
    }
}
