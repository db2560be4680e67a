//! Verifies PayPal's webhooks, which are signed with a certificate that a header names.
//! <https://developer.paypal.com/api/rest/webhooks/rest/>
//!
//! The signed content is `<transmission id>|<transmission time>|<webhook id>|<CRC-32 of the body>`.
//! The certificate is accepted only if it comes from PayPal's own host, its chain ends at a trusted
//! authority, and its subject is the name with which PayPal signs. The caller fetches the
//! certificate from the address that [`certificate_url`] yields.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use url::Url;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use super::file::VerifyTable;
use super::fixed_scheme::{SecretsOfFile, refuse_surplus};
use super::key::BASE64;
use super::missing_issuer::MissingIssuer;
use super::verification_trace::{VerificationTrace, beginning};
use crate::certificate::CertificateDates;
use crate::rest::expression::{ExpressionScope, KnownVariables};
use crate::rest::text::TextTemplate;
use ferryd_domain::webhook::{RawWebhook, VerificationError};
use ferryd_settings::findings::SettingsCursor;

/// The hosts of certificates, each with the name that its certificates are for.
const HOSTS: [(&str, &str); 2] = [
    ("api.paypal.com", "messageverificationcerts.paypal.com"),
    ("api.sandbox.paypal.com", "messageverificationcerts.sandbox.paypal.com"),
];
/// The path before a certificate's id.
const CERTIFICATES: &str = "/v1/notifications/certs/CERT-";
/// The most characters of a certificate's id.
const LONGEST_ID: usize = 128;
/// The algorithm name in PayPal's calls.
const ALGORITHM: &str = "SHA256withRSA";
/// The greatest age of a transmission. PayPal repeats a call for three days, with the time and the
/// signature of the first one.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(3 * 24 + 1);
/// The most that the time of a transmission may lie in the future.
const MAX_LEAD: SignedDuration = SignedDuration::from_mins(5);
/// The most certificates of a file that are read.
const MOST_CERTIFICATES: usize = 8;

/// The certificates between PayPal's and the authorities that systems trust, because PayPal serves
/// only its own. They belong to the issuer of the recorded certificates, and to the issuer of
/// current ones.
const INTERMEDIATES: &[u8] = include_bytes!("paypal/intermediates.pem");

/// The authorities that the system trusted at the first use.
static SYSTEM_ANCHORS: LazyLock<Vec<TrustAnchor<'static>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let anchor = |certificate| {
        webpki::anchor_from_trusted_cert(certificate).ok().map(|anchor| anchor.to_owned())
    };
    found.certs.iter().filter_map(anchor).collect()
});

/// The verification that a table of the scheme `paypal` requires.
pub(super) enum PaypalVerification {
    /// None: it is optional, and its id is not among the secrets.
    LeftOut,
    /// By PayPal's certificates.
    Scheme(Box<PaypalScheme>),
}

/// Compiles the table of the scheme `paypal`; without verification if the scheme is optional and
/// the webhook id is not among the secrets.
pub(super) fn compile(
    file: &VerifyTable,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<PaypalVerification> {
    refuse_surplus("paypal", file, place);
    if !file.keys.is_empty() {
        place.key("keys").refuse("is fixed by the scheme `paypal`; leave it out");
    }
    let at = place.key("webhook_id");
    let form = "write `{{ secrets.webhook_id }}`, and under [secrets] the id that PayPal shows beside the webhook's address";
    let Some(source) = &file.webhook_id else {
        at.refuse(format!("is missing; {form}"));
        return None;
    };
    let name =
        source.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
    let Some(name) = name.and_then(|name| name.strip_prefix("secrets.")) else {
        at.refuse(format!("names no secret; {form}"));
        return None;
    };
    if file.optional.unwrap_or(false) && !secrets.names.contains(name) {
        return Some(PaypalVerification::LeftOut);
    }
    let text = |source: &str, place: &SettingsCursor<'_>| {
        let text = place
            .check(TextTemplate::compile(source, &KnownVariables::in_secrets(secrets.names)))?;
        let scope = ExpressionScope::new([("secrets", secrets.secrets.variable().into())]);
        text.string(&scope).ok().flatten()
    };
    let webhook_id = text(source, &at)?;
    if webhook_id.is_empty() || webhook_id.contains('|') {
        at.refuse(
            "is no id of a webhook; copy it from PayPal's page of the app, or leave the secret out",
        );
        return None;
    }
    let at = place.key("intermediates");
    let more = match &file.intermediates {
        Some(source) => text(source, &at)?,
        None => String::new(),
    };
    let trust = at.check(CertificateTrust::of_system(more.as_bytes()))?;
    Some(PaypalVerification::Scheme(Box::new(PaypalScheme { webhook_id, trust: Arc::new(trust) })))
}

/// The certificates that are trusted.
pub(super) struct CertificateTrust {
    /// The authorities at which a chain has to end.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// Certificates that may stand between an authority and a signer.
    pub(super) intermediates: Vec<CertificateDer<'static>>,
}

impl CertificateTrust {
    /// Trusts the system's authorities, with further intermediate certificates beside the built-in
    /// ones.
    ///
    /// # Errors
    /// The fault of the certificates, for people.
    pub(super) fn of_system(more: &[u8]) -> Result<Self, String> {
        let mut intermediates = certificates(INTERMEDIATES)?;
        intermediates.extend(certificates(more)?);
        Ok(Self { anchors: SYSTEM_ANCHORS.clone(), intermediates })
    }
}

/// Parses the certificates of a PEM file.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).take(MOST_CERTIFICATES).collect();
    found.map_err(|error| error.to_string())
}

/// The verification of PayPal's calls to one webhook.
pub(super) struct PaypalScheme {
    /// The id that PayPal gave the webhook.
    pub(super) webhook_id: String,
    /// The certificates that are trusted.
    pub(super) trust: Arc<CertificateTrust>,
}

/// The headers of a call that belong to its signature.
struct PaypalTransmission<'c> {
    id: &'c str,
    time: &'c str,
    signature: Vec<u8>,
    certificate: Url,
    /// The name that the certificate must be for.
    signer: &'static str,
}

impl PaypalScheme {
    /// Warns of certificates of the provider's file that have expired, or soon will. The built-in
    /// ones before them are left out: an operator can't renew them.
    pub(super) fn cautions(&self, now: Timestamp) -> Vec<String> {
        let built_in = certificates(INTERMEDIATES).map_or(0, |built_in| built_in.len());
        let named = self.trust.intermediates.get(built_in..).unwrap_or_default();
        let caution = |(index, der): (usize, &CertificateDer<'_>)| {
            let certificate = CertificateDates::read(der).ok()?;
            let dates = certificate.describe_validity(now)?;
            let name = certificate.name(index, named.len());
            Some(format!(
                "verify.intermediates: {name} {dates}; put the one that PayPal's certificates are issued by now in its place"
            ))
        };
        named.iter().enumerate().filter_map(caution).collect()
    }

    /// Verifies that a call is PayPal's own, step by step.
    pub(super) fn verify_call(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let transmission = transmission(call, now, trace)?;
        let looked_for = format!("the certificate of {}", transmission.certificate);
        let Some(pem) = &call.certificate else {
            trace.note_failed(&looked_for, || "it is not at hand".to_owned());
            return Err(VerificationError::Unsigned);
        };
        let chain = certificates(pem).unwrap_or_default();
        let Some(Ok(leaf)) = chain.first().map(EndEntityCert::try_from) else {
            trace.note_failed(&looked_for, || "what was given holds none".to_owned());
            return Err(VerificationError::Forged);
        };
        trace.note_passed(&looked_for, || format!("{} in it", chain.len()));
        self.check_certificate(&leaf, &chain, transmission.signer, now, trace)?;
        let content = content(&transmission, &self.webhook_id, &call.body);
        let looked_for = format!("a signature over `{content}`");
        let algorithm = webpki::ring::RSA_PKCS1_2048_8192_SHA256;
        if leaf.verify_signature(algorithm, content.as_bytes(), &transmission.signature).is_err() {
            trace.note_failed(&looked_for, || {
                "it does not match: another webhook id, or another body".to_owned()
            });
            return Err(VerificationError::Forged);
        }
        trace.note_passed(&looked_for, || "it matches".to_owned());
        Ok(())
    }

    /// Verifies that a certificate is PayPal's: its chain, its validity period, its name. `chain`
    /// is everything that PayPal served, the signer's certificate first.
    fn check_certificate(
        &self,
        leaf: &EndEntityCert<'_>,
        chain: &[CertificateDer<'_>],
        signer: &str,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let since_epoch = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        let (time, usage) = (UnixTime::since_unix_epoch(since_epoch), KeyUsage::server_auth());
        let between: Vec<_> =
            chain.iter().skip(1).chain(&self.trust.intermediates).cloned().collect();
        let looked_for = format!("a chain to an authority that is trusted, good at {now}");
        let anchors = &self.trust.anchors;
        if let Err(error) =
            leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, &between, time, usage, None, None)
        {
            let missing = || {
                let is_unknown = matches!(error, webpki::Error::UnknownIssuer);
                let issuer = chain
                    .first()
                    .filter(|_| is_unknown)
                    .and_then(|leaf| MissingIssuer::find(leaf, &between));
                issuer.map_or_else(|| error.to_string(), |issuer| issuer.to_string())
            };
            trace.note_failed(&looked_for, missing);
            return Err(VerificationError::Untrusted);
        }
        trace.note_passed(&looked_for, || "it has one".to_owned());
        let looked_for = format!("a certificate for {signer}");
        let is_named = ServerName::try_from(signer)
            .is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok());
        if !is_named {
            trace.note_failed(&looked_for, || "it is for another name".to_owned());
            return Err(VerificationError::Forged);
        }
        trace.note_passed(&looked_for, || "it is".to_owned());
        Ok(())
    }
}

/// The address of the certificate with which a call claims to be signed; `None` if nothing can make
/// the call valid.
pub(super) fn certificate_url(call: &RawWebhook, now: Timestamp) -> Option<Url> {
    transmission(call, now, &mut VerificationTrace::silent())
        .ok()
        .map(|transmission| transmission.certificate)
}

/// Builds the signed content.
fn content(transmission: &PaypalTransmission<'_>, webhook_id: &str, body: &[u8]) -> String {
    let PaypalTransmission { id, time, .. } = transmission;
    format!("{id}|{time}|{webhook_id}|{}", crc32fast::hash(body))
}

/// Reads the headers of a call's signature, and refuses invalid ones.
fn transmission<'c>(
    call: &'c RawWebhook,
    now: Timestamp,
    trace: &mut VerificationTrace,
) -> Result<PaypalTransmission<'c>, VerificationError> {
    let id = header(call, "paypal-transmission-id", trace)?;
    let time = header(call, "paypal-transmission-time", trace)?;
    let signature = header(call, "paypal-transmission-sig", trace)?;
    let address = header(call, "paypal-cert-url", trace)?;
    let algorithm = header(call, "paypal-auth-algo", trace)?;
    let mut refuse = |looked_for: &str, found: &str| {
        trace.note_failed(looked_for, || found.to_owned());
        VerificationError::Unsigned
    };
    if algorithm != ALGORITHM {
        return Err(refuse("the algorithm `SHA256withRSA`", "the call names another"));
    }
    // A `|` within a part would make the signed content ambiguous.
    if id.contains('|') || time.contains('|') {
        return Err(refuse("an id and a time without `|`", "there is one in it"));
    }
    let signature = BASE64
        .decode(signature)
        .map_err(|_| refuse("a signature in Base64", &beginning(signature)))?;
    let found = certificate_address(address);
    let (certificate, signer) =
        found.ok_or_else(|| refuse("the address of a certificate at PayPal", address))?;
    check_age(time, now, trace)?;
    Ok(PaypalTransmission { id, time, signature, certificate, signer })
}

fn header<'c>(
    call: &'c RawWebhook,
    name: &str,
    trace: &mut VerificationTrace,
) -> Result<&'c str, VerificationError> {
    let value = call.header(name).map(str::trim).filter(|value| !value.is_empty());
    let looked_for = format!("the header `{name}`");
    match value {
        Some(value) => trace.note_passed(&looked_for, || beginning(value)),
        None => trace.note_failed(&looked_for, || "the call has none".to_owned()),
    }
    value.ok_or(VerificationError::Unsigned)
}

fn check_age(
    time: &str,
    now: Timestamp,
    trace: &mut VerificationTrace,
) -> Result<(), VerificationError> {
    let looked_for = format!("sent within the 73 hours before {now}");
    let Ok(sent) = time.parse::<Timestamp>() else {
        trace.note_failed(&looked_for, || format!("{} is no time", beginning(time)));
        return Err(VerificationError::Unsigned);
    };
    let age = now.duration_since(sent);
    if age > MAX_AGE || age < -MAX_LEAD {
        trace.note_failed(&looked_for, || format!("sent at {sent}"));
        return Err(VerificationError::Stale);
    }
    trace.note_passed(&looked_for, || format!("sent at {sent}"));
    Ok(())
}

/// The address of a certificate, if it is one of PayPal's, and the name that the certificate must
/// be for.
fn certificate_address(text: &str) -> Option<(Url, &'static str)> {
    HOSTS.iter().find_map(|(host, signer)| {
        // The text itself is compared, so that no other spelling of an address leads elsewhere.
        let path = text.strip_prefix("https://")?.strip_prefix(host)?;
        let id = path.strip_prefix(CERTIFICATES)?;
        let is_id = !id.is_empty()
            && id.len() <= LONGEST_ID
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_id.then(|| text.parse().ok())?.map(|url| (url, *signer))
    })
}

#[cfg(test)]
#[path = "paypal_tests.rs"]
mod tests;
