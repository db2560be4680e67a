//! Signs calls as the provider would, for `ferryd webhook` and for tests.

use jiff::Timestamp;
use url::Url;
use url::form_urlencoded::parse;

use super::described_scheme::{DescribedScheme, body_digest};
use super::form;
use super::private_key::PrivateKey;
use super::selector::ValueSelector;
use ferryd_domain::webhook::RawWebhook;

/// The reason why a call can't be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Every key has passed its `until`.
    #[error("no key is taken any more; every `until` has passed")]
    NoKey,
    /// Only the provider has the key.
    #[error("calls are signed with the provider's private key (`{0}`), which is not given")]
    NoPrivateKey(&'static str),
    /// Only the provider can sign.
    #[error(
        "PayPal signs calls with a certificate that nobody else has; have its simulator send one (webhook id `WEBHOOK_ID`)"
    )]
    OnlyProvider,
    /// The private key is for another algorithm.
    #[error("the private key is not for `{0}`")]
    AnotherAlgorithm(&'static str),
    /// The private key belongs to none of the public keys.
    #[error("the private key belongs to none of the public keys in the file")]
    Stranger,
    /// The call lacks a part that is signed.
    #[error("{0}, and it is signed")]
    Missing(String),
    /// Calls are verified by a token, which this one lacks.
    #[error("webhooks are verified by the token of a webhook URL, and this one has no valid token")]
    NoToken,
    /// The body is not of the form that the scheme signs.
    #[error("the body is no payment notification: it has no `notificationItems`")]
    NoNotification,
}

/// Removes a parameter from a query; the other parameters stay as they are written.
fn drop_parameter(url: &mut Url, name: &str) {
    let is_other = |pair: &&str| parse(pair.as_bytes()).all(|(key, _)| key != name);
    let kept: Vec<&str> = url.query().unwrap_or_default().split('&').filter(is_other).collect();
    let kept = kept.join("&");
    url.set_query(Some(&kept).filter(|kept| !kept.is_empty()).map(String::as_str));
}

impl DescribedScheme {
    /// Signs a call as the provider would at this time: adds the headers and the query that
    /// verification checks.
    ///
    /// Existing ones are replaced. Missing headers that are signed as well get a value made of the
    /// body.
    pub(super) fn sign(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<RawWebhook, SigningError> {
        let mut call = call.clone();
        self.complete(&mut call);
        let timestamp = self.timestamp.as_ref().map(|place| place.text(now));
        let contents = self
            .signed
            .signed_contents(&call, timestamp.as_deref())
            .map_err(|none| SigningError::Missing(none.to_string()))?;
        let content = contents.into_iter().next().unwrap_or_default();
        let signature = self.signature_of(&content, now, private_key)?;
        self.write(&mut call, timestamp.as_deref(), &signature);
        Ok(call)
    }

    fn signature_of(
        &self,
        content: &[u8],
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<Vec<u8>, SigningError> {
        let mut keys = self.keys.iter().filter(|key| key.is_taken(now));
        let name = self.algorithm.name();
        if !self.algorithm.is_asymmetric() {
            return keys.next().and_then(|key| key.sign(content)).ok_or(SigningError::NoKey);
        }
        let private_key = private_key.ok_or(SigningError::NoPrivateKey(name))?;
        let signature = private_key
            .sign(self.algorithm, content)
            .ok_or(SigningError::AnotherAlgorithm(name))?;
        let known = keys.any(|key| key.matches(content, std::slice::from_ref(&signature)));
        if known { Ok(signature) } else { Err(SigningError::Stranger) }
    }

    /// Adds signed parts that can be generated: headers such as a message's id, and the body's
    /// digest in the query.
    fn complete(&self, call: &mut RawWebhook) {
        for name in self.signed.needed_headers() {
            if call.header(name).is_none() {
                let id: String = body_digest(call).chars().take(24).collect();
                call.headers.push((name.to_owned(), id));
            }
        }
        let Some(name) = &self.body_digest else { return };
        let digest = body_digest(call);
        let covered = self.signed.has_body() || (self.signed.has_form() && form::is_form(call));
        match call.query(name).map(|given| given.eq_ignore_ascii_case(&digest)) {
            Some(true) => return,
            Some(false) => drop_parameter(&mut call.url, name),
            None if covered || call.body.is_empty() => return,
            None => {}
        }
        call.url.query_pairs_mut().append_pair(name, &digest);
    }

    fn write(&self, call: &mut RawWebhook, timestamp: Option<&str>, signature: &[u8]) {
        let place = &self.signature.place;
        let signature = self.signature.written(signature);
        call.headers.retain(|(name, _)| *name != place.header);
        let (Some(stamp), Some(text)) = (&self.timestamp, timestamp) else {
            call.headers.push((place.header.clone(), signature));
            return;
        };
        let time = stamp.written(text);
        if stamp.place.header == place.header {
            let separator =
                if let ValueSelector::Field(_, separator) = place.value { separator } else { ',' };
            call.headers.push((place.header.clone(), format!("{time}{separator}{signature}")));
            return;
        }
        call.headers.retain(|(name, _)| *name != stamp.place.header);
        call.headers.push((stamp.place.header.clone(), time));
        call.headers.push((place.header.clone(), signature));
    }
}
