//! Limits unproven calls, and reduces them to what is stored.
//!
//! Anybody can make such a call, so its effects are small: the call is small, a few a second are
//! accepted, and only the ids that it is about are stored. The provider is queried about them.
//! Where a call is refused or never comes, the provider is queried at the planned time.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};

use super::refusal::WebhookRefusal;
use crate::keyed_limiter::KeyedLimiter;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::{RawWebhook, UnverifiedNotice, WebhookNotice};
use ferryd_serve::connection_limiter::client;

/// The most notices of an unproven call.
const MAX_UNVERIFIED_NOTICES: usize = 16;

/// The most calls of one address (a /64 of IPv6) at once, and the time after which one more is
/// accepted.
const PER_CLIENT: (NonZeroU32, Duration) =
    (NonZeroU32::new(50).unwrap(), Duration::from_millis(200));
/// The most calls to one provider at once, for all accounts and addresses, and the time after which
/// one more is accepted.
const PER_PROVIDER: (NonZeroU32, Duration) =
    (NonZeroU32::new(250).unwrap(), Duration::from_millis(40));

/// Limits the unproven calls.
pub(super) struct UnverifiedLimits<C: Clock = DefaultClock> {
    clients: KeyedLimiter<IpAddr, C>,
    providers: KeyedLimiter<Name, C>,
}

impl<C: Clock + Clone> UnverifiedLimits<C> {
    /// Makes the limits with this clock.
    pub(super) fn with_clock(clock: &C) -> Self {
        Self {
            clients: KeyedLimiter::with_clock(PER_CLIENT.0, PER_CLIENT.1, clock.clone()),
            providers: KeyedLimiter::with_clock(PER_PROVIDER.0, PER_PROVIDER.1, clock.clone()),
        }
    }

    /// Takes one call from the allowances of its address and its provider. A call beyond the
    /// address's allowance takes nothing from the provider's, so that one address alone blocks no
    /// other.
    pub(super) fn check(
        &self,
        provider: &Name,
        address: Option<IpAddr>,
    ) -> Result<(), WebhookRefusal> {
        let is_within = address.is_none_or(|address| self.clients.take(&client(address)));
        if is_within && self.providers.take(provider) {
            Ok(())
        } else {
            Err(WebhookRefusal::TooMany)
        }
    }
}

/// Reduces a call to what is stored of it: a `POST` to the same path with a list of the ids that it
/// is about, without its headers and query.
pub(super) fn reduce_call(
    call: RawWebhook,
    notices: &[WebhookNotice],
) -> Result<RawWebhook, WebhookRefusal> {
    if notices.len() > MAX_UNVERIFIED_NOTICES {
        return Err(WebhookRefusal::TooLargeUnverified);
    }
    let notices: Vec<_> = notices.iter().map(UnverifiedNotice::of).collect();
    let body = serde_json::to_vec(&notices).map_err(|_| WebhookRefusal::Unreadable)?.into();
    let mut url = call.url;
    url.set_query(None);
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Ok(RawWebhook { method: call.method, url, headers, body, certificate: None })
}

#[cfg(test)]
#[path = "unverified_tests.rs"]
mod tests;
