//! Addresses of this machine, where no other machine can read the traffic.

use core::net::IpAddr;

/// Returns true if a host, as it stands in a URL, is this machine whatever the name service
/// answers: `localhost`, 127.0.0.0/8 or `::1`.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Returns true if traffic by this scheme to this host can't be read on the way: it goes over TLS,
/// or to this machine.
#[must_use]
pub fn is_https_or_loopback(scheme: &str, host: &str) -> bool {
    scheme == "https" || scheme == "http" && is_loopback_host(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_addresses_of_this_machine_alone_are_loopback() {
        for (host, is_loopback) in [
            ("localhost", true),
            ("LocalHost", true),
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("[::1]", true),
            ("::1", true),
            ("rabbitmq", false),
            ("localhost.example.com", false),
            ("127.0.0.1.nip.io", false),
            ("127.1", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("[::]", false),
            ("[fe80::1]", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_host(host), is_loopback, "{host}");
        }
    }

    #[test]
    fn only_tls_and_this_machine_keep_what_is_sent_from_being_read() {
        for (scheme, host, is_kept) in [
            ("https", "api.example.com", true),
            ("https", "", true),
            ("http", "127.0.0.1", true),
            ("http", "api.example.com", false),
            ("http", "", false),
            ("ftp", "localhost", false),
        ] {
            assert_eq!(is_https_or_loopback(scheme, host), is_kept, "{scheme} {host}");
        }
    }
}
