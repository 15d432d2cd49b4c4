//! Which addresses are on the public internet, by the registries of special-purpose addresses.
//!
//! An IPv6 address that stands for an IPv4 one, or is carried to one, is judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds hand out credentials to whoever asks.
const METADATA: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What is not public, in IPv4: the network, its number of bits, what it is.
const SPECIAL_V4: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "an unspecified address"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (
        Ipv4Addr::new(100, 64, 0, 0),
        10,
        "a provider's private address",
    ),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "this machine"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "a reserved address"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a reserved address"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (
        Ipv4Addr::new(198, 51, 100, 0),
        24,
        "a documentation address",
    ),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::BROADCAST, 32, "a broadcast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

/// What is not public, in IPv6. Whatever is outside `2000::/3` is reserved besides.
const SPECIAL_V6: [(Ipv6Addr, u32, &str); 12] = [
    (Ipv6Addr::UNSPECIFIED, 128, "an unspecified address"),
    (Ipv6Addr::LOCALHOST, 128, "this machine"),
    (
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0),
        48,
        "a private address",
    ),
    (
        Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0),
        64,
        "a discarding address",
    ),
    (
        Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0),
        48,
        "a benchmarking address",
    ),
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "a reserved address",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "a private address",
    ),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        "a link-local address",
    ),
    (
        Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0),
        10,
        "a site-local address",
    ),
    (
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
        "a multicast address",
    ),
];

/// The addresses that a connection to this one may really reach.
pub(super) fn reached(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address.to_canonical() else {
        return vec![address.to_canonical()];
    };
    let v4 = |bits: u128| IpAddr::V4(Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32));
    let bits = v6.to_bits();
    let within = |first: Ipv6Addr, length| shares(first.to_bits(), bits, length, 128);
    let is_itself = bits <= 1;
    if within(Ipv6Addr::UNSPECIFIED, 96) && !is_itself {
        return vec![v4(bits)];
    }
    if within(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96) {
        return vec![v4(bits)];
    }
    if within(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16) {
        return vec![v4(bits >> 80)];
    }
    if within(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32) {
        // Teredo names its server in the clear and the other end with every bit turned round.
        return vec![v4(bits >> 64), v4(!bits)];
    }
    vec![IpAddr::V6(v6)]
}

/// What is special about an address, if it is not on the public internet. Embedded addresses are
/// `reached`'s concern.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => SPECIAL_V4.iter().find_map(|(first, length, what)| {
            let (first, v4) = (u128::from(first.to_bits()), u128::from(v4.to_bits()));
            shares(first, v4, *length, 32).then_some(*what)
        }),
        IpAddr::V6(v6) => {
            let known = SPECIAL_V6.iter().find_map(|(first, length, what)| {
                shares(first.to_bits(), v6.to_bits(), *length, 128).then_some(*what)
            });
            known.or_else(|| (v6.to_bits() >> 125 != 1).then_some("a reserved address"))
        }
    }
}

/// Whether it is where a cloud hands out credentials.
pub(super) fn is_metadata(address: IpAddr) -> bool {
    METADATA.contains(&address)
}

/// Whether two numbers of `width` bits have the first `length` in common.
fn shares(one: u128, other: u128, length: u32, width: u32) -> bool {
    (one ^ other).checked_shr(width - length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(text: &str) -> bool {
        let reached = reached(text.parse().unwrap());
        reached
            .into_iter()
            .all(|address| special(address).is_none())
    }

    #[test]
    fn edges_of_every_special_network_are_known() {
        for (first, last, outside) in [
            ("0.0.0.0", "0.255.255.255", "1.0.0.0"),
            ("10.0.0.0", "10.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("127.0.0.0", "127.255.255.255", "128.0.0.0"),
            ("169.254.0.0", "169.254.255.255", "169.255.0.0"),
            ("172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("192.0.0.0", "192.0.0.255", "192.0.1.0"),
            ("192.0.2.0", "192.0.2.255", "192.0.3.0"),
            ("192.88.99.0", "192.88.99.255", "192.88.100.0"),
            ("192.168.0.0", "192.168.255.255", "192.169.0.0"),
            ("198.18.0.0", "198.19.255.255", "198.20.0.0"),
            ("198.51.100.0", "198.51.100.255", "198.51.101.0"),
            ("203.0.113.0", "203.0.113.255", "203.0.114.0"),
            ("224.0.0.0", "255.255.255.255", "223.255.255.255"),
            ("::", "::1", "2606:4700::1"),
            (
                "64:ff9b:1::",
                "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
                "2a00::",
            ),
            ("100::", "100::ffff:ffff:ffff:ffff", "2a00::"),
            (
                "2001:2::",
                "2001:2:0:ffff:ffff:ffff:ffff:ffff",
                "2001:200::",
            ),
            (
                "2001:1::",
                "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
                "2001:200::",
            ),
            (
                "2001:db8::",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                "2001:db9::",
            ),
            (
                "3fff::",
                "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
                "3fff:1000::",
            ),
            (
                "fc00::",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "2a00::",
            ),
            (
                "fe80::",
                "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "2a00::",
            ),
            (
                "fec0::",
                "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "2a00::",
            ),
            (
                "ff00::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "2a00::",
            ),
            ("4000::", "5fff::", "2a00::"),
        ] {
            assert!(!is_public(first), "{first}");
            assert!(!is_public(last), "{last}");
            assert!(is_public(outside), "{outside}");
        }
    }

    #[test]
    fn embedded_addresses_decide() {
        for (private, public) in [
            ("::ffff:127.0.0.1", "::ffff:1.1.1.1"),
            ("::127.0.0.1", "::1.1.1.1"),
            ("64:ff9b::127.0.0.1", "64:ff9b::1.1.1.1"),
            ("2002:7f00:1::", "2002:101:101::"),
            // The other end, 127.0.0.1 and 1.1.1.1, turned round.
            ("2001:0:101:101::80ff:fffe", "2001:0:101:101::fefe:fefe"),
            // The server, 127.0.0.1.
            ("2001:0:7f00:1::fefe:fefe", "2001:0:101:101::fefe:fefe"),
        ] {
            assert!(!is_public(private), "{private}");
            assert!(is_public(public), "{public}");
        }
    }

    #[test]
    fn metadata_services_are_known_in_every_dress() {
        for address in [
            "169.254.169.254",
            "64:ff9b::169.254.169.254",
            "fd00:ec2::254",
        ] {
            let reached = reached(address.parse().unwrap());
            assert!(reached.into_iter().any(is_metadata), "{address}");
        }
    }
}
