//! Rate of a job, and its ramp.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::stop::JobHalt;
use ferryd_domain::job::{JobRate, JobSpec, ramped_rate};

/// The time that is made up for after a wait: a slow moment does not lower the rate, and a long one
/// is no reason to hurry.
const LEEWAY: Duration = Duration::from_millis(100);

/// Spaces dead letters out, at the rate of their job.
pub(super) struct JobPace {
    rate: Option<JobRate>,
    ramp: bool,
    began: Instant,
    next: Instant,
}

impl JobPace {
    /// Begins now; a ramp begins anew.
    pub fn new(spec: &JobSpec) -> Self {
        let now = Instant::now();
        Self { rate: spec.rate, ramp: spec.ramp, began: now, next: now }
    }

    /// Waits until the rate allows one more; false once the job is to stop.
    pub async fn wait_for_turn(&mut self, halt: &JobHalt) -> bool {
        if let Some(rate) = ramped_rate(self.rate, self.ramp, self.began.elapsed()) {
            let earliest = Instant::now().checked_sub(LEEWAY).unwrap_or(self.began);
            let turn = self.next.max(earliest);
            self.next = turn + rate.interval();
            tokio::select! {
                biased;
                () = halt.wait_for_halt() => {}
                () = sleep_until(turn) => {}
            }
        }
        !halt.is_set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::stop::HaltReason;

    fn pace(rate: f64) -> JobPace {
        let now = Instant::now();
        JobPace { rate: rate.try_into().ok(), ramp: false, began: now, next: now }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_on_average_and_what_was_missed_is_not_made_up_for() {
        let (mut pace, halt, began) = (pace(100.0), JobHalt::default(), Instant::now());
        for _ in 0..=200 {
            assert!(pace.wait_for_turn(&halt).await);
        }
        assert_eq!(began.elapsed().as_secs(), 2);
        tokio::time::advance(Duration::from_mins(1)).await;
        let began = Instant::now();
        for _ in 0..=200 {
            pace.wait_for_turn(&halt).await;
        }
        assert!(began.elapsed() > Duration::from_millis(1_850), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_job_stops_at_once() {
        let (mut pace, halt) = (pace(0.001), JobHalt::default());
        assert!(pace.wait_for_turn(&halt).await);
        let began = Instant::now();
        let stop = async { halt.set(HaltReason::Lost) };
        let (goes_on, ()) = tokio::join!(pace.wait_for_turn(&halt), stop);
        assert!(!goes_on && began.elapsed() < Duration::from_secs(1));
    }
}
