//! Named places in the pipeline at which tests let the daemon die, and waits that tests shorten.
//!
//! Only builds with the feature `failpoints` have them. In all others [`pass_failpoint`] does
//! nothing, and [`shorten_wait`] shortens nothing.

use std::time::Duration;

/// A place that tests can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The command has been read.
    Decoded,
    /// The call is admitted and about to be rendered.
    Admitted,
    /// The start of the call is recorded.
    Begun,
    /// The request is rendered and about to be sent.
    Rendered,
    /// The answer has come.
    Answered,
    /// The answer is being interpreted.
    Interpreting,
    /// The decision is made; nothing is recorded.
    Decided,
    /// The decision is recorded; nothing is published.
    Concluded,
    /// The first of several messages is confirmed.
    PartlyPublished,
    /// Every message is confirmed; the delivery is not acked.
    Published,
    /// The delivery is acked.
    Acked,
    /// The answer of a provider's queue is kept; its message is not acked.
    Kept,
    /// A person's ruling on a dead letter is recorded; nothing is published.
    Stated,
}

impl Failpoint {
    /// Every failpoint on the way of a command.
    pub const ALL: [Self; 11] = [
        Self::Decoded,
        Self::Admitted,
        Self::Begun,
        Self::Rendered,
        Self::Answered,
        Self::Interpreting,
        Self::Decided,
        Self::Concluded,
        Self::PartlyPublished,
        Self::Published,
        Self::Acked,
    ];

    /// The name in `FERRYD_FAILPOINT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decoded => "decoded",
            Self::Admitted => "admitted",
            Self::Begun => "begun",
            Self::Rendered => "rendered",
            Self::Answered => "answered",
            Self::Interpreting => "interpreting",
            Self::Decided => "decided",
            Self::Concluded => "concluded",
            Self::PartlyPublished => "partly_published",
            Self::Published => "published",
            Self::Acked => "acked",
            Self::Kept => "kept",
            Self::Stated => "stated",
        }
    }
}

/// A wait that tests shorten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortenedWait {
    /// The wait between two prunings of commands that ended long ago (`FERRYD_FORGET_EVERY`).
    Forget,
    /// The time after which a job whose owner gives no sign of life is taken over
    /// (`FERRYD_JOB_SILENCE`).
    JobSilence,
    /// The wait before a job goes through the queues again (`FERRYD_JOB_ROUND_PAUSE`).
    JobRoundPause,
    /// While a job holds what it has passed, before it gives that back (`FERRYD_JOB_HOLD`).
    JobHold,
}

/// Returns a wait unchanged.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn shorten_wait(_: ShortenedWait, wait: Duration) -> Duration {
    wait
}

/// Returns a wait, or the number of whole seconds that its environment variable gives instead.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn shorten_wait(which: ShortenedWait, wait: Duration) -> Duration {
    let variable = match which {
        ShortenedWait::Forget => "FERRYD_FORGET_EVERY",
        ShortenedWait::JobSilence => "FERRYD_JOB_SILENCE",
        ShortenedWait::JobRoundPause => "FERRYD_JOB_ROUND_PAUSE",
        ShortenedWait::JobHold => "FERRYD_JOB_HOLD",
    };
    let seconds = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    seconds.map_or(wait, Duration::from_secs)
}

/// Does nothing: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn pass_failpoint(_: Failpoint) {}

/// Dies or panics at a failpoint if `FERRYD_FAILPOINT` names it, as `<name>=kill`, `<name>=panic`,
/// or `<name>=kill:<n>` for the n-th time.
#[cfg(feature = "failpoints")]
pub fn pass_failpoint(point: Failpoint) {
    armed::pass_failpoint(point);
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Failpoint;

    struct ArmedFailpoint {
        name: String,
        action: String,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Option<ArmedFailpoint>> = OnceLock::new();

    fn read() -> Option<ArmedFailpoint> {
        let text = std::env::var("FERRYD_FAILPOINT").ok()?;
        let (name, action) = text.split_once('=')?;
        let (action, times) = action.split_once(':').unwrap_or((action, "1"));
        let left = AtomicU64::new(times.parse().ok()?);
        Some(ArmedFailpoint { name: name.to_owned(), action: action.to_owned(), left })
    }

    #[expect(clippy::panic, reason = "a panic is what the test asks for")]
    pub(super) fn pass_failpoint(point: Failpoint) {
        let Some(armed) = ARMED.get_or_init(read) else { return };
        if armed.name != point.name() || armed.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        match armed.action.as_str() {
            "panic" => panic!("failpoint {}", armed.name),
            _ => kill_process(),
        }
    }

    /// Ends the process as `kill -9` does: nothing is flushed, closed or unwound.
    fn kill_process() {
        let pid = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        std::process::abort();
    }
}
