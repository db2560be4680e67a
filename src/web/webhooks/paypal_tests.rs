//! Tests PayPal's calls at the endpoint: the certificate is fetched, the call verified, and a fault
//! in either is refused.

use axum::body::Body;

use super::fake::{FakeSite, provider, settings};
use crate::captured_text::CapturedText;
use ferryd_provider::Provider;
use ferryd_transport::certificates::CertificateFetchError;

const TABLES: &str = r#"
[webhook]
event = "{{ body.event_type }}"
id = "{{ body.id }}"
reference = "{{ body.resource.id }}"
verify = { scheme = "paypal", webhook_id = "{{ secrets.webhook_id }}", optional = true }
"#;

const ADDRESS: &str =
    "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-b0d12406";

fn paypal(secrets: &str) -> Provider {
    provider("paypal", &format!("{TABLES}\n[secrets]\n{secrets}\n"))
}

/// Returns the headers of a call that was sent now.
fn headers(address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("paypal-transmission-id", "0f14627d-cc41-11f0-9ad0-21cf84660aee".to_owned()),
        ("paypal-transmission-time", jiff::Timestamp::now().to_string()),
        ("paypal-transmission-sig", "A".repeat(344)),
        ("paypal-cert-url", address.to_owned()),
        ("paypal-auth-algo", "SHA256withRSA".to_owned()),
    ]
}

async fn status(site: &FakeSite, path: &str, headers: &[(&'static str, String)]) -> u16 {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    site.send("POST", path, &headers, Body::from("{}")).await.status
}

#[tokio::test]
async fn a_certificate_is_fetched_where_one_could_verify_the_call_and_whatever_is_wrong_with_it_is_refused()
 {
    let site = FakeSite::of([paypal("webhook_id = \"4JH86294D6297924G\"")], settings());
    let own =
        rcgen::generate_simple_self_signed(["messageverificationcerts.paypal.com".to_owned()])
            .unwrap();
    for (found, expected) in [
        (Err(CertificateFetchError::Absent), 401),
        (Err(CertificateFetchError::Unavailable), 503),
        // A certificate in PayPal's name under an unknown authority: the system's authorities may
        // be incomplete.
        (Ok(own.cert.pem().into()), 503),
        (Ok("no PEM".into()), 401),
    ] {
        site.certificates.found.lock().unwrap().insert(ADDRESS.to_owned(), found.clone());
        for path in ["/webhooks/paypal", "/webhooks/paypal/nosuch"] {
            assert_eq!(status(&site, path, &headers(ADDRESS)).await, expected, "{path} {found:?}");
        }
    }
    assert_eq!(site.certificates.fetched.lock().unwrap().len(), 8);
    site.certificates.fetched.lock().unwrap().clear();
    let stale = |(name, value): (&'static str, String)| {
        (
            name,
            if name == "paypal-transmission-time" {
                "2025-11-28T10:00:24Z".to_owned()
            } else {
                value
            },
        )
    };
    for headers in [
        headers("https://evil.example/v1/notifications/certs/CERT-1"),
        headers("http://api.paypal.com/v1/notifications/certs/CERT-1"),
        headers(ADDRESS).into_iter().skip(1).collect(),
        headers(ADDRESS).into_iter().map(stale).collect(),
        Vec::new(),
    ] {
        assert_eq!(status(&site, "/webhooks/paypal", &headers).await, 401, "{headers:?}");
    }
    assert_eq!(
        site.certificates.fetched.lock().unwrap().len(),
        0,
        "nothing is fetched for what can't be good"
    );
    assert_eq!(site.queues.kept.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn without_the_webhooks_id_a_call_is_taken_and_kept_as_what_it_is_about() {
    let site = FakeSite::of([paypal("")], settings());
    assert_eq!(status(&site, "/webhooks/paypal", &headers(ADDRESS)).await, 200);
    assert!(!site.queues.kept.lock().unwrap()[0].is_verified);
    assert_eq!(site.certificates.fetched.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn the_warning_about_an_issuer_that_is_not_known_names_it_and_the_key_to_write() {
    let log = CapturedText::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let site = FakeSite::of([paypal("webhook_id = \"4JH86294D6297924G\"")], settings());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Newer Issuer 7");
    let issuer = rcgen::Issuer::new(authority, &key);
    let leaf =
        rcgen::CertificateParams::new(["messageverificationcerts.paypal.com".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    site.certificates.found.lock().unwrap().insert(ADDRESS.to_owned(), Ok(leaf.pem().into()));
    assert_eq!(status(&site, "/webhooks/paypal", &headers(ADDRESS)).await, 503);
    let text = log.text();
    let line = text.lines().find(|line| line.contains("refused a webhook")).unwrap();
    for expected in [
        "WARN",
        "leads to no authority that is trusted",
        "`Newer Issuer 7`",
        "`webhook.verify.intermediates`",
    ] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
}
