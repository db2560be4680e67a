//! Certificates as people ask about them: their subject, and their validity period.

use std::io;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The time before its expiry from which a certificate is warned of.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The validity of a certificate at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateValidity {
    /// The certificate is valid for thirty days or longer.
    Good,
    /// The certificate is valid, and expires within thirty days.
    Ending,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYet,
}

/// The subject and dates of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDates {
    /// The subject, as `CN=…, O=…`; empty where the certificate has none.
    pub subject: String,
    /// The time from which the certificate is valid.
    pub not_before: Timestamp,
    /// The time until which the certificate is valid.
    pub not_after: Timestamp,
}

/// The reason why the certificates of a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFileError {
    /// The file can't be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file holds no certificate.
    #[error(
        "holds no certificate: name the PEM file that begins with `-----BEGIN CERTIFICATE-----`"
    )]
    Empty,
    /// The file is not in PEM format.
    #[error("is no PEM ({0}): write the file anew")]
    NotPem(String),
}

/// Reads the certificates of a PEM file, in their order; a certificate that can't be parsed is
/// returned as the parser's error text.
///
/// # Errors
/// [`CertificateFileError`].
pub fn read_certificate_dates(
    path: &Path,
) -> Result<Vec<Result<CertificateDates, String>>, CertificateFileError> {
    let pem = std::fs::read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates =
        certificates.map_err(|error| CertificateFileError::NotPem(error.to_string()))?;
    if certificates.is_empty() {
        return Err(CertificateFileError::Empty);
    }
    Ok(certificates.iter().map(CertificateDates::read).collect())
}

impl CertificateDates {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// The parser's error text.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let validity = certificate.validity();
        let date =
            |seconds: i64| Timestamp::from_second(seconds).map_err(|error| error.to_string());
        Ok(Self {
            subject: certificate.subject().to_string(),
            not_before: date(validity.not_before.timestamp())?,
            // The expiry of a certificate without one is 9999-12-31T23:59:59Z (RFC 5280, section
            // 4.1.2.5).
            not_after: date(validity.not_after.timestamp()).unwrap_or(Timestamp::MAX),
        })
    }

    /// Determines the validity of the certificate at a time.
    #[must_use]
    pub fn validity(&self, now: Timestamp) -> CertificateValidity {
        if now > self.not_after {
            CertificateValidity::Expired
        } else if now < self.not_before {
            CertificateValidity::NotYet
        } else if self.not_after.duration_since(now) < SOON {
            CertificateValidity::Ending
        } else {
            CertificateValidity::Good
        }
    }

    /// Describes the certificate's dates, to follow the certificate's name in a sentence; `None` if
    /// the certificate is valid for long.
    #[must_use]
    pub fn describe_validity(&self, now: Timestamp) -> Option<String> {
        let Self { not_before, not_after, .. } = self;
        match self.validity(now) {
            CertificateValidity::Good => None,
            CertificateValidity::Ending => {
                Some(format!("expires on {not_after}, {}", describe_rest(*not_after, now)))
            }
            CertificateValidity::Expired => Some(format!("expired on {not_after}")),
            CertificateValidity::NotYet => {
                Some(format!("is not good before {not_before}; is the clock right?"))
            }
        }
    }

    /// Names the certificate by its index among others, counted from 0, and by its subject.
    #[must_use]
    pub fn name(&self, index: usize, count: usize) -> String {
        let which = name_place(index, count);
        if self.subject.is_empty() { which } else { format!("{which} `{}`", self.subject) }
    }
}

/// Names a certificate by its index among others, counted from 0.
#[must_use]
pub fn name_place(index: usize, count: usize) -> String {
    if count == 1 {
        "the certificate".to_owned()
    } else {
        format!("certificate {} of {count}", index + 1)
    }
}

fn describe_rest(end: Timestamp, now: Timestamp) -> String {
    match end.duration_since(now).as_hours() / 24 {
        0 => "within a day".to_owned(),
        1 => "in a day".to_owned(),
        days => format!("in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn each_certificate_of_a_file_has_its_subject_and_dates() {
        let dir = tempfile::tempdir().unwrap();
        let pem = |name: &str, year: i32| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.distinguished_name.push(DnType::OrganizationName, "Shop");
            (params.not_before, params.not_after) =
                (date_time_ymd(2020, 1, 1), date_time_ymd(year, 2, 3));
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let path = dir.path().join("ca.pem");
        fs::write(&path, [pem("one", 2021), pem("two", 4096)].concat()).unwrap();
        let found: Result<Vec<_>, _> = read_certificate_dates(&path).unwrap().into_iter().collect();
        let found = found.unwrap();
        let of = |one: &CertificateDates| {
            (one.subject.clone(), one.not_before.to_string(), one.not_after.to_string())
        };
        let begin = "2020-01-01T00:00:00Z".to_owned();
        assert_eq!(
            of(&found[0]),
            ("CN=one, O=Shop".to_owned(), begin.clone(), "2021-02-03T00:00:00Z".to_owned())
        );
        assert_eq!(
            of(&found[1]),
            ("CN=two, O=Shop".to_owned(), begin, "4096-02-03T00:00:00Z".to_owned())
        );
    }

    #[test]
    fn a_file_without_certificates_is_reported_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        for (text, fault) in [
            (None, "cannot be read: No such file"),
            (Some(""), "holds no certificate"),
            (Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), "is no PEM"),
        ] {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let error = read_certificate_dates(&path).unwrap_err().to_string();
            assert!(error.starts_with(fault), "{error}");
        }
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let found = read_certificate_dates(&path).unwrap();
        assert!(found.len() == 1 && found[0].is_err(), "{found:?}");
    }
}
