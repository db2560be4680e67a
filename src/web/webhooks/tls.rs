//! The endpoint's own certificate.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::WebhooksConfig;
use ferryd_serve::tls::tls_acceptor;

/// A TLS file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = \"{}\": {message}", path.display())]
pub struct TlsError {
    /// The configuration key of the file.
    pub key: &'static str,
    /// The path of the file.
    pub path: PathBuf,
    /// The fault of the file, and what to do about it.
    pub message: String,
}

/// Builds the TLS acceptor of these settings; `None` for plain HTTP. Both files are read once.
///
/// # Errors
/// A file can't be read, is no PEM, or the two do not belong together.
pub fn load(settings: &WebhooksConfig) -> Result<Option<TlsAcceptor>, TlsError> {
    let WebhooksConfig { tls_cert_file: Some(cert), tls_key_file: Some(key), .. } = settings else {
        return Ok(None);
    };
    acceptor(cert, key).map(Some)
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let of_cert =
        |message| TlsError { key: "webhooks.tls_cert_file", path: cert.to_owned(), message };
    let of_key = |message| TlsError { key: "webhooks.tls_key_file", path: key.to_owned(), message };
    let pem = std::fs::read(cert).map_err(|error| of_cert(format!("cannot be read: {error}")))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain =
        chain.map_err(|error| of_cert(format!("is no PEM ({error}): write the file anew")))?;
    if chain.is_empty() {
        let message = "holds no certificate: name the PEM file that begins with `-----BEGIN CERTIFICATE-----`";
        return Err(of_cert(message.to_owned()));
    }
    let pem = std::fs::read(key).map_err(|error| of_key(format!("cannot be read: {error}")))?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        of_key("holds no private key: name the PEM file that begins with `-----BEGIN PRIVATE KEY-----`".to_owned())
    })?;
    tls_acceptor(chain, private).map_err(|error| {
        of_key(format!(
            "does not go with the certificate ({error}): name the key that it was made for"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn unusable_files_are_reported_by_their_key() {
        let dir = tempfile::tempdir().unwrap();
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        for (name, text) in [
            ("cert.pem", one.cert.pem()),
            ("key.pem", one.signing_key.serialize_pem()),
            ("other.pem", other.signing_key.serialize_pem()),
            ("empty.pem", String::new()),
            (
                "broken.pem",
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_owned(),
            ),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        for (cert, key, fault) in [
            ("cert.pem", "key.pem", None),
            (
                "none.pem",
                "key.pem",
                Some("webhooks.tls_cert_file = \"{}/none.pem\": cannot be read"),
            ),
            (
                "empty.pem",
                "key.pem",
                Some("webhooks.tls_cert_file = \"{}/empty.pem\": holds no certificate"),
            ),
            (
                "key.pem",
                "key.pem",
                Some("webhooks.tls_cert_file = \"{}/key.pem\": holds no certificate"),
            ),
            (
                "broken.pem",
                "key.pem",
                Some("webhooks.tls_cert_file = \"{}/broken.pem\": is no PEM"),
            ),
            (
                "cert.pem",
                "none.pem",
                Some("webhooks.tls_key_file = \"{}/none.pem\": cannot be read"),
            ),
            (
                "cert.pem",
                "cert.pem",
                Some("webhooks.tls_key_file = \"{}/cert.pem\": holds no private key"),
            ),
            (
                "cert.pem",
                "other.pem",
                Some("webhooks.tls_key_file = \"{}/other.pem\": does not go with"),
            ),
        ] {
            let found = acceptor(&dir.path().join(cert), &dir.path().join(key))
                .err()
                .map(|error| error.to_string());
            let fault = fault.map(|fault| fault.replace("{}", &dir.path().display().to_string()));
            assert_eq!(found.is_some(), fault.is_some(), "{cert} {key} {found:?}");
            assert!(
                found.zip(fault).is_none_or(|(found, fault)| found.starts_with(&fault)),
                "{cert} {key}"
            );
        }
        assert!(load(&WebhooksConfig::default()).unwrap().is_none());
    }
}
