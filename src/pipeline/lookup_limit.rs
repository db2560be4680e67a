//! Limits how often unproven webhooks cause lookups of one command.

use std::num::NonZeroU32;
use std::time::Duration;

use tracing::info;

use crate::keyed_limiter::KeyedLimiter;
use crate::telemetry::log_throttle::LogThrottle;
use ferryd_domain::command_id::CommandId;

/// The most lookups of a command at once: a provider may report the same in several ways.
const BURST: NonZeroU32 = NonZeroU32::new(3).unwrap();
/// The time after which a command may have one more lookup.
const INTERVAL: Duration = Duration::from_mins(1);

/// Limits the lookups of each command to three at once, and then one a minute. A command that is
/// refused a lookup now is looked up or polled at its planned time.
pub struct LookupLimit {
    limiter: KeyedLimiter<CommandId>,
    refusals: LogThrottle<()>,
}

impl Default for LookupLimit {
    fn default() -> Self {
        Self { limiter: KeyedLimiter::new(BURST, INTERVAL), refusals: LogThrottle::new(INTERVAL) }
    }
}

impl LookupLimit {
    /// Takes one lookup from a command's allowance. Returns false where none is left.
    #[must_use]
    pub fn take(&self, command: &CommandId) -> bool {
        let is_taken = self.limiter.take(command);
        if !is_taken {
            let command = command.clone();
            self.refusals.log((), move |count| {
                let message = "unverified webhooks request lookups too often; each command is looked up at its planned time";
                info!(command.id = command.as_str(), count, "{message}");
            });
        }
        is_taken
    }
}
