//! Publishing commands by hand.

use std::time::Duration;

use ferryd_domain::event::{Event, EventKind};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Failure, Success, WaitingFor};
use serde_json::json;

use super::operator_bench::{OperatorBench, event, letter};
use crate::harness::wait::eventually;

const QUEUE: &str = "ferry.commands.stripe";
const CHARGE: [&str; 9] = [
    "publish",
    "--type",
    "payment",
    "--provider",
    "stripe",
    "--operation",
    "charge",
    "--id",
    "order-1",
];

#[tokio::test]
async fn a_command_is_published_as_a_core_application_would() {
    let bench = OperatorBench::new().await;
    let more = [
        "--payload",
        "{\"amount\":1}",
        "--reference",
        "r",
        "--metadata",
        "tenant=eu",
        "--expires-at",
        "1h",
    ];
    let ended = bench.ferryd(&[&CHARGE[..], &more].concat()).await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "order-1  payment.stripe.charge\n"),
        "{ended:?}"
    );
    let delivery = bench.drain(QUEUE).await.swap_remove(0);
    assert_eq!(delivery.routing_key.as_str(), "payment.stripe.charge");
    let properties = &delivery.properties;
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "order-1");
    assert!(properties.timestamp().is_some());
    let body: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
    assert_eq!(body["payload"]["amount"], 1);
    assert_eq!(body["metadata"]["tenant"], "eu");
    assert!(
        body["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
            > jiff::Timestamp::now()
    );
}

#[tokio::test]
async fn a_file_is_published_whole_or_not_at_all() {
    let bench = OperatorBench::new().await;
    let command = |id: &str| {
        format!(
            r#"{{"id":"{id}","type":"payment","provider":"stripe","operation":"charge","payload":{{"n":1.10}}}}"#
        )
    };
    let wrong = format!("{}\n\n{}\n{{\"type\":\"payment\"}}\n", command("a"), command("b"));
    let ended = bench.ferryd_reading(&["publish", "--file", "-"], &wrong).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let wrong = "ferryd: nothing was published: standard input, line 4: missing field `operation`";
    assert!(ended.err.starts_with(wrong), "{ended:?}");
    assert_eq!(bench.broker.depth(QUEUE).await, Some(0));

    let ids: Vec<_> = (0..300).map(|number| format!("order-{number}")).collect();
    let lines: Vec<_> = ids.iter().map(|id| command(id)).collect();
    let ended =
        bench.ferryd_reading(&["publish", "--file", "-", "--json"], &lines.join("\n")).await;
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 300), "{}", ended.err);
    let published = bench.drain(QUEUE).await;
    let bodies = published.iter().map(|delivery| String::from_utf8(delivery.data.clone()).unwrap());
    assert!(bodies.eq(lines), "bodies are published byte for byte, in order");
}

#[tokio::test]
async fn without_a_topology_it_says_what_to_do() {
    let bench = OperatorBench::bare().await;
    for more in [&[][..], &["--wait"]] {
        let ended = bench.ferryd(&[&CHARGE[..], more].concat()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("run `ferryd topology apply`"), "{ended:?}");
        assert!(!ended.err.contains("ferry:ferry"), "no password: {ended:?}");
    }
}

#[tokio::test]
async fn an_unreachable_broker_has_a_code_of_its_own() {
    let bench = OperatorBench::bare().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri = bench.vhost.uri_at(free);
    let setup = crate::harness::daemon::DaemonFolder::new(&uri, "");
    let output = setup.command(&CHARGE).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

/// Publishes with `--wait` while a daemon stands in that answers with `end`.
async fn wait_for(end: Option<EventKind>) -> (super::operator_bench::CommandResult, Vec<Event>) {
    let bench = OperatorBench::new().await;
    let arguments =
        [&CHARGE[..], &["--wait", "--json", "--timeout", if end.is_some() { "30s" } else { "1s" }]]
            .concat();
    let daemon = async {
        let arrived = async || (bench.broker.depth(QUEUE).await == Some(1)).then_some(());
        eventually(Duration::from_secs(20), "the command is there", arrived).await;
        let Some(end) = end else { return Vec::new() };
        bench
            .publish_event(&event(&letter("order-2"), 0, EventKind::Completed(Success::default())))
            .await;
        let events = [EventKind::Processing, end].map(|kind| event(&letter("order-1"), 0, kind));
        for event in &events {
            bench.publish_event(event).await;
        }
        events.to_vec()
    };
    tokio::join!(bench.ferryd(&arguments), daemon)
}

#[tokio::test]
async fn waiting_shows_each_event_and_ends_with_the_commands_own_terminal_one() {
    let failed = EventKind::Failed(FailureKind::Declined, Failure::new("card_declined", "no"));
    for (end, code) in [(EventKind::Completed(Success::default()), 0), (failed, 1)] {
        let (ended, published) = wait_for(Some(end)).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let events: Vec<Event> =
            ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events, published, "those of the other command are not shown");
    }
}

#[tokio::test]
async fn waiting_shows_the_address_of_a_checkout_whole_as_soon_as_it_is_there() {
    let bench = OperatorBench::new().await;
    let address = format!("https://checkout.example.com/c/{}", "x".repeat(400));
    let arguments = [&CHARGE[..], &["--wait", "--timeout", "30s"]].concat();
    let daemon = async {
        let arrived = async || (bench.broker.depth(QUEUE).await == Some(1)).then_some(());
        eventually(Duration::from_secs(20), "the command is there", arrived).await;
        let result = Some(json!({ "url": address, "id": "cs_1" }));
        let waiting =
            EventKind::Waiting(Success { result, ..Success::default() }, WaitingFor::Customer);
        for kind in [waiting, EventKind::Completed(Success::default())] {
            bench.publish_event(&event(&letter("order-1"), 0, kind)).await;
        }
    };
    let (ended, ()) = tokio::join!(bench.ferryd(&arguments), daemon);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(lines[0].contains("  waiting ") && lines[2].contains("  completed "), "{lines:?}");
    assert_eq!(lines[1].trim(), format!("url: {address}"));
}

#[tokio::test]
async fn waiting_that_takes_too_long_says_how_to_go_on() {
    let (ended, _) = wait_for(None).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.err.contains("not ended within 1s: 1 (order-1)"), "{ended:?}");
}
