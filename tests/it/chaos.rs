//! Kills daemons at random moments, many times. Takes minutes: `make chaos` runs it.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::{CommandLoad, file};
use crate::rig::TestRig;

/// The number of times that a daemon is killed, unless `FERRYD_CHAOS_KILLS` gives another.
const KILLS: usize = 300;

/// The number of commands that can be in flight, and so become unresolved, when a daemon dies.
const IN_FLIGHT: usize = 8;

/// The longest life of a daemon.
const LIFE: Duration = Duration::from_secs(3);

#[tokio::test]
#[ignore = "takes minutes; `make chaos` runs it"]
async fn daemons_that_are_killed_at_random_moments_lose_nothing_and_nothing_is_acted_upon_twice() {
    let kills = std::env::var("FERRYD_CHAOS_KILLS").map_or(KILLS, |number| number.parse().unwrap());
    let rig = TestRig::with("", &file("max_in_flight = 8")).await;
    rig.declare().await;
    let (mut loads, mut unresolved) = (Vec::new(), 0);
    for kill in 1..=kills {
        let mut load = CommandLoad::new(&format!("load-{kill}"), 2, "50ms");
        load.publish(&rig.broker).await;
        assert_eq!(load.len(), 20);
        loads.push(load);
        let daemon = rig.setup.start();
        // The random moment is what this tests: anywhere from before the first connection to full
        // load.
        sleep(LIFE.mul_f64(rand::random())).await;
        daemon.kill9();
        assert!(!daemon.log_text().contains("panicked"), "{}", daemon.log_text());
    }
    let last = rig.setup.start();
    for load in &loads {
        unresolved += load.verify(&rig).await.len();
    }
    eprintln!("{kills} kills, {} commands, {unresolved} unresolved", kills * 20);
    assert!(unresolved <= kills * IN_FLIGHT);
    rig.finish(&last).await;
}
