//! The bulkhead: the connections and limits of one account of a provider, so that its trouble
//! affects no other account.
//!
//! The accounts of a provider share its queue. So that an account with slow calls does not hold up
//! the commands of the others, a delivery from a shared queue waits only a moment for its turn.
//! Once one has waited in vain, the account's next deliveries go straight to the ladder, until one
//! of its calls has ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::call_health::CallHealth;
use super::command_message::CommandMessage;
use ferryd_broker::delivery_window::DeliveryWindow;
use ferryd_domain::command::MAX_BODY;
use ferryd_domain::name::Name;
use ferryd_domain::token::AccessToken;
use ferryd_provider::{Account, Provider};
use ferryd_redact::Mask;
use ferryd_transport::broker_link::{BrokerLink, BrokerSetupError};
use ferryd_transport::http::{HttpClient, HttpSetupError};
use ferryd_transport::tokens::TokenCache;

/// The longest time that a delivery waits unacked for its turn. Then it is parked, because an
/// unacked delivery blocks the queue and, after half an hour, closes the channel.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The longest wait where deliveries of other accounts may be behind this one.
const LONGEST_WAIT_BESIDE_OTHERS: Duration = Duration::from_secs(2);

/// Fields of the answers of token endpoints whose values are not shown.
const TOKEN_FIELDS: [&str; 3] = ["access_token", "refresh_token", "id_token"];

/// The most deliveries of an account that are held beyond those that may be called at the same
/// time.
const AHEAD: u16 = 64;

/// The most deliveries of a provider that are held unacked, however many accounts it has.
const MOST_HELD: u16 = 4096;

/// The most bytes of a provider's deliveries that the broker pushes, as a multiple of the bytes
/// that may be worked on at the same time. With the default bytes that covers the whole window of
/// up to 256 calls of any size. A delivery that is fetched in a batch costs the broker a little more
/// than a pushed one.
const PUSHED_SHARE: usize = 5;

/// The most bytes of deliveries that are fetched beyond those pushed: enough for thousands of small
/// ones.
const BYTES_FETCHED: usize = 32 << 20;

/// One provider with a lane for each of its accounts.
pub struct ProviderLanes {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The number of deliveries of its queue that are held unacked.
    pub prefetch: u16,
    by_account: BTreeMap<Name, Lane>,
}

/// One account of a provider with its connections and its limits.
pub struct Lane {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The account.
    pub account: Arc<Account>,
    /// The connections of the account.
    pub link: LaneLink,
    /// The account's access token, where the provider wants one.
    tokens: Option<TokenCache>,
    /// Hides the account's secrets and tokens.
    mask: Mutex<Mask>,
    /// The recent failures of the account's calls.
    pub(super) health: CallHealth,
    calls: Arc<Semaphore>,
    /// True where deliveries of other accounts may be behind one of this account.
    beside_others: bool,
    /// True where a delivery has waited in vain, and none got a turn since.
    jammed: AtomicBool,
    bytes: Arc<Semaphore>,
    bytes_total: u32,
}

/// The connections to a provider.
pub enum LaneLink {
    /// HTTPS.
    Https(HttpClient),
    /// Messages to the provider's broker.
    Broker(Box<BrokerLink>),
}

/// The reason why the connections to a provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LaneSetupError {
    /// The TLS settings of HTTPS can't be used.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The settings of the link to a broker can't be used.
    #[error(transparent)]
    Broker(#[from] BrokerSetupError),
}

/// The right to be worked on.
#[derive(Debug)]
pub struct LanePermit {
    /// The permit to call the provider.
    pub call: CallPermit,
    /// The permit to occupy memory.
    pub room: MemoryPermit,
}

/// One of the calls that the provider may get at the same time. Dropping returns it.
#[derive(Debug)]
pub struct CallPermit {
    _permit: OwnedSemaphorePermit,
}

/// A number of bytes of memory. Dropping returns them.
#[derive(Debug)]
pub struct MemoryPermit {
    _permit: OwnedSemaphorePermit,
}

/// The reason why a delivery was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// ferryd is stopping.
    Stopping,
    /// The lane was full for too long.
    Busy,
}

impl ProviderLanes {
    /// Sets up the lanes of a provider. More deliveries are held than may be called at the same
    /// time, so that the next ones are there while those before them are recorded and published.
    ///
    /// # Errors
    /// [`LaneSetupError`] where the provider's TLS settings can't be used.
    pub fn new(provider: &Arc<Provider>) -> Result<Self, LaneSetupError> {
        let calls = provider.max_in_flight;
        let held = calls.saturating_add(calls.min(AHEAD));
        let accounts = u16::try_from(provider.accounts.len()).unwrap_or(u16::MAX);
        let prefetch = held.saturating_mul(accounts.max(1)).min(MOST_HELD.max(held));
        let bytes_total =
            u32::try_from(provider.max_bytes_in_flight).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3);
        let (http, bytes) =
            (HttpClient::new(&provider.http)?, Arc::new(Semaphore::new(bytes_total as usize)));
        let lane = |(name, account): (&Name, &Arc<Account>)| -> Result<_, LaneSetupError> {
            let link = match BrokerLink::of(provider, account)? {
                Some(link) => LaneLink::Broker(Box::new(link)),
                None => LaneLink::Https(http.clone()),
            };
            let tokens =
                account.adapter.build_token_request(Duration::ZERO).map(|_| TokenCache::default());
            let lane = Lane {
                link,
                mask: Mutex::new(mask(provider, &account.secrets, tokens.is_some())),
                tokens,
                health: CallHealth::default(),
                calls: Arc::new(Semaphore::new(usize::from(calls))),
                beside_others: accounts > 1,
                jammed: AtomicBool::new(false),
                bytes: Arc::clone(&bytes),
                bytes_total,
                account: Arc::clone(account),
                provider: Arc::clone(provider),
            };
            Ok((name.clone(), lane))
        };
        let by_account = provider.accounts.iter().map(lane).collect::<Result<_, _>>()?;
        Ok(Self { provider: Arc::clone(provider), prefetch, by_account })
    }

    /// Returns the bounds of the deliveries of its queue that are held unacked.
    #[must_use]
    pub fn window(&self) -> DeliveryWindow {
        let pushed = self.provider.max_bytes_in_flight.saturating_mul(PUSHED_SHARE);
        DeliveryWindow::of_bytes(self.prefetch, MAX_BODY, pushed, BYTES_FETCHED)
    }

    /// Finds the lane of an account.
    #[must_use]
    pub fn of(&self, account: &Name) -> Option<&Lane> {
        self.by_account.get(account)
    }

    /// Makes the mask for messages of an unknown account.
    #[must_use]
    pub fn mask(&self) -> Mask {
        self.provider.mask_of_all()
    }
}

impl Lane {
    /// Returns the mask for the account's calls.
    #[must_use]
    pub fn mask(&self) -> Mask {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lists the webhook URLs that a call may have, the one to try first in front. A request under
    /// a key is repeated with the token of the first one, also in a later generation, and after
    /// another key has come to sign tokens.
    pub(super) fn webhook_urls(
        &self,
        command: &CommandMessage,
        first_sent: Timestamp,
    ) -> Vec<Option<String>> {
        let Some(links) = &self.provider.links else { return vec![None] };
        let generations = (0..=command.progress().generation).rev();
        generations
            .flat_map(|generation| links.urls(&command.command, generation, first_sent))
            .map(Some)
            .collect()
    }

    /// Returns the token beside the id of a command whose first call of this generation is made at
    /// this time; empty where no key signs one.
    pub(super) fn command_token(&self, command: &CommandMessage, first_sent: Timestamp) -> String {
        let tokens = self.provider.echo_tokens.as_ref();
        let token = tokens.and_then(|tokens| {
            tokens.make_token(&command.command, command.progress().generation, first_sent)
        });
        token.unwrap_or_default()
    }

    /// Returns the access tokens, where the provider wants them.
    pub(super) fn tokens(&self) -> Option<&TokenCache> {
        self.tokens.as_ref()
    }

    /// Adds a new token to the mask, beside those before it.
    pub(super) fn mask_token(&self, access: &AccessToken, tokens: &TokenCache) {
        let known = tokens.secrets().into_iter().chain([access.secret().clone()]);
        let known: Vec<SecretString> = known.chain(self.account.secrets.iter().cloned()).collect();
        *self.mask.lock().unwrap_or_else(PoisonError::into_inner) =
            mask(&self.provider, &known, true);
    }

    /// Waits for a turn for a command of `size` bytes. A command larger than the lane's whole
    /// budget takes all of it.
    ///
    /// # Errors
    /// [`NotAdmitted`]: stopping, or too full for too long.
    pub async fn wait_for_permit(
        &self,
        size: usize,
        stop: &CancellationToken,
    ) -> Result<LanePermit, NotAdmitted> {
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(self.bytes_total);
        if stop.is_cancelled() {
            return Err(NotAdmitted::Stopping);
        }
        // A timer costs more than a free permit.
        if let Some(permit) = self.free_permit(size) {
            return Ok(permit);
        }
        let turn = async {
            let call = self.call_slot().await?;
            let bytes = Arc::clone(&self.bytes)
                .acquire_many_owned(size)
                .await
                .map_err(|_| NotAdmitted::Stopping)?;
            Ok(LanePermit { call, room: MemoryPermit { _permit: bytes } })
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(NotAdmitted::Stopping),
            turn = turn => turn,
            () = tokio::time::sleep(LONGEST_WAIT) => Err(NotAdmitted::Busy),
        }
    }

    /// Takes a permit where one is free.
    fn free_permit(&self, size: u32) -> Option<LanePermit> {
        let call = Arc::clone(&self.calls).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(size).ok()?;
        self.jammed.store(false, Ordering::Relaxed);
        Some(LanePermit {
            call: CallPermit { _permit: call },
            room: MemoryPermit { _permit: bytes },
        })
    }

    async fn call_slot(&self) -> Result<CallPermit, NotAdmitted> {
        // A free permit is taken in any case.
        let patience = match (self.beside_others, self.jammed.load(Ordering::Relaxed)) {
            (false, _) => LONGEST_WAIT,
            (true, false) => LONGEST_WAIT_BESIDE_OTHERS,
            (true, true) => Duration::ZERO,
        };
        let taken = tokio::time::timeout(patience, Arc::clone(&self.calls).acquire_owned()).await;
        self.jammed.store(taken.is_err(), Ordering::Relaxed);
        let permit = taken.map_err(|_| NotAdmitted::Busy)?.map_err(|_| NotAdmitted::Stopping)?;
        Ok(CallPermit { _permit: permit })
    }
}

/// Makes a mask for secrets of a provider, and for tokens where it grants some.
fn mask(provider: &Provider, secrets: &[SecretString], grants: bool) -> Mask {
    let more = if grants { &TOKEN_FIELDS[..] } else { &[] };
    let fields: Vec<String> =
        provider.log.mask.iter().cloned().chain(more.iter().map(|&name| name.to_owned())).collect();
    Mask::new(secrets, &fields)
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
