//! Calls that are believed by the token in their URL: whoever knows it had it from ferryd, or from the provider.

use jiff::Timestamp;

use super::explain::Trail;
use crate::domain::callback::{RawCallback, Unverified};
use crate::domain::callback_token::{BadToken, PARAMETER};
use crate::provider::link::Links;

/// Looks for a token that is good at this time.
pub(super) fn examine(
    links: &Links,
    call: &RawCallback,
    now: Timestamp,
    trail: &mut Trail,
) -> Result<(), Unverified> {
    let looked_for = format!("a token in the parameter `{PARAMETER}` of the query");
    match links.command_of(call, now) {
        Some(Ok(id)) => {
            trail.passed(&looked_for, || format!("that of the command {}", id.as_str()));
            Ok(())
        }
        Some(Err(reason)) => {
            trail.failed(&looked_for, || reason.to_string());
            Err(match reason {
                BadToken::Forged => Unverified::Forged,
                BadToken::Expired => Unverified::Stale,
            })
        }
        None => {
            trail.failed(&looked_for, || "none".to_owned());
            Err(Unverified::Unsigned)
        }
    }
}
