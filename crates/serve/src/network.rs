//! IP networks in CIDR notation, such as `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An IP address, or all addresses with a common prefix (CIDR, RFC 4632): `192.0.2.7`,
/// `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct IpNetwork(IpNet);

/// The reason why a text is no [`IpNetwork`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIpNetwork {
    /// The text is neither an address nor a network.
    #[error("`{0}` is no IP address or network: write 192.0.2.7 or 10.0.0.0/8")]
    NoNetwork(String),
    /// The address has bits set beyond the prefix of the network.
    #[error("`{0}` has bits behind its prefix: write {1}")]
    Rest(String, IpNetwork),
}

impl IpNetwork {
    /// The networks that together hold every address.
    #[must_use]
    pub fn all() -> [Self; 2] {
        [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())].map(Self)
    }

    /// Returns true if the network contains an address. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The first address of the network of so many bits that contains `address`; the address itself if
/// it has fewer bits.
pub(super) fn first_of_network(address: IpAddr, bits: u8) -> IpAddr {
    IpNet::new(address, bits).map_or(address, |network| network.network())
}

impl FromStr for IpNetwork {
    type Err = InvalidIpNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidIpNetwork> {
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
        let network = network.map_err(|_| InvalidIpNetwork::NoNetwork(text.to_owned()))?;
        if network == network.trunc() {
            return Ok(Self(network));
        }
        Err(InvalidIpNetwork::Rest(text.to_owned(), Self(network.trunc())))
    }
}

impl TryFrom<String> for IpNetwork {
    type Error = InvalidIpNetwork;

    fn try_from(text: String) -> Result<Self, InvalidIpNetwork> {
        text.parse()
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<IpNetwork> for String {
    fn from(network: IpNetwork) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
        ] {
            let network: IpNetwork = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/-1",
            "1.2.3.4:80",
        ] {
            assert!(
                matches!(text.parse::<IpNetwork>(), Err(InvalidIpNetwork::NoNetwork(_))),
                "{text}"
            );
        }
        let error = "10.1.2.3/8".parse::<IpNetwork>().unwrap_err().to_string();
        assert!(error.ends_with("write 10.0.0.0/8"), "{error}");
    }
}
