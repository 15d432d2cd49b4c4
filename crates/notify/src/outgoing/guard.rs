//! Judges where a message may go.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use slipway_core::settings::{Notifications, destination::Destination};
use tokio::time;
use url::{Host, Url};

use super::{
    CONNECT_TIMEOUT, Trouble, address,
    resolve::{Resolve, SystemResolver},
    roots::Roots,
};

/// The way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    allowed: Arc<[Destination]>,
    resolver: Arc<dyn Resolve>,
    pub(super) roots: Roots,
}

/// A host, a port, and the addresses that were judged.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// As it stands in certificates.
    pub(crate) host: String,
    /// Where connections go, and nowhere else.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Outgoing {
    /// A way out that asks the system for addresses.
    ///
    /// # Errors
    /// When the settings name a file or a destination that cannot be used.
    pub fn new(settings: &Notifications) -> anyhow::Result<Self> {
        let entries = settings.allow.iter();
        let allowed: Result<Vec<_>, _> = entries.map(|entry| Destination::parse(entry)).collect();
        let allowed =
            allowed.map_err(|why| anyhow::anyhow!("notifications.allow: an entry {why}"))?;
        Ok(Self {
            allowed: allowed.into(),
            resolver: Arc::new(SystemResolver),
            roots: Roots::read(settings.ca_file.as_deref())?,
        })
    }

    /// The same with another source of addresses.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Reads an address for HTTP and says what is wrong with it, as far as that can be said without
    /// asking anybody.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) fn url(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with https:// or http://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or a password".to_owned());
        }
        let port = url.port_or_known_default();
        let (Some(host), Some(port)) = (url.host(), port) else {
            return Err("names no host".to_owned());
        };
        self.judge_host(&host.to_owned(), port)?;
        Ok(url)
    }

    /// Reads a host name or an address, the way that browsers read it.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) fn host(&self, text: &str, port: u16) -> Result<Host, String> {
        let text = text.trim();
        // Without its brackets no address of IPv6 is read.
        let literal = text.parse::<std::net::Ipv6Addr>().map(Host::Ipv6);
        let host = literal.or_else(|_| Host::parse(text));
        let host = host.map_err(|error| format!("is no host: {error}"))?;
        self.judge_host(&host, port)?;
        Ok(host)
    }

    fn judge_host(&self, host: &Host, port: u16) -> Result<(), String> {
        match host {
            Host::Domain(name) => self.judge_name(name, port),
            Host::Ipv4(address) => self.judge(None, IpAddr::V4(*address), port),
            Host::Ipv6(address) => self.judge(None, IpAddr::V6(*address), port),
        }
    }

    fn judge_name(&self, name: &str, port: u16) -> Result<(), String> {
        if name.ends_with('.') {
            return Err(format!("{name} ends with a dot; write it without"));
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let named = |entry: &Destination| matches!(entry, Destination::Name { host, port: own } if host == name && *own == port);
        if is_local && !self.allowed.iter().any(named) {
            return Err(forbidden(name, "this machine"));
        }
        Ok(())
    }

    fn judge(&self, name: Option<&str>, address: IpAddr, port: u16) -> Result<(), String> {
        let covered = |address| {
            let mut entries = self.allowed.iter();
            entries.any(|entry| entry.covers(name, address, port))
        };
        let exactly = |address| {
            let mut entries = self.allowed.iter();
            entries.any(|entry| entry.is_exactly(address, port))
        };
        for reached in address::reached(address) {
            let metadata = address::is_metadata(reached);
            if metadata && !exactly(reached) {
                let host = name.map_or_else(|| address.to_string(), str::to_owned);
                return Err(forbidden(&host, "a cloud's metadata service"));
            }
            let Some(what) = address::special(reached).filter(|_| !metadata) else {
                continue;
            };
            if !covered(address) && !covered(reached) {
                let host = name.map_or_else(|| address.to_string(), str::to_owned);
                return Err(forbidden(&host, what));
            }
        }
        Ok(())
    }

    /// Resolves a host once and judges every address that it has.
    pub(crate) async fn place(&self, host: &Host, port: u16) -> Result<Place, Trouble> {
        let refused = |why: String| Trouble::Refused(format!("not sent: {why}"));
        self.judge_host(host, port).map_err(refused)?;
        let (name, addresses) = match host {
            Host::Ipv4(address) => (None, vec![SocketAddr::new(IpAddr::V4(*address), port)]),
            Host::Ipv6(address) => (None, vec![SocketAddr::new(IpAddr::V6(*address), port)]),
            Host::Domain(name) => (Some(name.as_str()), self.addresses(name, port).await?),
        };
        for address in &addresses {
            self.judge(name, address.ip(), port).map_err(refused)?;
        }
        let host = match host {
            Host::Ipv6(address) => address.to_string(),
            Host::Domain(_) | Host::Ipv4(_) => host.to_string(),
        };
        Ok(Place { host, addresses })
    }

    async fn addresses(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
        let asked = time::timeout(CONNECT_TIMEOUT, self.resolver.resolve(name, port)).await;
        let found = asked
            .map_err(|_elapsed| {
                Trouble::Later(format!("the name {name} was not resolved in time"))
            })?
            .map_err(|_error| Trouble::Later(format!("the name {name} cannot be resolved")))?;
        if found.is_empty() {
            return Err(Trouble::Later(format!("the name {name} has no address")));
        }
        let ported = found.into_iter();
        Ok(ported
            .map(|address| SocketAddr::new(address.ip(), port))
            .collect())
    }
}

fn forbidden(host: &str, what: &str) -> String {
    format!("{host} is {what}; a server of your own must be listed in notifications.allow")
}
