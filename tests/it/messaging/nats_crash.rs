//! Kills the daemon at every step of a command whose provider is reached by messages to a NATS
//! server, which drops repeats itself.

use std::os::unix::process::ExitStatusExt as _;

use ferryd::failpoint::Failpoint;
use futures_util::{StreamExt as _, stream};

use super::commands::{alert, ship};
use super::nats::NatsRig;
use crate::rig::{SOON, word};

/// The number of servers that run at the same time.
const SIDE_BY_SIDE: usize = 3;

/// The end of a command, and the number of messages that its provider has by then.
type CommandEnd = (&'static str, usize);

/// Kills a daemon at a failpoint, lets another carry on, and compares the end.
async fn die_at(point: Failpoint, is_repeatable: bool, expected: CommandEnd) {
    let nats = NatsRig::new().await;
    nats.rig.declare().await;
    let command = if is_repeatable { ship("c1") } else { alert("c1") };
    nats.rig.publish(&command).await;
    let killed = nats.rig.setup.start_armed(&format!("{}=kill", point.name()));
    assert_eq!(killed.wait(SOON).await.signal(), Some(9), "{point:?}: {}", killed.log_text());
    let successor = nats.rig.start().await;
    let event = nats.rig.terminal("c1").await;
    let end = match word(&event, "data.error.kind") {
        "" => word(&event, "data.state"),
        kind => kind,
    };
    let ids = nats.ids().await;
    assert_eq!((end, ids.len()), expected, "{point:?}, repeatable: {is_repeatable}");
    assert!(ids.iter().all(|id| id == "c1"), "{point:?}: {ids:?}");
    if end == "unresolved" {
        nats.rig.dead_letters("warehouse", 1).await;
    }
    nats.rig.await_empty_ladder().await;
    nats.rig.finish(&successor).await;
}

/// A message that its stream recognises is published again where it is unknown whether it was, and
/// stored once; anything else is not, and a person decides.
#[tokio::test]
async fn a_daemon_that_dies_at_any_step_has_its_message_stored_once() {
    use Failpoint::{
        Acked, Admitted, Answered, Begun, Concluded, Decided, Decoded, Interpreting, Published,
        Rendered,
    };
    const ONCE: CommandEnd = ("completed", 1);
    let table: [(&[Failpoint], CommandEnd, CommandEnd); 4] = [
        (&[Decoded, Admitted], ONCE, ONCE),
        (&[Begun, Rendered], ONCE, ("unresolved", 0)),
        (&[Answered, Interpreting, Decided], ONCE, ("unresolved", 1)),
        (&[Concluded, Published, Acked], ONCE, ONCE),
    ];
    let deaths = table.into_iter().flat_map(|(points, repeatable, single)| {
        points.iter().flat_map(move |point| [(*point, true, repeatable), (*point, false, single)])
    });
    let deaths: Vec<()> = stream::iter(deaths)
        .map(|(point, is_repeatable, expected)| die_at(point, is_repeatable, expected))
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    // All but the one between several messages: a command that completes publishes one.
    assert_eq!(deaths.len(), 2 * (Failpoint::ALL.len() - 1));
}
