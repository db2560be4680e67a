//! Tests which certificates are reported, and in which words.

use std::fs;

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;
use crate::cli::fixture;

/// The day on which the tests examine certificates.
const NOW: &str = "2030-06-15T12:00:00Z";

type CalendarDate = (i32, u8, u8);

fn pem(name: &str, from: CalendarDate, to: CalendarDate) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(to.0, to.1, to.2);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn old(name: &str) -> String {
    pem(name, (2020, 1, 1), (2030, 6, 15))
}

fn ending(name: &str) -> String {
    pem(name, (2020, 1, 1), (2030, 7, 1))
}

fn good(name: &str) -> String {
    pem(name, (2020, 1, 1), (2031, 1, 1))
}

fn coming(name: &str) -> String {
    pem(name, (2030, 7, 1), (2031, 1, 1))
}

fn findings(config: &Config, providers: &[&Provider]) -> CertificateFindings {
    examine_certificates(config, providers, NOW.parse().unwrap())
}

/// Returns the findings about a file of these certificates, without the folder's name.
fn found_of(usage: CertificateUse, certificates: &[String]) -> CertificateFindings {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.pem");
    fs::write(&path, certificates.concat()).unwrap();
    let mut config = Config::default();
    match usage {
        CertificateUse::Authorities => config.amqp.ca_file = Some(path),
        CertificateUse::Own => config.amqp.client_cert_file = Some(path),
    }
    let folder = dir.path().display().to_string();
    let CertificateFindings { warnings, faults } = findings(&config, &[]);
    let without =
        |lines: Vec<String>| lines.into_iter().map(|line| line.replace(&folder, "")).collect();
    CertificateFindings { warnings: without(warnings), faults: without(faults) }
}

#[test]
fn an_own_certificate_that_is_over_is_a_fault_and_its_chain_a_warning() {
    let found = found_of(CertificateUse::Own, &[old("me"), good("issuer")]);
    let line = "amqp.client_cert_file = \"/x.pem\": certificate 1 of 2 `CN=me` expired on 2030-06-15T00:00:00Z; put a new one into the file";
    assert_eq!(found, CertificateFindings { warnings: vec![], faults: vec![line.to_owned()] });
    let found = found_of(CertificateUse::Own, &[good("me"), old("issuer")]);
    assert_eq!((found.warnings.len(), found.faults.len()), (1, 0));
    assert!(
        found.warnings[0]
            .contains("certificate 2 of 2 `CN=issuer` expired on 2030-06-15T00:00:00Z"),
        "{found:?}"
    );
    let found = found_of(CertificateUse::Own, &[coming("me")]);
    assert_eq!((found.warnings.len(), found.faults.len()), (0, 1));
    assert!(
        found.faults[0].ends_with("is not good before 2030-07-01T00:00:00Z; is the clock right?"),
        "{found:?}"
    );
}

#[test]
fn one_authority_of_several_that_is_over_is_a_warning_and_all_of_them_are_a_fault() {
    let found = found_of(CertificateUse::Authorities, &[good("a"), old("b")]);
    let line = "amqp.ca_file = \"/x.pem\": certificate 2 of 2 `CN=b` expired on 2030-06-15T00:00:00Z; put its successor into the file, or take it out";
    assert_eq!(found, CertificateFindings { warnings: vec![line.to_owned()], faults: vec![] });
    let found = found_of(CertificateUse::Authorities, &[old("a"), old("b")]);
    assert_eq!((found.warnings.len(), found.faults.len()), (0, 2), "{found:?}");
    let found = found_of(CertificateUse::Authorities, &[old("a"), coming("b")]);
    assert_eq!((found.warnings.len(), found.faults.len()), (0, 2), "{found:?}");
}

#[test]
fn what_ends_within_thirty_days_is_a_warning_with_its_date() {
    for usage in [CertificateUse::Own, CertificateUse::Authorities] {
        let found = found_of(usage, &[ending("soon")]);
        assert_eq!((found.warnings.len(), found.faults.len()), (1, 0), "{found:?}");
        let text = "the certificate `CN=soon` expires on 2030-07-01T00:00:00Z, in 15 days; put";
        assert!(found.warnings[0].contains(text), "{found:?}");
        assert_eq!(found_of(usage, &[good("long")]), CertificateFindings::default());
    }
}

#[test]
fn every_file_that_is_named_is_looked_at() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str| {
        let path = dir.path().join(format!("{name}.pem"));
        fs::write(&path, old(name)).unwrap();
        Some(path)
    };
    let (mut config, mut provider) = (Config::default(), fixture::messages());
    config.amqp.ca_file = write("broker");
    config.amqp.client_cert_file = write("client");
    config.webhooks.tls_cert_file = write("server");
    provider.http.ca_file = write("private");
    let found = findings(&config, &[&provider]);
    let keys: Vec<_> = found.faults.iter().map(|line| line.split(" = ").next().unwrap()).collect();
    let expected = [
        "amqp.ca_file",
        "amqp.client_cert_file",
        "webhooks.tls_cert_file",
        "provider twilio: ca_file",
    ];
    assert_eq!(keys, expected);
    for (name, line) in ["broker", "client", "server", "private"].iter().zip(&found.faults) {
        assert!(
            line.contains(&format!("/{name}.pem\": the certificate `CN={name}` expired")),
            "{line}"
        );
    }
}

#[test]
fn a_file_that_holds_no_certificate_is_a_fault_once() {
    let mut config = Config::default();
    config.amqp.ca_file = Some("/no/such/ca.pem".into());
    // The endpoint's own loader reports this fault already.
    config.webhooks.tls_cert_file = Some("/no/such/cert.pem".into());
    let found = findings(&config, &[]);
    assert_eq!(found.faults.len(), 1, "{found:?}");
    assert!(
        found.faults[0].starts_with("amqp.ca_file = \"/no/such/ca.pem\": cannot be read"),
        "{found:?}"
    );
}

#[test]
fn a_certificate_that_cannot_be_read_is_a_warning_and_leaves_the_others_to_be_judged() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let found = found_of(CertificateUse::Authorities, &[broken, old("b")]);
    assert_eq!((found.warnings.len(), found.faults.len()), (2, 0), "{found:?}");
    let start =
        "amqp.ca_file = \"/x.pem\": certificate 1 of 2 cannot be read, and may be of no use (";
    assert!(
        found.warnings[0].starts_with(start) && found.warnings[1].contains("`CN=b` expired"),
        "{found:?}"
    );
}
