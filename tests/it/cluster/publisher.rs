//! A core application that publishes commands at an even pace, with confirm, to whichever node of a
//! cluster accepts them.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::harness::broker::persistent;
use crate::load::{notify, pay};

/// The longest time to connect, or from a publish to its confirm. An unconfirmed command is
/// published again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The duration of a call at the provider.
const LATENCY: &str = "20ms";

/// A command that the broker has confirmed.
pub(super) struct ConfirmedCommand {
    pub(super) id: String,
    /// True where the operation has an idempotency key.
    pub(super) has_key: bool,
    /// The time until the confirm.
    pub(super) within: Duration,
}

/// Publishes a command every `pace` until stopped, beginning at one of the nodes. Returns all
/// commands: each was confirmed in the end.
pub(super) async fn publish_steadily(
    name: String,
    uris: Vec<String>,
    pace: Duration,
    stop: CancellationToken,
) -> Vec<ConfirmedCommand> {
    let (mut confirmed, mut link) = (Vec::new(), None);
    let mut turns = uris.iter().cycle();
    let mut ticks = interval(pace);
    // Commands that are late are not made up for in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        ticks.tick().await;
        let (id, has_key) = (format!("{name}-{}", confirmed.len()), confirmed.len() % 2 == 0);
        let sandbox = json!({"latency": LATENCY});
        let command = if has_key { pay(&id, sandbox) } else { notify(&id, sandbox) };
        let began = Instant::now();
        while !matches!(
            timeout(PATIENCE, publish(&mut link, &mut turns, &command)).await,
            Ok(Some(()))
        ) {
            link = None;
        }
        confirmed.push(ConfirmedCommand { id, has_key, within: began.elapsed() });
    }
    confirmed
}

/// Publishes a command on the link, or on a new one to the next node; `None` where that failed.
async fn publish<'a>(
    link: &mut Option<(Connection, Channel)>,
    turns: &mut impl Iterator<Item = &'a String>,
    command: &Value,
) -> Option<()> {
    if link.is_none() {
        let connection =
            Connection::connect(turns.next()?, ConnectionProperties::default()).await.ok()?;
        let channel = connection.create_channel().await.ok()?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
        *link = Some((connection, channel));
    }
    let (_, channel) = link.as_ref()?;
    let (key, body) =
        (format!("payment.acme.{}", command["operation"].as_str()?), command.to_string());
    let options = BasicPublishOptions::default();
    let sending = channel.basic_publish(
        "ferry.commands".into(),
        key.into(),
        options,
        body.as_bytes(),
        persistent(),
    );
    sending.await.ok()?.await.ok()?.is_ack().then_some(())
}
