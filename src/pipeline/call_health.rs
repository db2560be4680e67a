//! Logs once that a provider fails again and again, and once that it has recovered, in the place of
//! a line for every call.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use ferryd_domain::name::Name;
use ferryd_domain::outcome::Outcome;

/// The number of calls in a row that have to fail before a line is logged.
const LEAST_FAILURES: u64 = 5;

/// The time after which a provider that still fails is logged again.
const REMINDER: Duration = Duration::from_mins(10);

/// Tracks the outcomes of the calls of one account of a provider.
#[derive(Debug, Default)]
pub struct CallHealth(Mutex<FailureStreak>);

/// The calls in a row that failed.
#[derive(Debug, Default)]
struct FailureStreak {
    count: u64,
    began: Option<Instant>,
    warned: Option<Instant>,
}

impl CallHealth {
    /// Notes the outcome of a call. Any answer that decides something counts as a success of the
    /// provider.
    pub fn record_call_end(&self, provider: &Name, account: &Name, outcome: &Outcome) {
        let (provider, account) = (provider.as_str(), account.as_str());
        let mut streak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Outcome::Transient(failure, _) | Outcome::Unknown(failure) | Outcome::Lookup(failure)) =
            outcome
        else {
            let FailureStreak { count, began, warned } = std::mem::take(&mut *streak);
            if let Some(began) = began.filter(|_| warned.is_some()) {
                let lasted_s = began.elapsed().as_secs();
                info!(provider, account, failures = count, lasted_s, "provider answers again");
            }
            return;
        };
        let now = Instant::now();
        streak.count += 1;
        let since_s = (now - *streak.began.get_or_insert(now)).as_secs();
        if streak.count >= LEAST_FAILURES
            && streak.warned.is_none_or(|warned| now - warned >= REMINDER)
        {
            streak.warned = Some(now);
            let (failures, code, reason) =
                (streak.count, failure.code.as_deref(), failure.message.as_str());
            warn!(provider, account, failures, since_s, code, reason, "provider fails repeatedly");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::captured_text::CapturedText;
    use ferryd_domain::outcome::{Failure, Success};

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_fails_again_and_again_is_one_warning_and_one_line_when_it_is_well() {
        let text = CapturedText::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer({
                let text = text.clone();
                move || text.clone()
            })
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let (health, provider, account) =
            (CallHealth::default(), "stripe".parse().unwrap(), Name::default_account());
        let note = |outcome: Outcome| health.record_call_end(&provider, &account, &outcome);
        let fail =
            || note(Outcome::Unknown(Failure::new("timeout", "no complete answer within 30s")));
        let succeed = || note(Outcome::Completed(Success::default()));
        (0..4).for_each(|_| fail());
        succeed();
        (0..200).for_each(|_| fail());
        advance(REMINDER).await;
        fail();
        succeed();
        succeed();
        drop(guard);
        let lines: Vec<_> = text.text().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].contains("failures=5") && lines[0].contains("provider fails repeatedly"),
            "{lines:?}"
        );
        assert!(lines[1].contains("failures=201") && lines[1].contains("since_s=600"), "{lines:?}");
        assert!(
            lines[2].contains("failures=201") && lines[2].contains("provider answers again"),
            "{lines:?}"
        );
    }
}
