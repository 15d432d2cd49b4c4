//! Places in settings that messages may go to although they are not on the public internet.

use std::net::{IpAddr, SocketAddr};

use url::Host;

use super::network::Network;

/// A network, an address with a port, or a name with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Every port of these addresses.
    Network(Network),
    /// One port of one address.
    Address(SocketAddr),
    /// One port of whatever this name stands for.
    Name {
        /// The name in lower case.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Destination {
    /// Reads `10.0.0.0/8`, `10.0.0.7`, `10.0.0.7:25`, `[fd00::7]:25` or `mail.internal:25`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(network) = Network::parse(text) {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let wrong = || {
            "must be a network such as 10.0.0.0/8, or a host with its port such as \
             mail.internal:587"
                .to_owned()
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        match (Host::parse(host), port) {
            (Ok(Host::Domain(host)), Some(port)) if is_name(&host) => Ok(Self::Name { host, port }),
            _ => Err(wrong()),
        }
    }

    /// Whether this port of this address is meant, when a name led to it or none did.
    #[must_use]
    pub fn covers(&self, name: Option<&str>, address: IpAddr, port: u16) -> bool {
        match self {
            Self::Network(network) => network.contains(address),
            Self::Address(own) => {
                own.port() == port && own.ip().to_canonical() == address.to_canonical()
            }
            Self::Name { host, port: own } => *own == port && name == Some(host.as_str()),
        }
    }

    /// Whether it stands for this address and no other.
    #[must_use]
    pub fn is_exactly(&self, address: IpAddr, port: u16) -> bool {
        match self {
            Self::Network(network) => network.is_one_address() && network.contains(address),
            Self::Address(_) => self.covers(None, address, port),
            Self::Name { .. } => false,
        }
    }
}

/// A name as people write it: patterns stand for nothing here, and a last dot for another spelling.
fn is_name(host: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    host.chars().all(known) && !host.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(entry: &str, name: Option<&str>, address: &str, port: u16) -> bool {
        let address = address.parse().unwrap();
        Destination::parse(entry)
            .unwrap()
            .covers(name, address, port)
    }

    #[test]
    fn entries_cover_what_they_say_and_nothing_else() {
        assert!(covers("10.0.0.0/8", None, "10.1.2.3", 9));
        assert!(covers(
            "10.0.0.0/8",
            Some("any.example"),
            "::ffff:10.1.2.3",
            9
        ));
        assert!(!covers("10.0.0.0/8", None, "11.1.2.3", 9));
        assert!(covers("10.0.0.7:25", None, "10.0.0.7", 25));
        assert!(!covers("10.0.0.7:25", None, "10.0.0.7", 26));
        assert!(covers("[fd00::7]:25", None, "fd00::7", 25));
        assert!(covers(
            "Mail.Internal:25",
            Some("mail.internal"),
            "10.0.0.7",
            25
        ));
        assert!(!covers(
            "mail.internal:25",
            Some("mail.internal"),
            "10.0.0.7",
            26
        ));
        assert!(!covers(
            "mail.internal:25",
            Some("other.internal"),
            "10.0.0.7",
            25
        ));
        assert!(!covers("mail.internal:25", None, "10.0.0.7", 25));
    }

    #[test]
    fn only_an_address_stands_for_exactly_one() {
        let address = "169.254.169.254".parse().unwrap();
        for (entry, expected) in [
            ("169.254.169.254", true),
            ("169.254.169.254/32", true),
            ("169.254.169.254:80", true),
            ("169.254.169.254:81", false),
            ("169.254.0.0/16", false),
            ("metadata.internal:80", false),
        ] {
            let entry = Destination::parse(entry).unwrap();
            assert_eq!(entry.is_exactly(address, 80), expected, "{entry:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "mail.internal",
            "mail.internal:0",
            "mail.internal:70000",
            "mail.internal.:25",
            "http://mail.internal:25",
            "10.0.0.0/33",
            "*:25",
            "127.1:25",
        ] {
            assert!(Destination::parse(wrong).is_err(), "{wrong}");
        }
    }
}
