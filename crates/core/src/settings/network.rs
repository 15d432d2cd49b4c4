//! Addresses and networks in settings, such as `10.0.0.0/8`.

use std::net::IpAddr;

/// One address, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    /// The bits that all of them share.
    bits: u32,
    is_v4: bool,
}

impl Network {
    /// Reads an address, or an address, a slash and the number of shared bits.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be an address or a network such as 10.0.0.0/8".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_error| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_error| wrong())?;
        let (number, is_v4) = number(address);
        let width = if is_v4 { 32 } else { 128 };
        let bits: u32 = bits.unwrap_or(width);
        if bits > width {
            return Err(wrong());
        }
        let bits = bits + 128 - width;
        Ok(Self {
            first: masked(number, bits),
            bits,
            is_v4,
        })
    }

    /// Whether it is one address and no more.
    #[must_use]
    pub fn is_one_address(&self) -> bool {
        self.bits == 128
    }

    /// Whether this address is in it. `::ffff:192.0.2.1` is 192.0.2.1.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (number, is_v4) = number(address);
        is_v4 == self.is_v4 && masked(number, self.bits) == self.first
    }
}

fn number(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), true),
        IpAddr::V6(address) => (u128::from(address), false),
    }
}

fn masked(number: u128, bits: u32) -> u128 {
    let rest = 128 - bits.min(128);
    number
        .checked_shr(rest)
        .and_then(|kept| kept.checked_shl(rest))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("::1", "::1", true),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "proxy.example.com",
            "10.0.0.0/x",
        ] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }
}
