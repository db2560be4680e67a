//! Handles the signals that end a long-running subcommand: the first asks for an orderly end, the
//! second ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code that a shell reports for a process ended by Ctrl-C.
pub(super) const INTERRUPTED: i32 = 130;

/// The number of SIGHUP (POSIX).
const HANGUP: u32 = 1;

/// The signals that ask the process to end: SIGTERM, SIGINT and SIGHUP.
///
/// SIGHUP asks for an orderly end only, never for one at once: a user who expects a reload sends it
/// more than once. Where the parent process has SIGHUP ignored, as `nohup` does, it stays ignored.
pub(super) struct StopSignals {
    term: Signal,
    int: Signal,
    hup: Option<Signal>,
}

impl StopSignals {
    /// Starts listening. Needs a runtime.
    pub(super) fn listen() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hup =
            if is_ignored(&status, HANGUP) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup,
        })
    }

    /// Waits for a signal that asks for an end, in good order if there was none before. Returns its
    /// name.
    pub(super) async fn wait_for_first(&mut self) -> &'static str {
        let Self { term, int, hup } = self;
        let hung_up = async {
            match hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            _ = hung_up => "SIGHUP",
        }
    }

    /// Waits for a signal that asks for an end at once. Returns its name.
    pub(super) async fn wait_for_second(&mut self) -> &'static str {
        loop {
            let name = self.wait_for_first().await;
            if name != "SIGHUP" {
                return name;
            }
        }
    }
}

/// Reads from `/proc/self/status` whether the process began with this signal ignored: a mask in
/// hexadecimal, signal 1 its lowest bit (proc(5)). Returns false where the system does not say.
fn is_ignored(status: &str, signal: u32) -> bool {
    let mask = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Returns a token that the first signal cancels. Needs a runtime.
pub(super) fn token() -> io::Result<CancellationToken> {
    let mut signals = StopSignals::listen()?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        signals.wait_for_first().await;
        cancelled.cancel();
        signals.wait_for_second().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_nohup_has_ignored_is_distinguished_from_one_that_counts() {
        for (status, ignored) in [
            (
                "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n",
                true,
            ),
            (
                "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n",
                false,
            ),
            ("SigIgn:\tnothing\n", false),
            ("", false),
        ] {
            assert_eq!(is_ignored(status, HANGUP), ignored, "{status}");
        }
    }
}
