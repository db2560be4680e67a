//! Tests every scheme with calls signed by ferryd, and with every alteration of them.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::fixture::{at, call, endpoint, endpoint_of, fragments};
use super::{PrivateKey, SigningError, StepResult};
use crate::WebhookReceiver;
use ferryd_domain::webhook::{RawWebhook, VerificationError};

const NOW: i64 = 1_800_000_000;
const URL: &str = "https://hooks.example.com/x?data.id=7&a=%20b";
/// RFC 8032, 7.1, test 1.
const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
/// A key made for this test by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`.
const P256: &str = include_str!("../../../../tests/fixtures/webhooks/p256.pem");
const P256_PUBLIC: &str = include_str!("../../../../tests/fixtures/webhooks/p256-public.pem");

/// Every scheme: its name, a secret, and whether it needs a private key.
fn schemes() -> Vec<(String, String, Option<PrivateKey>)> {
    let hexadecimal = "11".repeat(32);
    let names = ["stripe", "twilio", "easypost"].map(str::to_owned).into_iter();
    names
        .chain(fragments())
        .map(|name| match name.as_str() {
            "standard-ed25519" => (name, "x".to_owned(), PrivateKey::parse(ED25519).ok()),
            "sendgrid" => (name, P256_PUBLIC.to_owned(), PrivateKey::parse(P256).ok()),
            "standard" | "svix" => {
                (name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), None)
            }
            _ => (name, hexadecimal.clone(), None),
        })
        .collect()
}

fn draft(scheme: &str, body: &[u8]) -> RawWebhook {
    let batch = b"{\"notificationItems\":[{\"NotificationRequestItem\":{\"pspReference\":\"1\",\"success\":\"true\"}},\
        {\"NotificationRequestItem\":{\"pspReference\":\"2\",\"amount\":{\"value\":5,\"currency\":\"EUR\"}}}]}";
    let body = if scheme == "adyen-payments" { batch } else { body };
    let id = if scheme == "mercado-pago" { "x-request-id" } else { "x-other" };
    call(URL, &[("content-type", "application/octet-stream"), (id, "r1")], body)
}

fn signed(
    name: &str,
    secret: &str,
    private_key: Option<&PrivateKey>,
    body: &[u8],
) -> (Arc<dyn WebhookReceiver>, RawWebhook) {
    let endpoint = endpoint(name, secret);
    let signed = endpoint.sign(&draft(name, body), at(NOW), private_key).unwrap();
    (endpoint, signed)
}

/// The header or headers that a scheme reads.
fn headers_of(call: &RawWebhook) -> Vec<usize> {
    let added = ["content-type", "x-other"];
    let read = |(_, (name, _)): &(usize, &(String, String))| !added.contains(&name.as_str());
    call.headers.iter().enumerate().filter(read).map(|(index, _)| index).collect()
}

#[test]
fn what_ferryd_signs_it_verifies_also_where_the_body_is_not_utf8() {
    for (name, secret, private_key) in schemes() {
        for body in [&b"{\"a\":1}"[..], b"\xff\x00\xc3(\r\n", b"\n"] {
            let (endpoint, call) = signed(&name, &secret, private_key.as_ref(), body);
            let steps = endpoint.explain_verification(&call, at(NOW));
            assert_eq!(endpoint.verify(&call, at(NOW)), Ok(()), "{name} {body:?}: {steps:#?}");
        }
    }
}

#[test]
fn every_alteration_is_refused() {
    for (name, secret, private_key) in schemes() {
        let (endpoint, good) = signed(&name, &secret, private_key.as_ref(), b"{\"a\":1}");
        let refused = |call: &RawWebhook, what: &str| {
            let result = endpoint.verify(call, at(NOW));
            assert!(result.is_err(), "{name}: {what}");
            let steps = endpoint.explain_verification(call, at(NOW));
            assert!(steps.iter().any(|step| step.result == StepResult::Failed), "{name}: {what}");
            let explanation: String =
                steps.into_iter().map(|step| step.looked_for + &step.found).collect();
            assert!(secret == "x" || !explanation.contains(&secret), "{name}: {explanation}");
            // The steps do not show the signature that would verify the altered call.
            let would_be =
                endpoint.sign(call, at(NOW), private_key.as_ref()).unwrap_or_else(|_| good.clone());
            let values =
                would_be.headers.iter().flat_map(|(_, value)| value.split([',', '=', ' ']));
            let mut signatures = values.filter(|value| value.len() >= 24);
            assert!(
                !signatures.any(|signature| explanation.contains(signature)),
                "{name}: {explanation}"
            );
            result.unwrap_err()
        };
        // Mercado Pago signs no body.
        if name != "mercado-pago" {
            let body = String::from_utf8_lossy(&good.body).replace('1', "2");
            refused(&RawWebhook { body: body.into(), ..good.clone() }, "another body");
        }
        for index in headers_of(&good) {
            let mut call = good.clone();
            let (removed, value) = call.headers.remove(index);
            let what = format!("without {removed}");
            let error = refused(&call, &what);
            assert!(
                error == VerificationError::Unsigned || removed == "x-request-id",
                "{name}: {what}: {error:?}"
            );
            call.headers.push((removed.clone(), format!("{value}0")));
            refused(&call, &format!("longer {removed}"));
            let last = call.headers.len() - 1;
            call.headers[last].1 = String::new();
            refused(&call, &format!("empty {removed}"));
            call.headers[last].1 = "1,=,, v1, v1a, t= é".to_owned();
            refused(&call, &format!("nonsense in {removed}"));
        }
        if matches!(name.as_str(), "twilio" | "square") {
            let url = format!("{}1", good.url).parse().unwrap();
            refused(&RawWebhook { url, ..good.clone() }, "another URL");
        }
    }
}

#[test]
fn a_body_that_twilio_did_not_sign_is_refused_even_under_a_signature_of_the_url() {
    let twilio = endpoint("twilio", "12345");
    let bare = twilio.sign(&call(URL, &[], b""), at(NOW), None).unwrap();
    assert_eq!(twilio.verify(&bare, at(NOW)), Ok(()));
    let smuggled = RawWebhook { body: "{\"paid\":true}".into(), ..bare };
    assert_eq!(twilio.verify(&smuggled, at(NOW)), Err(VerificationError::Unsigned));
}

#[test]
fn a_call_is_signed_anew_with_the_digest_of_its_own_body() {
    let twilio = endpoint("twilio", "12345");
    for (query, expected) in
        [("?a=%2f&bodySHA256=00&b", "?a=%2f&b&bodySHA256="), ("?bodySHA256=00", "?bodySHA256=")]
    {
        let draft = call(&format!("https://hooks.example.com/x{query}"), &[], b"{}");
        let signed = twilio.sign(&draft, at(NOW), None).unwrap();
        assert_eq!(twilio.verify(&signed, at(NOW)), Ok(()));
        assert!(signed.url.as_str().contains(expected), "{}", signed.url);
    }
}

#[test]
fn a_second_parameter_beside_the_signed_one_is_refused() {
    let (mercado_pago, good) = signed("mercado-pago", "hush", None, b"{}");
    for more in ["&data.id=8", "&data%2Eid=7"] {
        let url = format!("{}{more}", good.url).parse().unwrap();
        let call = RawWebhook { url, ..good.clone() };
        assert_eq!(mercado_pago.verify(&call, at(NOW)), Err(VerificationError::Unsigned), "{more}");
    }
}

#[test]
fn a_batch_of_adyen_is_verified_whole_or_not_at_all() {
    let (adyen, good) = signed("adyen-payments", &"11".repeat(32), None, b"");
    let text = String::from_utf8(good.body.to_vec()).unwrap();
    let empty = "{\"notificationItems\":[]}".to_owned();
    let unsigned =
        text.replacen("hmacSignature", "signature", 2).replacen("signature", "hmacSignature", 1);
    for (body, expected) in [
        (text.replace("\"value\":5", "\"value\":6"), VerificationError::Forged),
        (
            text.replace("\"pspReference\":\"1\"", "\"pspReference\":\"3\""),
            VerificationError::Forged,
        ),
        (unsigned, VerificationError::Unsigned),
        (empty, VerificationError::Unsigned),
        ("[]".to_owned(), VerificationError::Unsigned),
        ("{".to_owned(), VerificationError::Unsigned),
    ] {
        let call = RawWebhook { body: body.clone().into(), ..good.clone() };
        assert_eq!(adyen.verify(&call, at(NOW)), Err(expected), "{body}");
    }
}

#[test]
fn a_second_secret_is_taken_until_it_ends() {
    let tables = |keys: &str| {
        format!(
            "[webhook.verify]\nalgorithm = \"hmac_sha256\"\nkeys = [{keys}]\nsigned = \"{{{{ body }}}}\"\n\
             signature = {{ header = \"X-Signature\", encoding = \"hex\" }}\n"
        )
    };
    let old = "{ secret = \"{{ secrets.webhook_old }}\", until = 2027-01-15T08:00:00Z }";
    let only_old = endpoint_of(&tables(old), "new-secret");
    let both = endpoint_of(
        &tables(&format!("{{ secret = \"{{{{ secrets.webhook }}}}\" }}, {old}")),
        "new-secret",
    );
    let by_old = only_old.sign(&draft("", b"x"), at(NOW - 1), None).unwrap();
    let by_new = both.sign(&draft("", b"x"), at(NOW), None).unwrap();
    // The old key ends at 1 800 000 000.
    assert_eq!(both.verify(&by_new, at(NOW)), Ok(()));
    assert_eq!(both.verify(&by_old, at(NOW - 1)), Ok(()));
    assert_eq!(both.verify(&by_old, at(NOW)), Err(VerificationError::Forged));
    let steps = both.explain_verification(&by_old, at(NOW));
    assert!(steps.iter().any(|step| step.found.contains("`until` has passed")), "{steps:#?}");
    assert_eq!(only_old.sign(&by_old, at(NOW), None), Err(SigningError::NoKey));
    assert_eq!((both.list_cautions(at(NOW)).len(), only_old.list_cautions(at(NOW)).len()), (0, 1));
}

#[test]
fn a_date_ends_a_key_at_its_beginning() {
    let tables = "[webhook.verify]\nalgorithm = \"hmac_sha256\"\nsigned = \"{{ body }}\"\n\
        keys = [{ secret = \"{{ secrets.webhook }}\", until = 2027-01-15 }]\n\
        signature = { header = \"X-Signature\", encoding = \"hex\" }\n";
    let endpoint = endpoint_of(tables, "hush-hush");
    // 2027-01-15T00:00:00Z.
    let midnight = NOW - 8 * 3_600;
    let call = endpoint.sign(&draft("", b"x"), at(midnight - 1), None).unwrap();
    assert_eq!(endpoint.verify(&call, at(midnight - 1)), Ok(()));
    assert_eq!(endpoint.verify(&call, at(midnight)), Err(VerificationError::Forged));
}

#[test]
fn only_the_right_private_key_signs() {
    let sendgrid = endpoint("sendgrid", P256_PUBLIC);
    let other = endpoint(
        "sendgrid",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
    );
    let (p256, ed25519) = (PrivateKey::parse(P256).unwrap(), PrivateKey::parse(ED25519).unwrap());
    let call = draft("sendgrid", b"x");
    let error =
        |endpoint: &Arc<dyn WebhookReceiver>, key| endpoint.sign(&call, at(NOW), key).unwrap_err();
    assert_eq!(error(&sendgrid, None), SigningError::NoPrivateKey("ecdsa_p256"));
    assert_eq!(error(&sendgrid, Some(&ed25519)), SigningError::AnotherAlgorithm("ecdsa_p256"));
    assert_eq!(error(&other, Some(&p256)), SigningError::Stranger);
    assert!(PrivateKey::parse("hush").is_err());
}

/// A call of every scheme that signs the bytes of a body.
static EXACT: LazyLock<Vec<(Arc<dyn WebhookReceiver>, RawWebhook)>> = LazyLock::new(|| {
    let schemes = schemes()
        .into_iter()
        .filter(|(name, _, _)| name != "mercado-pago" && name != "adyen-payments");
    let body = b"{\"amount\":1099,\"x\":\"\xff\"}";
    schemes
        .map(|(name, secret, private_key)| signed(&name, &secret, private_key.as_ref(), body))
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_flipped_bit_of_a_body_is_refused(byte in any::<prop::sample::Index>(), bit in 0_u8..8) {
        for (endpoint, good) in EXACT.iter() {
            let mut body = good.body.to_vec();
            let byte = byte.index(body.len());
            body[byte] ^= 1 << bit;
            let call = RawWebhook { body: body.into(), ..good.clone() };
            prop_assert_eq!(endpoint.verify(&call, at(NOW)).err(), Some(VerificationError::Forged));
        }
    }

    #[test]
    fn a_flipped_bit_of_a_signature_or_timestamp_is_refused(byte in any::<prop::sample::Index>(), bit in 0_u8..7) {
        for (endpoint, good) in EXACT.iter() {
            for index in headers_of(good) {
                let mut call = good.clone();
                let value = &mut call.headers[index].1;
                let mut bytes = value.clone().into_bytes();
                let byte = byte.index(bytes.len());
                bytes[byte] ^= 1 << bit;
                let flipped = String::from_utf8(bytes).unwrap();
                // Hexadecimal digits are equal in both cases.
                let same = flipped.eq_ignore_ascii_case(value) && value.len() >= 64 && !value.contains('+');
                *value = flipped;
                let result = endpoint.verify(&call, at(NOW));
                prop_assert!(result.is_err() || same, "{}: {}", call.headers[index].0, call.headers[index].1);
            }
        }
    }

    #[test]
    fn verifying_never_panics(
        url in "https://[a-z]{1,5}(:[0-9]{1,4})?/[ -~]{0,20}",
        value in "\\PC{0,60}|t=[0-9]{0,25},v1=[0-9a-f]{0,70}|v1,[A-Za-z0-9+/=]{0,50}",
        time in "[0-9]{0,25}|\\PC{0,5}",
        body in prop::collection::vec(any::<u8>(), 0..80),
        now in -10_000_000_000_i64..100_000_000_000,
        form: bool,
    ) {
        let Ok(url) = url.parse() else { return Ok(()) };
        for (endpoint, good) in EXACT.iter() {
            let mut call = RawWebhook { url: Clone::clone(&url), body: body.clone().into(), ..good.clone() };
            for (name, header) in &mut call.headers {
                *header = if name.contains("timestamp") { time.clone() } else { value.clone() };
                if form && name == "content-type" {
                    *header = "Application/X-WWW-Form-Urlencoded; charset=utf-8".to_owned();
                }
            }
            prop_assert!(endpoint.verify(&call, at(now)).is_err());
            let steps = endpoint.explain_verification(&call, at(now));
            prop_assert_eq!(steps.iter().filter(|step| step.result == StepResult::Failed).count(), 1);
            let _ = (endpoint.answer_challenge(&call), endpoint.sign(&call, at(now), None));
        }
    }
}
