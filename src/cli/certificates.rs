//! Examines the certificates that the configuration names, for those that have expired or soon
//! will.
//!
//! An expired certificate of ferryd's own is a fault, because no peer accepts it. So is a file of
//! authorities that have all expired: nothing is issued under them, so the file becomes useless
//! with the certificates issued before, although TLS ignores the dates of an authority that it is
//! configured to trust. One expired authority of several is a warning, because bundles keep old
//! authorities for as long as they may be needed, and connections are made by the others. An
//! expired certificate behind ferryd's own in its chain is a warning as well: the peer may know
//! another path to an authority.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::Config;
use ferryd_provider::Provider;
use ferryd_provider::certificate::{
    CertificateDates, CertificateValidity, name_place, read_certificate_dates,
};

/// The warnings and faults of all certificates, one line each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateFindings {
    /// Warnings: worth a look.
    pub(super) warnings: Vec<String>,
    /// Faults: certificates that can't work.
    pub(super) faults: Vec<String>,
}

/// The purpose of a file of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CertificateUse {
    /// The authorities to trust.
    Authorities,
    /// A certificate of ferryd's own, followed by its chain.
    Own,
}

/// A file of certificates that the configuration names.
#[derive(Debug)]
struct CertificateFile {
    /// The key that names the file.
    key: String,
    path: PathBuf,
    usage: CertificateUse,
}

/// Examines every certificate that the configuration and the provider files name.
pub(super) fn examine_certificates(
    config: &Config,
    providers: &[&Provider],
    now: Timestamp,
) -> CertificateFindings {
    let mut findings = CertificateFindings::default();
    for file in named_files(config, providers) {
        match read_certificate_dates(&file.path) {
            Ok(certificates) => file.examine(&certificates, now, &mut findings),
            Err(error) => findings.faults.push(format!("{}: {error}", file.place())),
        }
    }
    findings
}

/// Lists the files of certificates. A file that belongs to the endpoint's key is reported where the
/// endpoint reads it, if it can't be read.
fn named_files(config: &Config, providers: &[&Provider]) -> Vec<CertificateFile> {
    let file = |key: &str, path: &Option<PathBuf>, usage: CertificateUse| {
        path.clone().map(|path| CertificateFile { key: key.to_owned(), path, usage })
    };
    let of_daemon = [
        file("amqp.ca_file", &config.amqp.ca_file, CertificateUse::Authorities),
        file("amqp.client_cert_file", &config.amqp.client_cert_file, CertificateUse::Own),
        file("webhooks.tls_cert_file", &config.webhooks.tls_cert_file, CertificateUse::Own)
            .filter(|file| is_readable(&file.path)),
    ];
    let of_provider = providers.iter().map(|provider| {
        file(
            &format!("provider {}: ca_file", provider.name),
            &provider.http.ca_file,
            CertificateUse::Authorities,
        )
    });
    of_daemon.into_iter().chain(of_provider).flatten().collect()
}

fn is_readable(path: &Path) -> bool {
    read_certificate_dates(path).is_ok()
}

impl CertificateFile {
    /// Describes the key and the file, as every line begins.
    fn place(&self) -> String {
        format!("{} = \"{}\"", self.key, self.path.display())
    }

    fn examine(
        &self,
        certificates: &[Result<CertificateDates, String>],
        now: Timestamp,
        findings: &mut CertificateFindings,
    ) {
        let (place, count) = (self.place(), certificates.len());
        // A certificate that can't be read here may still be of use to a connection.
        let is_of_use = |one: &Result<CertificateDates, String>| {
            one.as_ref().map_or(true, |one| {
                matches!(one.validity(now), CertificateValidity::Good | CertificateValidity::Ending)
            })
        };
        let is_lost = !certificates.iter().any(is_of_use);
        for (index, certificate) in certificates.iter().enumerate() {
            let certificate = match certificate {
                Ok(certificate) => certificate,
                Err(reason) => {
                    let name = name_place(index, count);
                    findings.warnings.push(format!(
                        "{place}: {name} cannot be read, and may be of no use ({reason})"
                    ));
                    continue;
                }
            };
            let (validity, Some(dates)) =
                (certificate.validity(now), certificate.describe_validity(now))
            else {
                continue;
            };
            let is_fault = match (self.usage, validity) {
                (_, CertificateValidity::Good | CertificateValidity::Ending) => false,
                (
                    CertificateUse::Own,
                    CertificateValidity::Expired | CertificateValidity::NotYet,
                ) => index == 0,
                (
                    CertificateUse::Authorities,
                    CertificateValidity::Expired | CertificateValidity::NotYet,
                ) => is_lost,
            };
            let line = format!(
                "{place}: {} {dates}{}",
                certificate.name(index, count),
                self.remedy(validity, index)
            );
            if is_fault { findings.faults.push(line) } else { findings.warnings.push(line) }
        }
    }

    /// Says what to do about the certificate with this index.
    fn remedy(&self, validity: CertificateValidity, index: usize) -> &'static str {
        match (self.usage, validity) {
            (_, CertificateValidity::NotYet) => "",
            (CertificateUse::Own, _) if index > 0 => "; put its successor into the chain",
            (CertificateUse::Own, _) => "; put a new one into the file",
            (CertificateUse::Authorities, CertificateValidity::Expired) => {
                "; put its successor into the file, or take it out"
            }
            (CertificateUse::Authorities, _) => "; put its successor beside it",
        }
    }
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
