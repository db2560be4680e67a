//! Tests `ferryd check` without a connection: folders without a provider, and certificates that
//! have expired or soon will.

use std::fs;
use std::path::Path;
use std::process::Output;

use jiff::{Timestamp, ToSpan as _};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::harness::daemon::DaemonFolder;
use crate::rig::SOON;

/// An address at which no process listens.
const NOWHERE: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

const ACME: &str = "name = \"acme\"\ntype = \"notification\"\nprotocol = \"rest\"\nbase_url = \"https://localhost:1\"\n\
                    [operations.send]\nrequest = { method = \"POST\", path = \"/\" }\n";

/// Makes a certificate of this name and its key, in PEM, which expires in so many days.
fn certificate(name: &str, days: i64) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    let end = (Timestamp::now() + (24 * days).hours()).to_zoned(jiff::tz::TimeZone::UTC).date();
    params.not_after = date_time_ymd(
        end.year().into(),
        end.month().try_into().unwrap(),
        end.day().try_into().unwrap(),
    );
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Returns the date on which such a certificate expires.
fn end(days: i64) -> String {
    let date = (Timestamp::now() + (24 * days).hours()).to_string();
    format!("{}T00:00:00Z", date.split('T').next().unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(setup: &DaemonFolder) -> (Output, Value) {
    let output = setup.command(&["check", "--json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output, report)
}

fn lines(report: &Value, key: &str) -> Vec<String> {
    report[key].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_folder_without_a_provider_is_warned_of_by_check_and_by_the_daemon() {
    let setup = DaemonFolder::new(NOWHERE, "");
    fs::create_dir(setup.path().join("providers")).unwrap();
    let output = setup.command(&["check"]).output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(
        printed
            .contains("there is no provider file (*.toml) in it, so no command can be carried out"),
        "{printed}"
    );
    assert!(!printed.contains("all is well"), "{printed}");

    let setup = setup.file("providers/acme.tml", ACME).file("providers/old/acme.toml", ACME);
    let (_, report) = json(&setup);
    let warnings = lines(&report, "warnings");
    assert!(
        warnings[0].contains("(it holds acme.tml, the folder old, in which nothing is looked for)"),
        "{warnings:?}"
    );
    let name = format!("{}/providers/acme.tml is not read", setup.path().display());
    assert!(
        warnings[1].contains(&name) && warnings[1].contains("rename it to acme.toml"),
        "{warnings:?}"
    );

    let daemon = setup.start();
    for part in ["there is no provider file", "acme.tml is not read"] {
        let says =
            |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(part));
        let line = daemon.wait_for_log(SOON, says).await;
        assert_eq!(line["level"], "WARN", "{line}");
    }
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}

#[test]
fn a_misnamed_file_beside_a_provider_is_warned_of_and_a_route_that_needs_it_says_so() {
    let setup = DaemonFolder::new(NOWHERE, "").provider("acme", ACME);
    let (_, report) = json(&setup);
    assert_eq!(lines(&report, "warnings"), Vec::<String>::new());
    let other = ACME.replace("acme", "other");
    let setup =
        setup.file("providers/other.toml.bak", &other).file("providers/acme.toml.bak", ACME);
    let (output, report) = json(&setup);
    let warnings = lines(&report, "warnings");
    assert!(warnings.len() == 1 && warnings[0].contains("rename it to other.toml"), "{warnings:?}");
    assert_eq!(output.status.code(), Some(0));
    let setup = setup.env("FERRYD_ROUTES__NOTIFICATION", "other");
    let (output, report) = json(&setup);
    assert_eq!(output.status.code(), Some(3));
    let faults = lines(&report, "faults");
    assert!(
        faults[0].contains("which no file here describes (not read: other.toml.bak); add one"),
        "{faults:?}"
    );
}

/// Makes a configuration that names a valid certificate in every possible place.
fn with_certificates() -> DaemonFolder {
    let config = "[amqp]\nca_file = \"broker-ca.pem\"\nclient_cert_file = \"client.pem\"\nclient_key_file = \"client.key\"\n\
                  [webhooks]\npublic_url = \"https://hooks.example.com\"\nbind = \"127.0.0.1:0\"\n\
                  tls_cert_file = \"server.pem\"\ntls_key_file = \"server.key\"\n";
    let uri = NOWHERE.replace("amqp:", "amqps:");
    let mut setup =
        DaemonFolder::new(&uri, config).provider("acme", &format!("ca_file = \"ca.pem\"\n{ACME}"));
    for (file, name) in
        [("broker-ca", "broker"), ("client", "me"), ("server", "hooks"), ("providers/ca", "acme")]
    {
        setup = place(setup, file, &[(name, 400)]);
    }
    setup
}

/// Writes certificates to a file, and the key of the first beside it.
fn place(setup: DaemonFolder, file: &str, certificates: &[(&str, i64)]) -> DaemonFolder {
    let made: Vec<_> = certificates.iter().map(|(name, days)| certificate(name, *days)).collect();
    let pem: String = made.iter().map(|(pem, _)| pem.as_str()).collect();
    setup.file(&format!("{file}.pem"), &pem).file(&format!("{file}.key"), &made[0].1)
}

/// Returns the lines about the certificates of one file, without the folder.
fn certificate_lines(setup: &DaemonFolder, key: &str) -> Vec<String> {
    let (_, report) = json(setup);
    let folder = format!("{}/", setup.path().display());
    lines(&report, key).into_iter().map(|line| line.replace(&folder, "")).collect()
}

#[test]
fn certificates_that_are_over_or_soon_will_be_are_named_with_their_dates() {
    let setup = with_certificates();
    assert_eq!(certificate_lines(&setup, "faults"), Vec::<String>::new());
    assert_eq!(certificate_lines(&setup, "warnings"), Vec::<String>::new());

    let setup = place(setup, "broker-ca", &[("one", 400), ("two", -10), ("three", 20)]);
    let setup = place(setup, "client", &[("me", 20)]);
    assert_eq!(certificate_lines(&setup, "faults"), Vec::<String>::new());
    let warnings = certificate_lines(&setup, "warnings");
    let two = format!(
        "amqp.ca_file = \"broker-ca.pem\": certificate 2 of 3 `CN=two` expired on {}; put",
        end(-10)
    );
    let three = format!(
        "amqp.ca_file = \"broker-ca.pem\": certificate 3 of 3 `CN=three` expires on {}, in 19 days",
        end(20)
    );
    let own = format!(
        "amqp.client_cert_file = \"client.pem\": the certificate `CN=me` expires on {}, in 19 days",
        end(20)
    );
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, start) in warnings.iter().zip([two, three, own]) {
        assert!(warning.starts_with(&start), "{warning}\n{start}");
    }

    let setup = place(setup, "client", &[("me", -1)]);
    let setup = place(setup, "server", &[("hooks", -2)]);
    let setup = place(setup, "providers/ca", &[("a", -3), ("b", -4)]);
    let output = setup.command(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (printed, complained) = (text(&output.stdout), text(&output.stderr));
    for (file, certificate, days) in [
        ("amqp.client_cert_file = ", "the certificate `CN=me`", -1),
        ("webhooks.tls_cert_file = ", "the certificate `CN=hooks`", -2),
        ("provider acme: ca_file = ", "certificate 1 of 2 `CN=a`", -3),
        ("provider acme: ca_file = ", "certificate 2 of 2 `CN=b`", -4),
    ] {
        let line =
            complained.lines().find(|line| line.contains(file) && line.contains(certificate));
        let line = line.unwrap_or_else(|| panic!("{file} {certificate}: {complained}"));
        assert!(line.contains(&format!("expired on {}", end(days))), "{line}");
    }
    for line in printed.lines().chain(complained.lines()) {
        let digits = line.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
        assert!(!line.contains("expire") || digits < Some(9), "no seconds since 1970: {line}");
    }
}

#[tokio::test]
async fn a_daemon_with_certificates_that_are_over_starts_and_logs_them() {
    let setup = place(
        place(with_certificates(), "server", &[("hooks", -2)]),
        "broker-ca",
        &[("broker", 5)],
    );
    let daemon = setup.start();
    for part in ["`CN=hooks` expired on", "`CN=broker` expires on"] {
        let says =
            |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(part));
        let line = daemon.wait_for_log(SOON, says).await;
        assert_eq!(line["level"], "WARN", "{line}");
    }
    // Commands that need no such certificate are carried out.
    daemon
        .wait_for_log(SOON, |line| {
            line["message"] == "failed to connect to the broker; trying again"
        })
        .await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}

#[test]
fn a_file_of_authorities_that_holds_none_is_refused_before_anything_is_called() {
    let setup = with_certificates()
        .file("providers/ca.pem", "no certificate")
        .file("broker-ca.pem", "none either");
    let faults = certificate_lines(&setup, "faults");
    assert_eq!(faults.len(), 2, "{faults:?}");
    for (fault, start) in faults
        .iter()
        .zip(["amqp.ca_file = \"broker-ca.pem\"", "provider acme: ca_file = \"providers/ca.pem\""])
    {
        assert!(fault.starts_with(start) && fault.contains("holds no certificate"), "{fault}");
    }
    assert!(Path::new(&setup.path().join("providers/ca.pem")).exists());
}
