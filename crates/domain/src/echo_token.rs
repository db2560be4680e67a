//! The token beside a command's id in what a provider echoes: it proves that ferryd sent that id
//! for that command.
//!
//! ```text
//! base64url(version, day of the first call, generation, HMAC-SHA256 over all that,
//!           the command's id and the endpoint's provider and account)
//! ```
//!
//! Anyone who pays at the same provider can have any id echoed. Only ferryd can make a token, and a
//! token goes into a field that no payload can write. Unlike the token of a webhook URL it does not
//! hold the id, and is so short that every provider accepts it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::command_id::CommandId;
use super::webhook_token::{TokenError, TokenKey, TokenScope, day_of, ends_at};

/// The purpose of all echo tokens, so that none can be taken for the token of a webhook URL, or the
/// other way round.
const CONTEXT: &[u8] = b"ferryd echo token\0";

const VERSION: u8 = 1;
/// The bytes of version, day and generation.
const HEAD: usize = 5;
/// The bytes of the signature.
const MAC: usize = 32;

/// Makes the token of a command whose first call of a generation is made, or was made, at this
/// time.
#[must_use]
pub fn make_token(
    key: &TokenKey,
    scope: TokenScope<'_>,
    command: &CommandId,
    generation: u32,
    first_sent: Timestamp,
) -> String {
    let generation = u16::try_from(generation).unwrap_or(u16::MAX);
    let mut bytes = vec![VERSION];
    bytes.extend([day_of(first_sent), generation].map(u16::to_be_bytes).concat());
    let mac = key.sign(&signed_bytes(scope, command, &bytes));
    bytes.extend(mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Verifies a token that came beside an id, and returns the generation of the command for which it
/// was made.
///
/// # Errors
/// [`TokenError`]: the token is not valid.
pub fn read(
    keys: &[TokenKey],
    scope: TokenScope<'_>,
    command: &CommandId,
    token: &str,
    now: Timestamp,
    lifetime: Duration,
) -> Result<u32, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Forged)?;
    let (head, mac) = bytes.split_last_chunk::<MAC>().ok_or(TokenError::Forged)?;
    let Ok(&[VERSION, day_high, day_low, high, low]) = <&[u8; HEAD]>::try_from(head) else {
        return Err(TokenError::Forged);
    };
    let signed = signed_bytes(scope, command, head);
    if !keys.iter().any(|key| key.verifies(&signed, mac)) {
        return Err(TokenError::Forged);
    }
    if now >= ends_at(u16::from_be_bytes([day_high, day_low]), lifetime) {
        return Err(TokenError::Expired);
    }
    Ok(u16::from_be_bytes([high, low]).into())
}

/// Returns the bytes that the signature covers. Neither a name nor an id holds a zero byte, so no
/// byte can move from one part to the other.
fn signed_bytes(
    TokenScope { provider, account }: TokenScope<'_>,
    command: &CommandId,
    head: &[u8],
) -> Vec<u8> {
    let [provider, account, command] =
        [provider.as_str(), account.as_str(), command.as_str()].map(str::as_bytes);
    [CONTEXT, provider, &[0], account, &[0], command, &[0], head].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    const NOON: i64 = 1_796_126_400;
    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Parses an endpoint given as `provider/account`.
    fn endpoint(text: &str) -> (Name, Name) {
        let (provider, account) = text.split_once('/').unwrap();
        (provider.parse().unwrap(), account.parse().unwrap())
    }

    fn made(key: &str, place: &str, id: &str, generation: u32) -> String {
        let (provider, account) = endpoint(place);
        let scope = TokenScope { provider: &provider, account: &account };
        make_token(&TokenKey::new(key), scope, &id.parse().unwrap(), generation, at(NOON))
    }

    fn proves(
        key: &str,
        place: &str,
        id: &str,
        token: &str,
        second: i64,
    ) -> Result<u32, TokenError> {
        let (provider, account) = endpoint(place);
        let scope = TokenScope { provider: &provider, account: &account };
        let week = Duration::from_hours(7 * 24);
        read(
            &[TokenKey::new("old"), TokenKey::new(key)],
            scope,
            &id.parse().unwrap(),
            token,
            at(second),
            week,
        )
    }

    #[test]
    fn a_token_proves_its_command_at_its_provider_under_its_key_for_its_time() {
        let token = made("new", "acme/default", "order-1", 3);
        let end = NOON - NOON % DAY + 7 * DAY;
        for (key, place, id, second, expected) in [
            ("new", "acme/default", "order-1", NOON, Ok(3)),
            ("new", "acme/default", "order-1", end - 1, Ok(3)),
            ("new", "acme/default", "order-1", end, Err(TokenError::Expired)),
            ("new", "acme/default", "order-2", NOON, Err(TokenError::Forged)),
            ("new", "acme/default", "order-10", NOON, Err(TokenError::Forged)),
            ("new", "acme/eu", "order-1", NOON, Err(TokenError::Forged)),
            ("new", "acm/default", "order-1", NOON, Err(TokenError::Forged)),
            ("other", "acme/default", "order-1", NOON, Err(TokenError::Forged)),
        ] {
            assert_eq!(
                proves(key, place, id, &token, second),
                expected,
                "{key} {place} {id} {second}"
            );
        }
    }

    #[test]
    fn every_altered_bit_and_every_lost_byte_is_found() {
        let token = made("new", "acme/default", "order-1", 3);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for (place, bit) in (0..bytes.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << bit;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(
                proves("new", "acme/default", "order-1", &altered, NOON),
                Err(TokenError::Forged),
                "{place} {bit}"
            );
        }
        for length in 0..token.len() {
            let cut = &token[..length];
            assert_eq!(
                proves("new", "acme/default", "order-1", cut, NOON),
                Err(TokenError::Forged),
                "{length}"
            );
        }
    }

    #[test]
    fn no_token_is_taken_for_one_of_the_other_kind() {
        use crate::webhook_token;
        let (provider, account) = endpoint("acme/default");
        let scope = TokenScope { provider: &provider, account: &account };
        let (key, id) = (TokenKey::new("new"), "order-1".parse().unwrap());
        let of_url = key.make_token(scope, &id, 3, at(NOON));
        assert_eq!(
            proves("new", "acme/default", "order-1", &of_url, NOON),
            Err(TokenError::Forged)
        );
        let beside = made("new", "acme/default", "order-1", 3);
        let read = webhook_token::read(&[key], scope, &beside, at(NOON), Duration::from_hours(24));
        assert_eq!(read, Err(TokenError::Forged));
    }

    #[test]
    fn a_token_is_short_and_never_changes_between_versions() {
        let token = made("new", "acme/default", &"x".repeat(128), 65_535);
        assert_eq!(token.len(), 50);
        // Providers keep tokens for months, so their bytes must not change.
        assert_eq!(
            made("new", "acme/default", "order-1", 3),
            "AVE0AAMSlStXNlb52kzxKUMagDfi2kYo6ojLUibE83La4MsiJw"
        );
    }
}
