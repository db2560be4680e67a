//! Tests which delivery gets a turn, and how long each waits for one.

use tokio::time::Instant;

use super::*;
use crate::config::{Config, EnvironmentVariables};

const FILE: &str = r#"
name = "bank"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
max_in_flight = 2
operations = { pay = { request = { method = "POST", path = "/" }, idempotency = { header = "key", retention = "1h" } } }
"#;

/// Builds the lanes of a provider with these accounts, or with none but the file itself.
fn lanes(accounts: &[&str]) -> ProviderLanes {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("accounts")).unwrap();
    for name in accounts {
        std::fs::write(folder.path().join(format!("accounts/{name}.toml")), "").unwrap();
    }
    let defaults =
        Config::from_parts(None, &EnvironmentVariables::new()).unwrap().provider_defaults();
    let file = folder.path().join("bank.toml").display().to_string();
    let several = if accounts.is_empty() { "" } else { "accounts_dir = \"accounts\"" };
    let provider = Provider::parse(&format!("{several}{FILE}"), &file, &defaults);
    ProviderLanes::new(&Arc::new(provider.unwrap_or_else(|errors| panic!("{errors:?}")))).unwrap()
}

fn lane<'l>(lanes: &'l ProviderLanes, account: &str) -> &'l Lane {
    lanes.of(&account.parse().unwrap()).unwrap()
}

/// Measures how long a turn was waited for. Returns that time and the result.
async fn waited(
    lane: &Lane,
    stop: &CancellationToken,
) -> (Duration, Result<LanePermit, NotAdmitted>) {
    let begun = Instant::now();
    let admitted = lane.wait_for_permit(10, stop).await;
    // The timer counts in whole milliseconds, rounded up.
    (Duration::from_secs(begun.elapsed().as_secs()), admitted)
}

#[test]
fn as_many_deliveries_are_held_as_all_accounts_can_use() {
    for (accounts, prefetch) in [(vec![], 4), (vec!["default"], 4), (vec!["de", "us", "uk"], 12)] {
        assert_eq!(lanes(&accounts).prefetch, prefetch, "{accounts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_account_of_a_provider_waits_a_minute_for_a_turn() {
    let (lanes, stop) = (lanes(&[]), CancellationToken::new());
    let lane = lane(&lanes, "default");
    let _turns = [
        lane.wait_for_permit(10, &stop).await.unwrap(),
        lane.wait_for_permit(10, &stop).await.unwrap(),
    ];
    for _ in 0..2 {
        let (time, none) = waited(lane, &stop).await;
        assert_eq!((time, none.err()), (Duration::from_mins(1), Some(NotAdmitted::Busy)));
    }
}

#[tokio::test(start_paused = true)]
async fn beside_others_an_account_waits_a_moment_and_once_it_is_jammed_not_at_all() {
    let (lanes, stop) = (lanes(&["de", "us"]), CancellationToken::new());
    let [de, us] = ["de", "us"].map(|name| lane(&lanes, name));
    let first = de.wait_for_permit(10, &stop).await.unwrap();
    let _second = de.wait_for_permit(10, &stop).await.unwrap();
    for seconds in [2, 0, 0] {
        let (time, none) = waited(de, &stop).await;
        assert_eq!((time, none.err()), (Duration::from_secs(seconds), Some(NotAdmitted::Busy)));
    }
    assert!(us.wait_for_permit(10, &stop).await.is_ok(), "the other account is not concerned");
    drop(first);
    let third = de.wait_for_permit(10, &stop).await;
    assert!(third.is_ok(), "what is free is taken");
    let (time, none) = waited(de, &stop).await;
    assert_eq!(
        (time, none.err()),
        (Duration::from_secs(2), Some(NotAdmitted::Busy)),
        "it moves again"
    );
    stop.cancel();
    assert_eq!(de.wait_for_permit(10, &stop).await.err(), Some(NotAdmitted::Stopping));
}

#[test]
fn what_the_broker_pushes_fits_into_memory_even_where_every_command_is_the_largest() {
    // With the default limits everything is pushed; the rest of a larger window is fetched.
    for (limits, pushed) in [
        ("max_in_flight = 64", 128),
        ("max_in_flight = 256", 320),
        ("max_in_flight = 1000", 320),
        ("max_in_flight = 1000\nmax_bytes_in_flight = '1MiB'", 5),
        ("max_in_flight = 1000\nmax_bytes_in_flight = '1GiB'", 1064),
    ] {
        let defaults =
            Config::from_parts(None, &EnvironmentVariables::new()).unwrap().provider_defaults();
        let provider =
            Provider::parse(&FILE.replace("max_in_flight = 2", limits), "bank.toml", &defaults);
        let lanes =
            ProviderLanes::new(&Arc::new(provider.unwrap_or_else(|errors| panic!("{errors:?}"))))
                .unwrap();
        assert_eq!(lanes.window().pushed, pushed, "{limits}");
    }
}
