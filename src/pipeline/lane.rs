//! The bulkhead: everything one provider has of its own, so that its trouble stays its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::domain::token::AccessToken;
use crate::provider::Provider;
use crate::transport::http::{Http, HttpSetupError};
use crate::transport::mask::Mask;
use crate::transport::tokens::Tokens;

/// The longest time a delivery waits unacked for its turn; then it is parked, because an unacked delivery blocks the
/// queue and, after half an hour, closes the channel.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Fields of the answers of token endpoints whose values are not shown.
const TOKEN_FIELDS: [&str; 3] = ["access_token", "refresh_token", "id_token"];

/// One provider with its connections and its limits.
pub struct Lane {
    /// The provider.
    pub provider: Arc<Provider>,
    /// Its HTTPS connections.
    pub http: Http,
    /// Its access token, where it wants one.
    tokens: Option<Tokens>,
    /// Its secrets and tokens, to be kept out of the log.
    mask: Mutex<Mask>,
    calls: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_total: u32,
}

/// The right to be worked on.
#[derive(Debug)]
pub struct Turn {
    /// To call the provider.
    pub call: CallSlot,
    /// To lie in memory.
    pub room: Room,
}

/// One of the calls that the provider may get at the same time; given back when dropped.
#[derive(Debug)]
pub struct CallSlot {
    _permit: OwnedSemaphorePermit,
}

/// Bytes of memory; given back when dropped.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

/// Why a delivery was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// ferryd is stopping.
    Stopping,
    /// The lane was full for too long.
    Busy,
}

impl Lane {
    /// Sets a lane up for a provider.
    ///
    /// # Errors
    /// [`HttpSetupError`] where the provider's TLS settings can't be used.
    pub fn new(provider: Arc<Provider>) -> Result<Self, HttpSetupError> {
        let tokens = provider.adapter.token_request(Duration::ZERO).map(|_| Tokens::default());
        let bytes_total = u32::try_from(provider.max_bytes_in_flight).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3);
        Ok(Self {
            http: Http::new(&provider.http)?,
            mask: Mutex::new(mask(&provider, tokens.is_some(), [])),
            tokens,
            calls: Arc::new(Semaphore::new(usize::from(provider.max_in_flight))),
            bytes: Arc::new(Semaphore::new(bytes_total as usize)),
            bytes_total,
            provider,
        })
    }

    /// What must not be read in the log.
    pub fn mask(&self) -> Mask {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The access tokens, where the provider wants them.
    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Keeps a new token out of the log, and those before it.
    pub(super) fn hide(&self, access: &AccessToken, tokens: &Tokens) {
        let known = tokens.secrets().into_iter().chain([access.secret().clone()]);
        *self.mask.lock().unwrap_or_else(PoisonError::into_inner) = mask(&self.provider, true, known);
    }

    /// Waits for a turn for a command of `size` bytes. One larger than the lane's whole budget takes all of it.
    ///
    /// # Errors
    /// [`NotAdmitted`]: stopping, or too full for too long.
    pub async fn admit(&self, size: usize, stop: &CancellationToken) -> Result<Turn, NotAdmitted> {
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(self.bytes_total);
        let turn = async {
            let call = Arc::clone(&self.calls).acquire_owned().await.ok()?;
            let bytes = Arc::clone(&self.bytes).acquire_many_owned(size).await.ok()?;
            Some(Turn { call: CallSlot { _permit: call }, room: Room { _permit: bytes } })
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(NotAdmitted::Stopping),
            turn = turn => turn.ok_or(NotAdmitted::Stopping),
            () = tokio::time::sleep(LONGEST_WAIT) => Err(NotAdmitted::Busy),
        }
    }
}

/// A mask for the secrets of a provider and for its tokens.
fn mask(provider: &Provider, grants: bool, tokens: impl IntoIterator<Item = SecretString>) -> Mask {
    let secrets: Vec<SecretString> = provider.secrets.iter().cloned().chain(tokens).collect();
    let more = if grants { &TOKEN_FIELDS[..] } else { &[] };
    let fields: Vec<String> =
        provider.log.mask.iter().cloned().chain(more.iter().map(|&name| name.to_owned())).collect();
    Mask::new(&secrets, &fields)
}
