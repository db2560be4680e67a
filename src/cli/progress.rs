//! How far a long command has come, on the standard error: a line that stays up to date on a terminal, else one line for
//! every thousand.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::output::Output;

const ON_TERMINAL: Duration = Duration::from_millis(100);
const EVERY: u64 = 1_000;

/// Counts what is done.
pub(super) struct Progress {
    what: &'static str,
    terminal: bool,
    elsewhere: bool,
    shown: Option<Instant>,
}

impl Progress {
    #[expect(clippy::disallowed_methods, reason = "nothing is printed")]
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal(), elsewhere: true, shown: None }
    }

    /// Tells it only to somebody at a terminal.
    pub(super) fn on_terminal(what: &'static str) -> Self {
        Self { elsewhere: false, ..Self::new(what) }
    }

    /// Tells that so many are done.
    pub(super) fn tell(&mut self, done: u64) {
        // Whoever does not want to see it does not have to.
        if self.terminal && self.shown.is_none_or(|shown| shown.elapsed() > ON_TERMINAL) {
            self.shown = Some(Instant::now());
            let _ = Output::stderr().status(&format!("{} {done}", self.what));
        } else if !self.terminal && self.elsewhere && done.is_multiple_of(EVERY) {
            let _ = Output::stderr().line(format!("{} {done}", self.what));
        }
    }
}

impl Drop for Progress {
    /// Takes the line off the terminal again.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = Output::stderr().clear_status();
        }
    }
}
