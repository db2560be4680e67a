//! The token in a webhook URL, which ferryd signs: it names the command that a webhook is
//! about.
//!
//! ```text
//! base64url(version, day of the first call, generation, command id, HMAC-SHA256 over
//!           all that and the endpoint's provider and account)
//! ```
//!
//! The generation is the one in which the call's key was first used. So a late notice about a call
//! that was given up is distinguished from one about the call that replaced it.
//!
//! A token holds the day of its creation rather than of its expiry: a repeated request has to be
//! the same, byte for byte, even if the configuration changes in between.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;

use super::command_id::CommandId;
use super::name::Name;

/// The parameter of the query that holds a token.
pub const PARAMETER: &str = "ferry";

/// The length of the shortest token in characters, for searches in a text.
pub const SHORTEST: usize = (HEAD + 1 + MAC) * 4 / 3;

/// The purpose of all webhook tokens, so that no other signature under the same key can be taken
/// for one.
const CONTEXT: &[u8] = b"ferryd callback token\0";

const VERSION: u8 = 2;
/// The bytes of version, day and generation.
const HEAD: usize = 5;
/// The bytes of the signature.
const MAC: usize = 32;
/// The seconds of a day.
const DAY: i64 = 86_400;

/// A key that signs tokens.
#[derive(Debug, Clone)]
pub struct TokenKey(hmac::Key);

/// The endpoint that a token is for.
#[derive(Debug, Clone, Copy)]
pub struct TokenScope<'n> {
    /// The provider.
    pub provider: &'n Name,
    /// The account.
    pub account: &'n Name,
}

/// The verified contents of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// The command.
    pub command: CommandId,
    /// The generation in which the key of the command's call was first used.
    pub generation: u32,
}

/// The reason why a text is no valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is no token of ferryd's, or one for another provider or account, or signed with a
    /// key that is no longer known.
    #[error(
        "the token is none that ferryd made for this provider and account with one of its keys"
    )]
    Forged,
    /// The token was made too long ago.
    #[error("the token was made too long ago")]
    Expired,
}

impl TokenKey {
    /// Creates a key from a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()))
    }

    /// Makes the token of a command whose first call of a generation is made, or was made, at this
    /// time.
    #[must_use]
    pub fn make_token(
        &self,
        scope: TokenScope<'_>,
        command: &CommandId,
        generation: u32,
        first_sent: Timestamp,
    ) -> String {
        let generation = u16::try_from(generation).unwrap_or(u16::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend([day_of(first_sent), generation].map(u16::to_be_bytes).concat());
        bytes.extend_from_slice(command.as_str().as_bytes());
        let mac = self.sign(&signed_bytes(scope, &bytes));
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Signs a text.
    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, text).as_ref().to_vec()
    }

    /// Returns true if the signature of a text is valid.
    pub(super) fn verifies(&self, text: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, text, mac).is_ok()
    }
}

/// Finds the token in a webhook URL that ferryd has made.
#[must_use]
pub fn token_in(webhook_url: &str) -> Option<&str> {
    webhook_url.rsplit_once('?')?.1.strip_prefix(PARAMETER)?.strip_prefix('=')
}

/// Returns the day of a time, in UTC, counted from 1970.
pub(super) fn day_of(time: Timestamp) -> u16 {
    u16::try_from(time.as_second().div_euclid(DAY).max(0)).unwrap_or(u16::MAX)
}

/// Returns the time at which a token expires that was made on a day.
pub(super) fn ends_at(day: u16, lifetime: Duration) -> Timestamp {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second((i64::from(day) * DAY).saturating_add(lifetime))
        .unwrap_or(Timestamp::MAX)
}

/// Verifies a token at an endpoint and a time, and returns its contents.
///
/// # Errors
/// [`TokenError`]: the token is not valid.
pub fn read(
    keys: &[TokenKey],
    scope: TokenScope<'_>,
    token: &str,
    now: Timestamp,
    lifetime: Duration,
) -> Result<TokenClaims, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Forged)?;
    let (content, mac) = bytes.split_last_chunk::<MAC>().ok_or(TokenError::Forged)?;
    let signed = signed_bytes(scope, content);
    if !keys.iter().any(|key| key.verifies(&signed, mac)) {
        return Err(TokenError::Forged);
    }
    let Some((&[VERSION, day_high, day_low, high, low], id)) = content.split_first_chunk::<HEAD>()
    else {
        return Err(TokenError::Forged);
    };
    let command =
        std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()).ok_or(TokenError::Forged)?;
    let generation = u16::from_be_bytes([high, low]).into();
    if now >= ends_at(u16::from_be_bytes([day_high, day_low]), lifetime) {
        Err(TokenError::Expired)
    } else {
        Ok(TokenClaims { command, generation })
    }
}

/// Returns the bytes that the signature covers. A name holds no zero byte, so no byte can move from
/// one part to the other.
fn signed_bytes(TokenScope { provider, account }: TokenScope<'_>, content: &[u8]) -> Vec<u8> {
    [CONTEXT, provider.as_str().as_bytes(), &[0], account.as_str().as_bytes(), &[0], content]
        .concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: i64 = 1_796_126_400;
    const WEEK: Duration = Duration::from_hours(7 * 24);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn key(text: &str) -> TokenKey {
        TokenKey::new(text)
    }

    /// Makes the token for an endpoint, given as `provider/account`.
    fn made(key: &TokenKey, endpoint: &str, id: &str, generation: u32, second: i64) -> String {
        let (provider, account) = endpoint.split_once('/').unwrap();
        let scope = TokenScope { provider: &name(provider), account: &name(account) };
        key.make_token(scope, &id.parse().unwrap(), generation, at(second))
    }

    fn token() -> String {
        made(&key("new"), "acme/default", "order-1", 3, NOON)
    }

    fn named(
        keys: &[TokenKey],
        endpoint: &str,
        token: &str,
        second: i64,
    ) -> Result<String, TokenError> {
        let (provider, account) = endpoint.split_once('/').unwrap();
        let scope = TokenScope { provider: &name(provider), account: &name(account) };
        let named = read(keys, scope, token, at(second), WEEK);
        named
            .map(|TokenClaims { command, generation }| format!("{} {generation}", command.as_str()))
    }

    #[test]
    fn a_token_names_its_command_to_its_provider_under_its_key_for_its_time() {
        let (new, other, rotated) = ([key("new")], [key("other")], [key("other"), key("new")]);
        let begin_of_day = NOON - NOON % DAY;
        let end = begin_of_day + 7 * DAY;
        for (keys, endpoint, second, expected) in [
            (&new[..], "acme/default", NOON, Ok("order-1 3")),
            (&new, "acme/eu", NOON, Err(TokenError::Forged)),
            (&rotated, "acme/default", NOON, Ok("order-1 3")),
            (&new, "acme/default", begin_of_day, Ok("order-1 3")),
            (&new, "acme/default", end - 1, Ok("order-1 3")),
            (&new, "acme/default", end, Err(TokenError::Expired)),
            (&new, "acm/default", NOON, Err(TokenError::Forged)),
            (&other, "acme/default", NOON, Err(TokenError::Forged)),
            (&[], "acme/default", NOON, Err(TokenError::Forged)),
        ] {
            assert_eq!(
                named(keys, endpoint, &token(), second),
                expected.map(str::to_owned),
                "{endpoint} {second}"
            );
        }
    }

    #[test]
    fn every_altered_bit_and_every_lost_byte_is_found() {
        let keys = [key("new")];
        let bytes = URL_SAFE_NO_PAD.decode(token()).unwrap();
        for (place, bit) in (0..bytes.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << bit;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(
                named(&keys, "acme/default", &altered, NOON),
                Err(TokenError::Forged),
                "byte {place}, bit {bit}"
            );
        }
        for length in 0..token().len() {
            assert_eq!(
                named(&keys, "acme/default", &token()[..length], NOON),
                Err(TokenError::Forged),
                "{length}"
            );
        }
        for text in [
            "",
            "=",
            "ferry",
            &format!("{}=", token()),
            &format!(" {}", token()),
            &format!("{}A", token()),
        ] {
            assert_eq!(
                named(&keys, "acme/default", text, NOON),
                Err(TokenError::Forged),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_token_is_the_same_all_day_and_never_changes_between_versions() {
        for second in [NOON - NOON % DAY, NOON - NOON % DAY + DAY - 1] {
            assert_eq!(made(&key("new"), "acme/default", "order-1", 3, second), token());
        }
        // Providers keep tokens for months, so their bytes must not change.
        assert_eq!(token(), "AlE0AANvcmRlci0xO0lzSQSkBayrVvmx9rwjTstfDBQIfHIH9fozsBAFPQU");
    }

    proptest! {
        #[test]
        fn every_command_is_named_as_it_is(
            id in "[A-Za-z0-9._:-]{1,128}", secret in ".{1,64}", generation in 0_u32..=65_535, second in 0_i64..5_000_000_000
        ) {
            let token = made(&key(&secret), "acme/default", &id, generation, second);
            prop_assert!(token.len() >= SHORTEST);
            prop_assert!(token.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'), "{token}");
            prop_assert_eq!(named(&[key(&secret)], "acme/default", &token, second), Ok(format!("{id} {generation}")));
        }

        #[test]
        fn no_text_is_taken_for_a_token(text in "[A-Za-z0-9_-]{0,300}") {
            prop_assert_eq!(named(&[key("new")], "acme/default", &text, NOON), Err(TokenError::Forged));
        }
    }
}
