//! Tests calls that PayPal made, and the faults of others.
//!
//! `recorded_2015` is the call of the sandbox that PayPal's SDKs for Python and Ruby test with; its
//! certificate is in the recordings of the SDK for Node.js, the root and the intermediate
//! certificate are those that the SDK for Python comes with. `recorded_2025` is a call of PayPal's
//! simulator, which signs with the live certificate and for the webhook id `WEBHOOK_ID`.

use super::*;
use crate::webhook::verification_trace::StepResult;

const ROOT: &[u8] = include_bytes!("paypal/root.pem");
const RECORDED: [(&[u8], &[u8], &str, &str); 2] = [
    (
        include_bytes!("paypal/recorded_2015.http"),
        include_bytes!("paypal/recorded_2015.pem"),
        "4JH86294D6297924G",
        "2015-05-18T15:45:14Z",
    ),
    (
        include_bytes!("paypal/recorded_2025.http"),
        include_bytes!("paypal/recorded_2025.pem"),
        "WEBHOOK_ID",
        "2025-11-28T10:00:25Z",
    ),
];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Trusts the authority of the recordings, independent of the system's.
fn scheme(webhook_id: &str) -> PaypalScheme {
    let roots = certificates(ROOT).unwrap();
    let anchors = roots
        .iter()
        .map(|root| webpki::anchor_from_trusted_cert(root).unwrap().to_owned())
        .collect();
    let trust = CertificateTrust { anchors, intermediates: certificates(INTERMEDIATES).unwrap() };
    PaypalScheme { webhook_id: webhook_id.to_owned(), trust: Arc::new(trust) }
}

fn recorded(number: usize) -> (RawWebhook, PaypalScheme, Timestamp) {
    let (bytes, certificate, webhook_id, time) = RECORDED[number];
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let headers = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let call = RawWebhook {
        method: "POST".to_owned(),
        url: "https://hooks.example.com/webhooks/paypal".parse().unwrap(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: bytes[split + 4..].into(),
        certificate: Some(certificate.into()),
    };
    (call, scheme(webhook_id), at(time))
}

fn examined(
    scheme: &PaypalScheme,
    call: &RawWebhook,
    now: Timestamp,
) -> Result<(), VerificationError> {
    let mut trace = VerificationTrace::recording();
    let result = scheme.verify_call(call, now, &mut trace);
    let steps = trace.into_steps();
    assert_eq!(
        steps.iter().any(|step| step.result == StepResult::Failed),
        result.is_err(),
        "{steps:#?}"
    );
    result
}

fn with_header(call: &RawWebhook, name: &str, value: Option<&str>) -> RawWebhook {
    let mut call = call.clone();
    call.headers.retain(|(key, _)| key != name);
    call.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    call
}

#[test]
fn calls_that_paypal_made_are_verified() {
    for number in 0..RECORDED.len() {
        let (call, scheme, now) = recorded(number);
        assert_eq!(examined(&scheme, &call, now), Ok(()), "{number}");
        let address = certificate_url(&call, now).unwrap();
        assert_eq!(Some(address.as_str()), call.header("paypal-cert-url"));
    }
}

#[test]
fn whatever_is_altered_in_a_call_of_paypals_it_is_refused() {
    let (call, scheme, now) = recorded(1);
    for byte in (0..call.body.len()).step_by(97) {
        let mut body = call.body.to_vec();
        body[byte] ^= 1;
        let altered = RawWebhook { body: body.into(), ..call.clone() };
        assert_eq!(examined(&scheme, &altered, now), Err(VerificationError::Forged), "byte {byte}");
    }
    let other_host =
        "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-b0d12406";
    for (name, value, expected) in [
        (
            "paypal-transmission-id",
            Some("0f14627d-cc41-11f0-9ad0-21cf84660aef"),
            VerificationError::Forged,
        ),
        ("paypal-transmission-id", Some("a|b"), VerificationError::Unsigned),
        ("paypal-transmission-id", None, VerificationError::Unsigned),
        ("paypal-transmission-time", Some("2025-11-28T10:00:25Z"), VerificationError::Forged),
        ("paypal-transmission-time", Some("yesterday"), VerificationError::Unsigned),
        ("paypal-transmission-time", None, VerificationError::Unsigned),
        ("paypal-transmission-sig", Some("AAAA"), VerificationError::Forged),
        ("paypal-transmission-sig", Some("no Base64!"), VerificationError::Unsigned),
        ("paypal-transmission-sig", None, VerificationError::Unsigned),
        ("paypal-auth-algo", Some("SHA1withRSA"), VerificationError::Unsigned),
        ("paypal-auth-algo", None, VerificationError::Unsigned),
        ("paypal-cert-url", None, VerificationError::Unsigned),
        // A certificate of one host is not for the name of the other.
        ("paypal-cert-url", Some(other_host), VerificationError::Forged),
    ] {
        let altered = with_header(&call, name, value);
        assert_eq!(examined(&scheme, &altered, now), Err(expected), "{name}: {value:?}");
    }
    let other = PaypalScheme {
        webhook_id: "4JH86294D6297924G".to_owned(),
        trust: Arc::clone(&scheme.trust),
    };
    assert_eq!(examined(&other, &call, now), Err(VerificationError::Forged), "another webhook's");
    for certificate in [Some(&b""[..]), Some(b"no PEM"), Some(RECORDED[0].1), None] {
        let altered = RawWebhook { certificate: certificate.map(Into::into), ..call.clone() };
        assert!(examined(&scheme, &altered, now).is_err());
    }
}

#[test]
fn a_call_is_taken_as_long_as_paypal_repeats_it_and_no_longer() {
    let (call, scheme, _) = recorded(1);
    for (now, expected) in [
        ("2025-11-28T09:55:24Z", Ok(())),
        ("2025-11-28T09:55:23Z", Err(VerificationError::Stale)),
        ("2025-12-01T11:00:24Z", Ok(())),
        ("2025-12-01T11:00:25Z", Err(VerificationError::Stale)),
    ] {
        assert_eq!(examined(&scheme, &call, at(now)), expected, "{now}");
        assert_eq!(certificate_url(&call, at(now)).is_some(), expected.is_ok(), "{now}");
    }
}

#[test]
fn only_addresses_of_certificates_at_paypal_are_fetched() {
    let (call, _, now) = recorded(1);
    for (address, is_taken) in [
        ("https://api.paypal.com/v1/notifications/certs/CERT-1", true),
        (
            "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77",
            true,
        ),
        ("http://api.paypal.com/v1/notifications/certs/CERT-1", false),
        ("https://api.paypal.com:443/v1/notifications/certs/CERT-1", false),
        ("https://api.paypal.com:8443/v1/notifications/certs/CERT-1", false),
        ("https://user@api.paypal.com/v1/notifications/certs/CERT-1", false),
        ("https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1", false),
        ("https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1", false),
        ("https://evil.example/api.paypal.com/v1/notifications/certs/CERT-1", false),
        ("https://evilapi.paypal.com/v1/notifications/certs/CERT-1", false),
        ("https://www.paypal.com/v1/notifications/certs/CERT-1", false),
        ("https://127.0.0.1/v1/notifications/certs/CERT-1", false),
        ("https://api.paypal.com/v1/notifications/certs/", false),
        ("https://api.paypal.com/v1/notifications/certs/CERT-", false),
        ("https://api.paypal.com/v1/notifications/certs/CERT-../../x", false),
        ("https://api.paypal.com/v1/notifications/certs/CERT-1/..%2f", false),
        ("https://api.paypal.com/v1/notifications/certs/CERT-1?x=1", false),
        ("https://api.paypal.com/v1/notifications/certs/CERT-1#x", false),
        ("https://api.paypal.com\\@evil.example/v1/notifications/certs/CERT-1", false),
        ("HTTPS://API.PAYPAL.COM/v1/notifications/certs/CERT-1", false),
        ("", false),
    ] {
        let call = with_header(&call, "paypal-cert-url", Some(address));
        let found = certificate_url(&call, now);
        assert_eq!(found.as_ref().map(Url::as_str), is_taken.then_some(address), "{address}");
    }
    let long = format!(
        "https://api.paypal.com/v1/notifications/certs/CERT-{}",
        "1".repeat(LONGEST_ID + 1)
    );
    assert_eq!(certificate_url(&with_header(&call, "paypal-cert-url", Some(&long)), now), None);
}

#[test]
fn a_certificate_of_the_newer_issuer_leads_to_its_authority_as_well() {
    let anchor = certificates(include_bytes!("paypal/ev_rsa_ca_g2_root.pem")).unwrap().remove(0);
    let anchors = vec![webpki::anchor_from_trusted_cert(&anchor).unwrap().to_owned()];
    let trust = CertificateTrust { anchors, intermediates: certificates(INTERMEDIATES).unwrap() };
    let scheme = PaypalScheme { webhook_id: "WEBHOOK_ID".to_owned(), trust: Arc::new(trust) };
    // Another site's chain, which is public.
    let chain = certificates(include_bytes!("paypal/ev_rsa_ca_g2_leaf.pem")).unwrap();
    let leaf = EndEntityCert::try_from(&chain[0]).unwrap();
    let (signer, now) = ("signing.api.idmelabs.com", at("2025-03-01T00:00:00Z"));
    assert_eq!(
        scheme.check_certificate(&leaf, &chain, signer, now, &mut VerificationTrace::silent()),
        Ok(())
    );
}

#[test]
fn the_issuer_that_is_missing_is_named_with_where_its_certificate_goes() {
    let (call, scheme, now) = recorded(1);
    let known = &scheme.trust;
    let key = "`webhook.verify.intermediates`";
    for (anchors, intermediates, expected) in [
        (
            known.anchors.clone(),
            Vec::new(),
            [
                "`DigiCert SHA2 Extended Validation Server CA`",
                key,
                "http://cacerts.digicert.com/DigiCertSHA2ExtendedValidationServerCA",
            ],
        ),
        (
            Vec::new(),
            known.intermediates.clone(),
            ["`DigiCert High Assurance EV Root CA`", key, "the system's authorities"],
        ),
    ] {
        let trust = Arc::new(CertificateTrust { anchors, intermediates });
        let scheme = PaypalScheme { webhook_id: scheme.webhook_id.clone(), trust };
        let mut trace = VerificationTrace::recording();
        assert_eq!(scheme.verify_call(&call, now, &mut trace), Err(VerificationError::Untrusted));
        let found = trace.into_steps().pop().unwrap().found;
        assert!(expected.iter().all(|text| found.contains(text)), "{found}");
    }
}

#[test]
fn a_certificate_counts_only_with_a_chain_to_a_trusted_authority_at_its_time() {
    let (call, scheme, now) = recorded(1);
    let chain = certificates(RECORDED[1].1).unwrap();
    let leaf = EndEntityCert::try_from(&chain[0]).unwrap();
    let checked = |scheme: &PaypalScheme, now: &str| {
        scheme.check_certificate(
            &leaf,
            &chain,
            "messageverificationcerts.paypal.com",
            at(now),
            &mut VerificationTrace::silent(),
        )
    };
    assert_eq!(checked(&scheme, "2025-11-28T10:00:25Z"), Ok(()));
    for beyond in ["2025-01-30T23:59:59Z", "2026-03-04T00:00:00Z"] {
        assert_eq!(checked(&scheme, beyond), Err(VerificationError::Untrusted), "{beyond}");
    }
    let known = &scheme.trust;
    for trust in [
        CertificateTrust { anchors: Vec::new(), intermediates: known.intermediates.clone() },
        CertificateTrust { anchors: known.anchors.clone(), intermediates: Vec::new() },
    ] {
        let scheme = PaypalScheme { webhook_id: scheme.webhook_id.clone(), trust: Arc::new(trust) };
        assert_eq!(examined(&scheme, &call, now), Err(VerificationError::Untrusted));
    }
    // A certificate that anybody can make in PayPal's name.
    let own =
        rcgen::generate_simple_self_signed(["messageverificationcerts.paypal.com".to_owned()])
            .unwrap();
    for pem in [own.cert.pem(), own.cert.pem() + std::str::from_utf8(RECORDED[1].1).unwrap()] {
        let forged = RawWebhook { certificate: Some(pem.into()), ..call.clone() };
        assert_eq!(examined(&scheme, &forged, now), Err(VerificationError::Untrusted));
    }
}

#[test]
fn what_paypal_serves_beside_its_certificate_may_complete_the_chain() {
    let (call, scheme, now) = recorded(1);
    let trust =
        CertificateTrust { anchors: scheme.trust.anchors.clone(), intermediates: Vec::new() };
    let scheme = PaypalScheme { trust: Arc::new(trust), ..scheme };
    let served = [RECORDED[1].1, INTERMEDIATES].concat();
    let call = RawWebhook { certificate: Some(served.into()), ..call };
    assert_eq!(examined(&scheme, &call, now), Ok(()));
}

#[test]
fn a_certificate_of_the_file_that_is_over_is_warned_of_and_no_built_in_one_is() {
    let now: Timestamp = "2030-06-15T12:00:00Z".parse().unwrap();
    let with = |pem: &str| {
        let trust = CertificateTrust::of_system(pem.as_bytes()).unwrap();
        PaypalScheme { webhook_id: "W".to_owned(), trust: Arc::new(trust) }.cautions(now)
    };
    assert_eq!(with(""), Vec::<String>::new());
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "issuer");
    params.not_after = rcgen::date_time_ymd(2030, 6, 1);
    let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let cautions = with(&pem);
    let start = "verify.intermediates: the certificate `CN=issuer` expired on 2030-06-01T00:00:00Z";
    assert!(cautions.len() == 1 && cautions[0].starts_with(start), "{cautions:?}");
}
