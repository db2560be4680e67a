//! Ctrl-C and SIGTERM for commands that run for a while: the first ends the work in good order, the second at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell says of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Cancelled by the first signal. To be called within a runtime.
pub(super) fn token() -> io::Result<CancellationToken> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
        cancelled.cancel();
        tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}
