//! The progress of a long-running subcommand: a line on the standard error that is kept up to date,
//! at a terminal only.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::output::TerminalOutput;

/// The time after which the line is written anew.
const REFRESH: Duration = Duration::from_millis(100);
/// The time for which a subcommand has to run before its rate is meaningful.
const SETTLED: Duration = Duration::from_secs(1);

/// Counts the finished items, and shows the count.
pub(super) struct ProgressCounter {
    what: &'static str,
    total: Option<u64>,
    is_terminal: bool,
    began: Instant,
    shown: Option<Instant>,
}

impl ProgressCounter {
    /// Starts a count of items with this description, and with a total where that is known.
    #[expect(clippy::disallowed_methods, reason = "nothing is printed")]
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        Self {
            what,
            total,
            is_terminal: std::io::stderr().is_terminal(),
            began: Instant::now(),
            shown: None,
        }
    }

    /// Reports the number of finished items.
    pub(super) fn show_progress(&mut self, done: u64) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < REFRESH) {
            return;
        }
        self.shown = Some(Instant::now());
        // A failure to show the progress does not matter.
        let _ = TerminalOutput::stderr().status(&line(
            self.what,
            done,
            self.total,
            self.began.elapsed(),
        ));
    }

    /// Reports the number of finished items, and a total that becomes known as the work goes on.
    pub(super) fn show_progress_of(&mut self, done: u64, total: Option<u64>) {
        self.total = total;
        self.show_progress(done);
    }
}

impl Drop for ProgressCounter {
    /// Removes the line from the terminal.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = TerminalOutput::stderr().clear_status();
        }
    }
}

/// Formats the count, the total, the rate, and the time that the rest takes at that rate.
fn line(what: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    // More items may have come since the total was queried.
    let total = total.filter(|total| *total >= done && *total > 0);
    let mut line = match total {
        Some(total) => {
            format!("{what}: {done} of {total} ({} %)", u128::from(done) * 100 / u128::from(total))
        }
        None => format!("{what}: {done}"),
    };
    let milliseconds = elapsed.as_millis();
    if elapsed < SETTLED || done == 0 {
        return line;
    }
    // Writing to a string does not fail.
    let _ = match u128::from(done) * 1_000 / milliseconds {
        0 => write!(line, ", {}/min", u128::from(done) * 60_000 / milliseconds),
        rate => write!(line, ", {rate}/s"),
    };
    if let Some(total) = total {
        let left = u128::from(total - done) * milliseconds / u128::from(done) / 1_000;
        let _ = write!(line, ", {} left", rough_duration(left));
    }
    line
}

/// Formats a time approximately.
fn rough_duration(seconds: u128) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_with_its_total_rate_and_time_left() {
        let ms = Duration::from_millis;
        for (done, total, elapsed, expected) in [
            (0, Some(300_000), ms(0), "published: 0 of 300000 (0 %)"),
            (500, Some(300_000), ms(100), "published: 500 of 300000 (0 %)"),
            (
                10_000,
                Some(300_000),
                ms(2_000),
                "published: 10000 of 300000 (3 %), 5000/s, 58 s left",
            ),
            (
                300_000,
                Some(300_000),
                ms(60_000),
                "published: 300000 of 300000 (100 %), 5000/s, 0 s left",
            ),
            (20, Some(1_000), ms(400_000), "published: 20 of 1000 (2 %), 3/min, 5 h 26 min left"),
            (100, Some(1_000), ms(10_000), "published: 100 of 1000 (10 %), 10/s, 1 min 30 s left"),
            (100, None, ms(10_000), "published: 100, 10/s"),
            (100, Some(90), ms(10_000), "published: 100, 10/s"),
            (0, Some(0), ms(10_000), "published: 0"),
        ] {
            assert_eq!(line("published", done, total, elapsed), expected);
        }
    }
}
