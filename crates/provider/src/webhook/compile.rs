//! Compiles the table `[webhook]` into an endpoint.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::adyen::AdyenPayments;
use super::compile_challenge::challenge;
use super::compile_notices::reading;
use super::described_scheme::DescribedScheme;
use super::file::{
    AlgorithmFile, KeyEncoding, KeyFile, SchemeFile, SignatureFile, TimestampFile, VerifyFile,
    VerifyTable, WebhookFile,
};
use super::fixed_scheme::{SecretsOfFile, refuse_surplus};
use super::key::VerificationKey;
use super::paypal::{self, PaypalVerification};
use super::selector::{HeaderSelector, SignatureSelector, TimestampSelector, ValueSelector};
use super::signed_payload::SignedPayload;
use super::token::{self, WebhookUrlContext};
use super::{CompiledWebhook, WebhookVerification};
use crate::WebhookReceiver;
use crate::rest::expression::{ExpressionScope, KnownVariables};
use crate::rest::inherited::duration;
use crate::rest::text::TextTemplate;
use ferryd_settings::findings::SettingsCursor;

/// The tolerance for the time of signing, where the file does not state one.
const TOLERANCE: Duration = Duration::from_mins(5);

/// The fewest bytes of a secret, unless the file says that the provider makes shorter ones.
const LEAST_SECRET: usize = 16;

/// Compiles a table into an endpoint. Faults are reported at `place`.
pub(crate) fn compile(
    file: &WebhookFile,
    secrets: SecretsOfFile<'_>,
    called: WebhookUrlContext<'_>,
    place: &SettingsCursor<'_>,
) -> Option<Arc<dyn WebhookReceiver>> {
    let at = place.key("verify");
    let verification = match &file.verify {
        None => {
            at.refuse(
                "is missing; write a table [webhook.verify], or `\"none\"` or `\"token\"` where the provider signs nothing",
            );
            None
        }
        Some(VerifyFile::None) => Some(WebhookVerification::None),
        Some(VerifyFile::Token) => {
            token::compile(file, called, place).map(WebhookVerification::Token)
        }
        Some(VerifyFile::Table(table)) => verification(table, secrets, &at),
    };
    let at = place.key("challenge");
    let challenge = file.challenge.as_ref().map(|file| challenge(file, secrets, &at));
    let reading = reading(file, secrets.names, called, place);
    Some(Arc::new(CompiledWebhook {
        reading,
        secrets: secrets.secrets.variable(),
        verification: verification?,
        challenge: match challenge {
            None => None,
            Some(compiled) => Some(compiled?),
        },
    }))
}

fn verification(
    file: &VerifyTable,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<WebhookVerification> {
    match file.scheme {
        SchemeFile::Described => {
            described(file, secrets, place).map(Box::new).map(WebhookVerification::Described)
        }
        SchemeFile::AdyenPayments => {
            adyen(file, secrets, place).map(WebhookVerification::AdyenPayments)
        }
        SchemeFile::Paypal => {
            paypal::compile(file, secrets, place).map(|verification| match verification {
                PaypalVerification::LeftOut => WebhookVerification::None,
                PaypalVerification::Scheme(scheme) => WebhookVerification::Paypal(scheme),
            })
        }
    }
}

/// Refuses the keys of PayPal's scheme in the table of another.
fn refuse_keys_of_paypal(file: &VerifyTable, place: &SettingsCursor<'_>) {
    let surplus = [
        ("webhook_id", file.webhook_id.is_some()),
        ("optional", file.optional.is_some()),
        ("intermediates", file.intermediates.is_some()),
    ];
    for (key, _) in surplus.iter().filter(|(_, written)| *written) {
        place.key(key).refuse(
            "belongs to the scheme `paypal` alone; leave it out, or write `scheme = \"paypal\"`",
        );
    }
}

fn adyen(
    file: &VerifyTable,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<AdyenPayments> {
    refuse_surplus("adyen_payments", file, place);
    refuse_keys_of_paypal(file, place);
    let keys = keys(file, AlgorithmFile::HmacSha256, KeyEncoding::Hex, secrets, place);
    keys.map(|keys| AdyenPayments { keys })
}

fn described(
    file: &VerifyTable,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<DescribedScheme> {
    refuse_keys_of_paypal(file, place);
    if file.algorithm.is_none() {
        place.key("algorithm").refuse(
            "is missing; write one of `hmac_sha256`, `hmac_sha1`, `ecdsa_p256`, `ed25519`, or another `scheme`",
        );
    }
    let encoding = file.key_encoding.unwrap_or_default();
    let keys = file.algorithm.and_then(|algorithm| keys(file, algorithm, encoding, secrets, place));
    let signature = signature(file.signature.as_ref(), &place.key("signature"));
    let timestamp = file.timestamp.as_ref().map(|table| timestamp(table, &place.key("timestamp")));
    let signed = signed(file, place)?;
    refuse_gaps(file, &signed, place);
    if let (Some(signature), Some(Some(timestamp))) = (&signature, &timestamp)
        && signature.place.header == timestamp.place.header
        && !matches!(
            (&signature.place.value, &timestamp.place.value),
            (ValueSelector::Field(..), ValueSelector::Field(..))
        )
    {
        place
            .key("timestamp")
            .key("header")
            .refuse("is also the signature's; write `field` for both, or another header");
    }
    Some(DescribedScheme {
        algorithm: file.algorithm?,
        keys: keys?,
        signature: signature?,
        timestamp: match timestamp {
            None => None,
            Some(compiled) => Some(compiled?),
        },
        signed,
        body_digest: file.body_digest.as_ref().map(|digest| digest.query.clone()),
        unsigned_body: file.unsigned_body.unwrap_or(false),
    })
}

/// Refuses a table under which a part of a call is neither signed nor declared unsigned.
fn refuse_gaps(file: &VerifyTable, signed: &SignedPayload, place: &SettingsCursor<'_>) {
    let key = if file.signed.is_some() { "signed" } else { "signed_parts" };
    match (&file.timestamp, signed.has_timestamp()) {
        (Some(_), false) => place.key("timestamp").refuse(format!(
            "is not signed, so anyone could renew it; put `{{{{ timestamp }}}}` into `{key}`"
        )),
        (None, true) => {
            place.key(key).refuse("has `{{ timestamp }}`; say where it is in a table `timestamp`");
        }
        _ => {}
    }
    let digest = file.body_digest.as_ref().map(|digest| digest.query.as_str());
    if digest.is_some_and(|name| !signed.has_query(name)) {
        place
            .key("body_digest")
            .refuse(format!("is not signed itself; put `{{{{ url }}}}` into `{key}`"));
    }
    let covered = signed.has_body() || signed.has_form() || digest.is_some();
    match (covered, file.unsigned_body.unwrap_or(false)) {
        (false, false) => place.key(key).refuse(
            "has nothing of the body, so anyone could write it; put `{{ body }}` into it, or write `unsigned_body = true` \
             where the provider really signs none of it",
        ),
        (true, true) => place.key("unsigned_body").refuse("is not so: the body is signed; leave it out"),
        _ => {}
    }
    if signed.has_form() && digest.is_none() && !signed.has_body() {
        place.key(key).refuse(
            "has `{{ form }}`, which says nothing of a body that is no form; write `body_digest` as well, or `{{ body }}`",
        );
    }
}

fn signed(file: &VerifyTable, place: &SettingsCursor<'_>) -> Option<SignedPayload> {
    match (&file.signed, file.signed_parts.as_slice()) {
        (None, []) => {
            place.key("signed").refuse("is missing; write what is signed, such as `{{ body }}`");
            None
        }
        (Some(source), []) => place.key("signed").check(SignedPayload::whole(source)),
        (None, parts) => {
            let at = place.key("signed_parts");
            let mut signed = SignedPayload::nothing();
            let mut right = true;
            for (number, source) in parts.iter().enumerate() {
                right &= at.item(number).check(signed.push_optional(source)).is_some();
            }
            right.then_some(signed)
        }
        (Some(_), _) => {
            place.key("signed_parts").refuse("stands beside `signed`; keep one of them");
            None
        }
    }
}

fn keys(
    file: &VerifyTable,
    algorithm: AlgorithmFile,
    encoding: KeyEncoding,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<Vec<VerificationKey>> {
    let at = place.key("keys");
    if file.keys.is_empty() {
        at.refuse("has none; write keys = [{ secret = \"{{ secrets.webhook }}\" }]");
        return None;
    }
    let compile = |(number, key): (usize, &KeyFile)| {
        let at = at.item(number);
        let until = key.until.as_ref().map(|text| until(text, &at.key("until")));
        let text = secret(&key.secret, algorithm, secrets, &at.key("secret"))?;
        let prefix = file.key_prefix.as_deref().unwrap_or_default();
        let text = text.strip_prefix(prefix).unwrap_or(&text);
        let until = match until {
            None => None,
            Some(time) => Some(time?),
        };
        let at = at.key("secret");
        let key = at.check(VerificationKey::new(algorithm, encoding, text, until))?;
        if let Some(size) = key.secret_size.filter(|size| *size < LEAST_SECRET && !file.short_keys)
        {
            at.refuse(format!(
                "has {size} bytes, and one of less than {LEAST_SECRET} could be guessed; make a longer one at the provider, or \
                 write `short_keys = true` beside `keys` where the provider makes no longer ones"
            ));
            return None;
        }
        Some(key)
    };
    let keys: Vec<_> = file.keys.iter().enumerate().map(compile).collect();
    keys.into_iter().collect()
}

/// The text of a key. A secret must be one of `[secrets]`, so that it is masked wherever it
/// appears.
fn secret(
    source: &str,
    algorithm: AlgorithmFile,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<String> {
    let text =
        place.check(TextTemplate::compile(source, &KnownVariables::in_secrets(secrets.names)))?;
    if matches!(text, TextTemplate::Constant(_)) && !algorithm.is_asymmetric() {
        place.refuse(
            "is the secret itself; write it under [secrets], and here `{{ secrets.webhook }}`",
        );
        return None;
    }
    let scope = ExpressionScope::new([("secrets", secrets.secrets.variable().into())]);
    let value = text.string(&scope).ok().flatten();
    // A missing secret was reported already.
    if value.is_none() && secrets.secrets.len() == secrets.names.len() {
        place.refuse("has no value; write `{{ secrets.webhook }}`");
    }
    value
}

fn until(text: &str, place: &SettingsCursor<'_>) -> Option<Timestamp> {
    let time = text.parse::<Timestamp>().ok();
    // A date with a time but without an offset is refused, rather than read as its date alone.
    let is_date = text.len() == "2026-12-01".len();
    let date = || {
        Some(
            text.parse::<Date>()
                .ok()
                .filter(|_| is_date)?
                .to_zoned(TimeZone::UTC)
                .ok()?
                .timestamp(),
        )
    };
    let time = time.or_else(date);
    if time.is_none() {
        place.refuse(format!(
            "`{text}` is no time; write one such as `2026-12-01T08:00:00Z`, or a date"
        ));
    }
    time
}

fn signature(
    file: Option<&SignatureFile>,
    place: &SettingsCursor<'_>,
) -> Option<SignatureSelector> {
    let Some(file) = file else {
        place.refuse(
            r#"is missing; write signature = { header = "X-Signature", encoding = "hex" }"#,
        );
        return None;
    };
    if file.encoding.is_none() {
        place.key("encoding").refuse("is missing; write `hex` or `base64`");
    }
    let within = match (&file.field, &file.version) {
        (Some(_), Some(_)) => {
            place.key("version").refuse("stands beside `field`; keep one of them");
            None
        }
        (None, Some(version)) => Some(ValueSelector::Version(version.clone())),
        (field, None) => within(field.as_ref(), file.separator.as_deref(), place),
    };
    let header = header(file.header.as_deref(), &place.key("header"));
    Some(SignatureSelector {
        place: HeaderSelector { header: header?, value: within? },
        prefix: file.prefix.clone().unwrap_or_default(),
        encoding: file.encoding?,
    })
}

fn timestamp(file: &TimestampFile, place: &SettingsCursor<'_>) -> Option<TimestampSelector> {
    let header = header(file.header.as_deref(), &place.key("header"));
    let within = within(file.field.as_ref(), file.separator.as_deref(), place);
    let tolerance = match &file.tolerance {
        None => Some(TOLERANCE),
        Some(text) => duration(text, &place.key("tolerance")),
    };
    let place = HeaderSelector { header: header?, value: within? };
    Some(TimestampSelector { place, unit: file.unit.unwrap_or_default(), tolerance: tolerance? })
}

fn within(
    field: Option<&String>,
    separator: Option<&str>,
    place: &SettingsCursor<'_>,
) -> Option<ValueSelector> {
    let at = place.key("separator");
    let mut characters = separator.unwrap_or(",").chars();
    let (Some(separator_character), None) = (characters.next(), characters.next()) else {
        at.refuse("is not one character; write such as `,` or `;`");
        return None;
    };
    if field.is_none() && separator.is_some() {
        at.refuse("separates fields, and no `field` is named; write `field`, or leave it out");
    }
    Some(field.map_or(ValueSelector::Whole, |name| {
        ValueSelector::Field(name.clone(), separator_character)
    }))
}

fn header(name: Option<&str>, place: &SettingsCursor<'_>) -> Option<String> {
    let Some(name) = name else {
        place.refuse("is missing; write the header's name");
        return None;
    };
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        place.refuse(format!("`{name}` is not a header name; use letters, digits and `-`"));
    }
    parsed.map(|name| name.as_str().to_owned())
}
