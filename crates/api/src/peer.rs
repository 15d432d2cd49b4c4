//! The real address of whoever asks. `X-Forwarded-For` counts only as far as proxies that the
//! configuration trusts have written it: anybody can send one.

use std::net::IpAddr;

use actix_web::HttpRequest;
use slipway_core::settings::network::Network;

/// The proxies whose word counts.
#[derive(Clone, Debug)]
pub struct Proxies(Vec<Network>);

impl Proxies {
    /// Reads the setting.
    ///
    /// # Errors
    /// When an item is no address or network.
    pub fn new(trusted: &[String]) -> anyhow::Result<Self> {
        let networks = trusted.iter().map(|text| Network::parse(text));
        networks
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|why| anyhow::anyhow!("server.trusted_proxies {why}"))
    }

    /// The address of whoever asks.
    #[must_use]
    pub fn client(&self, request: &HttpRequest) -> String {
        let Some(peer) = request.peer_addr() else {
            return String::new();
        };
        let values = request.headers().get_all("X-Forwarded-For");
        let forwarded: Vec<&str> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        self.behind(peer.ip(), &forwarded).to_string()
    }

    /// From the peer back to the first one that is no trusted proxy. What cannot be read is not
    /// gone past.
    fn behind(&self, peer: IpAddr, forwarded: &[&str]) -> IpAddr {
        let mut client = peer.to_canonical();
        for text in forwarded.iter().rev() {
            if !self.0.iter().any(|network| network.contains(client)) {
                break;
            }
            let Ok(next) = text.trim().parse::<IpAddr>() else {
                break;
            };
            client = next.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let client = |trusted: &[&str], peer: &str, forwarded: &[&str]| {
            let trusted: Vec<String> = trusted.iter().map(|text| (*text).to_owned()).collect();
            let proxies = Proxies::new(&trusted).unwrap();
            proxies.behind(address(peer), forwarded).to_string()
        };
        let forged = ["203.0.113.9"];
        assert_eq!(client(&[], "192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &forged), "203.0.113.9");
        // What the client wrote itself stands before what the proxy added.
        let both = ["1.2.3.4", " 203.0.113.9"];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &both), "203.0.113.9");
        let chain = ["1.2.3.4", "203.0.113.9", "10.0.0.2"];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &chain), "203.0.113.9");
        assert_eq!(
            client(&["10.0.0.0/8"], "10.0.0.1", &["nonsense"]),
            "10.0.0.1"
        );
        assert_eq!(
            client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &forged),
            "203.0.113.9"
        );
    }
}
