//! The certificate of the sandbox, and the authority that signs it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use ferryd_serve::tls::tls_acceptor;

/// The names under which the sandbox can be called.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The reason why the sandbox has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read or written.
    #[error("sandbox file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Files of an earlier start can't be used.
    #[error(
        "the sandbox's certificate in {dir} cannot be used ({reason}): remove its *.pem files, and new ones are made"
    )]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// The reason, from the parser.
        reason: String,
    },
    /// No certificate could be generated.
    #[error("no certificate could be made: {0}")]
    Making(#[from] rcgen::Error),
}

/// A certificate for this machine, in PEM. The authority's key is discarded, so the authority can
/// sign nothing else.
pub(super) struct SandboxCertificate {
    pub(super) ca: String,
    server: String,
    key: String,
}

impl SandboxCertificate {
    /// Reads the certificate from a folder, or makes a new one and stores it there; without a
    /// folder the certificate is always new.
    pub(super) fn in_dir(dir: Option<&Path>) -> Result<Self, CertificateError> {
        let Some(dir) = dir else { return Ok(Self::make()?) };
        let [ca, certificate, key] = files(dir);
        if [&ca, &certificate, &key].iter().all(|path| path.exists()) {
            return Ok(Self { ca: read(&ca)?, server: read(&certificate)?, key: read(&key)? });
        }
        let made = Self::make()?;
        std::fs::create_dir_all(dir)
            .map_err(|source| CertificateError::File { path: dir.to_owned(), source })?;
        write(&key, &made.key, 0o600)?;
        write(&certificate, &made.server, 0o644)?;
        write(&ca, &made.ca, 0o644)?;
        Ok(made)
    }

    fn make() -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // TLS clients distinguish authorities by name.
        let name = format!("ferryd sandbox {}", uuid::Uuid::new_v4());
        authority.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new(NAMES.map(str::to_owned))?.signed_by(&key, &authority)?;
        Ok(Self { ca: authority.pem(), server: certificate.pem(), key: key.serialize_pem() })
    }

    /// Makes a TLS acceptor of the certificate; errors name `dir`.
    pub(super) fn acceptor(&self, dir: Option<&Path>) -> Result<TlsAcceptor, CertificateError> {
        let unusable = |reason: String| CertificateError::Unusable {
            dir: dir.unwrap_or_else(|| Path::new("memory")).to_owned(),
            reason,
        };
        let chain = CertificateDer::from_pem_slice(self.server.as_bytes())
            .map_err(|e| unusable(e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|e| unusable(e.to_string()))?;
        tls_acceptor(vec![chain], key).map_err(|error| unusable(error.to_string()))
    }
}

fn files(dir: &Path) -> [PathBuf; 3] {
    ["ca.pem", "server.pem", "server-key.pem"].map(|name| dir.join(name))
}

fn read(path: &Path) -> Result<String, CertificateError> {
    std::fs::read_to_string(path)
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    // A file that an interrupted start left keeps its mode when it is opened, so it is created
    // anew.
    let written = match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().write(true).create_new(true).mode(mode).open(path),
    };
    written
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}
