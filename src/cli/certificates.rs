//! The certificates that the configuration names: those that are over, and those that soon will be.
//!
//! A certificate of ferryd's own that is over is a fault, for nobody takes it any more. So is a file of authorities none of which is good
//! any more: nothing is issued under them, so it ends with what they issued before, although TLS does not look at the dates of an authority
//! that it is told to trust. One of several authorities is a warning, because bundles keep old ones for as long as somebody may still need
//! them, and connections are made by the others. A certificate behind ferryd's own in its chain is a warning as well: the other side may
//! know another way to an authority.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::Config;
use crate::provider::Provider;
use crate::provider::certificate::{CertificateDates, CertificateValidity, name_place, read_certificate_dates};

/// The warnings and faults of all certificates, one line each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateFindings {
    /// Warnings: these deserve a thought.
    pub(super) warnings: Vec<String>,
    /// Faults: these can't work.
    pub(super) faults: Vec<String>,
}

/// The purpose of a file of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CertificateUse {
    /// The authorities to trust.
    Authorities,
    /// A certificate of ferryd's own, with its chain behind it.
    Own,
}

/// A file of certificates that the configuration names.
#[derive(Debug)]
struct CertificateFile {
    /// The key that names it.
    key: String,
    path: PathBuf,
    usage: CertificateUse,
}

/// Looks at every certificate that the configuration and the provider files name.
pub(super) fn examine_certificates(config: &Config, providers: &[&Provider], now: Timestamp) -> CertificateFindings {
    let mut findings = CertificateFindings::default();
    for file in named_files(config, providers) {
        match read_certificate_dates(&file.path) {
            Ok(certificates) => file.examine(&certificates, now, &mut findings),
            Err(error) => findings.faults.push(format!("{}: {error}", file.place())),
        }
    }
    findings
}

/// The files of certificates that are named. Those that go with the endpoint's key are read where they are used, and told there when
/// they can't be.
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
        file(&format!("provider {}: ca_file", provider.name), &provider.http.ca_file, CertificateUse::Authorities)
    });
    of_daemon.into_iter().chain(of_provider).flatten().collect()
}

fn is_readable(path: &Path) -> bool {
    read_certificate_dates(path).is_ok()
}

impl CertificateFile {
    /// The key and the file, as every line begins.
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
        // One that can't be read here may still be of use to those who connect.
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
                    findings.warnings.push(format!("{place}: {name} cannot be read, and may be of no use ({reason})"));
                    continue;
                }
            };
            let (validity, Some(dates)) = (certificate.validity(now), certificate.describe_validity(now)) else {
                continue;
            };
            let is_fault = match (self.usage, validity) {
                (_, CertificateValidity::Good | CertificateValidity::Ending) => false,
                (CertificateUse::Own, CertificateValidity::Expired | CertificateValidity::NotYet) => index == 0,
                (CertificateUse::Authorities, CertificateValidity::Expired | CertificateValidity::NotYet) => is_lost,
            };
            let line = format!("{place}: {} {dates}{}", certificate.name(index, count), self.remedy(validity, index));
            if is_fault { findings.faults.push(line) } else { findings.warnings.push(line) }
        }
    }

    /// What to do about the certificate with this index.
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
