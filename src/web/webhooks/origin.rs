//! Finds the client's address: the connection's peer, or the address that a trusted proxy saw.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;

use ferryd_serve::network::IpNetwork;

/// Returns the client behind `peer`: from the nearest proxy on, the first address that is not
/// trusted. Where `peer` is no trusted proxy, the headers are ignored, because any client can write
/// them.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNetwork]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    let mut client = peer.to_canonical();
    for hop in proxy_hops(headers).into_iter().rev() {
        if !trusted(client) {
            break;
        }
        // A value that is no address, such as `unknown`, hides the rest.
        let Some(hop) = hop else { break };
        client = hop;
    }
    client
}

/// Lists the addresses that proxies noted, the nearest one's last: of `X-Forwarded-For`, else of
/// `Forwarded` (RFC 7239).
fn proxy_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        let texts = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        texts.map(|text| text.trim().to_owned()).collect()
    };
    let x_forwarded = lines("x-forwarded-for");
    if x_forwarded.is_empty() {
        lines(FORWARDED.as_str()).iter().map(|element| address(forwarded_for(element)?)).collect()
    } else {
        x_forwarded.iter().map(|text| address(text)).collect()
    }
}

/// Returns the value of `for` in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values =
        pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value);
    values.next().map(|value| value.trim().trim_matches('"'))
}

/// Reads an address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_say_who_is_behind_them() {
        let proxies: Vec<IpNetwork> =
            ["10.0.0.0/8", "fd00::1"].map(|text| text.parse().unwrap()).into();
        let x = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("192.0.2.1", vec![(x, "198.51.100.1")], "192.0.2.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec![(x, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.0.0.1", vec![(x, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1", vec![(x, "203.0.113.9, 198.51.100.1, 10.9.9.9")], "198.51.100.1"),
            ("10.0.0.1", vec![(x, "203.0.113.9"), (x, "198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", vec![(x, "198.51.100.1, unknown")], "10.0.0.1"),
            ("10.0.0.1", vec![(x, "10.0.0.2, 10.0.0.3")], "10.0.0.2"),
            ("fd00::1", vec![("forwarded", "for=\"[2001:db8::7]:80\";proto=https")], "2001:db8::7"),
            (
                "fd00::1",
                vec![("forwarded", "for=203.0.113.9, proto=https;For=198.51.100.1")],
                "198.51.100.1",
            ),
            ("fd00::1", vec![("forwarded", "for=203.0.113.9, by=_hidden")], "fd00::1"),
            (
                "10.0.0.1",
                vec![(x, "198.51.100.1"), ("forwarded", "for=203.0.113.9")],
                "198.51.100.1",
            ),
        ] {
            let pairs =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                let name: axum::http::HeaderName = name;
                map.append(name, value);
            }
            let found = client(peer.parse().unwrap(), &map, &proxies);
            assert_eq!(found.to_string(), expected, "{peer} {headers:?}");
        }
    }
}
