//! The end of a session with the broker; each of its connections can cause it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Connection;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::failure::{CloseCause, PublishFailure, is_of_a_channel};
use super::link_clock::LinkClock;

/// The time between two ticks of a link's clock.
const TICK: Duration = Duration::from_millis(500);

/// The end of a session, and its cause.
#[derive(Default)]
pub(super) struct SessionEnd {
    over: CancellationToken,
    cause: OnceLock<CloseCause>,
}

impl SessionEnd {
    /// Ends the session. The first cause is kept; later ones follow from it.
    pub(super) fn end(&self, cause: CloseCause) {
        let _ = self.cause.set(cause);
        self.over.cancel();
    }

    /// Ends the session without a cause of its own.
    pub(super) fn end_without_cause(&self) {
        self.over.cancel();
    }

    /// Resolves when the session is over.
    pub(super) async fn ended(&self) {
        self.over.cancelled().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Returns the failure of the messages that were under way on the session, once it is over.
    pub(super) fn publish_failure(&self) -> PublishFailure {
        let cause =
            self.cause.get().cloned().unwrap_or_else(|| CloseCause::found("the session ended"));
        PublishFailure::SessionLost { cause }
    }
}

/// Follows a connection's events until its session is over. The `clock` of a connection that
/// publishes ticks until then.
pub(super) fn follow_events(
    connection: &Connection,
    clock: Option<watch::Sender<LinkClock>>,
    end: Arc<SessionEnd>,
) {
    let mut events = connection.events_listener();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = end.over.cancelled() => return,
                _ = ticks.tick(), if clock.is_some() => {
                    change(clock.as_ref(), LinkClock::tick);
                    continue;
                }
            };
            match event {
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    warn!(reason, "the broker blocks publishers; waiting");
                    change(clock.as_ref(), |clock| clock.block(true));
                }
                Some(lapin::Event::ConnectionUnblocked) => {
                    info!("the broker takes messages again");
                    change(clock.as_ref(), |clock| clock.block(false));
                }
                // The user of the channel finds out by itself.
                Some(lapin::Event::Error(error)) if is_of_a_channel(&error) => {
                    debug!(%error, "the broker closed a channel");
                }
                Some(lapin::Event::Error(error)) => {
                    warn!(%error, "a connection to the broker failed");
                    return end.end(CloseCause::from(&error));
                }
                Some(_) => {}
                None => return end.over.cancel(),
            }
        }
    });
}

fn change(clock: Option<&watch::Sender<LinkClock>>, change: impl FnOnce(&mut LinkClock)) {
    if let Some(clock) = clock {
        clock.send_modify(change);
    }
}
