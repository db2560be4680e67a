use clap::Parser;

use super::*;
use crate::cli::fixture::printed;
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    commands: CommandListArguments,
}

fn read(arguments: &[&str]) -> Result<CommandListArguments, clap::Error> {
    CommandLine::try_parse_from(["commands"].iter().chain(arguments)).map(|line| line.commands)
}

fn row(id: &str) -> CommandRow {
    let name = |text: &str| Some(text.parse().unwrap());
    CommandRow {
        id: id.parse().unwrap(),
        r#type: name("payment"),
        provider: name("stripe"),
        account: name("default"),
        operation: name("charge"),
        publisher: None,
        reference: Some("order-1".to_owned()),
        state: LifecycleState::Failed,
        kind: Some(FailureKind::Unavailable),
        code: Some("timeout".to_owned()),
        message: Some("no answer\n".repeat(20)),
        http_status: Some(503),
        generation: 1,
        attempt: 8,
        provider_reference: None,
        dead: true,
        contradicted: false,
        created_at: None,
        updated_at: "2026-11-25T12:00:00Z".parse().ok(),
        ended_at: None,
    }
}

#[test]
fn every_filter_is_passed_on() {
    let commands = read(&[
        "--provider",
        "stripe",
        "--account",
        "eu",
        "--type",
        "payment",
        "--operation",
        "charge",
        "--state",
        "failed",
        "--kind",
        "declined",
        "--code",
        "card/x",
        "--reference",
        "order 1",
        "--older-than",
        "2026-01-31T12:00:00Z",
        "--newer-than",
        "2026-01-30T12:00:00Z",
        "--limit",
        "7",
    ]);
    let commands = commands.unwrap();
    assert_eq!(commands.limit, 7);
    let name = |text: &str| Some(text.parse().unwrap());
    let expected = CommandFilter {
        r#type: name("payment"),
        provider: name("stripe"),
        account: name("eu"),
        operation: name("charge"),
        reference: Some("order 1".to_owned()),
        state: Some(LifecycleState::Failed),
        kind: Some(FailureKind::Declined.into()),
        code: Some("card/x".to_owned()),
        older_than: "2026-01-31T12:00:00Z".parse().ok(),
        newer_than: "2026-01-30T12:00:00Z".parse().ok(),
        ..CommandFilter::default()
    };
    assert_eq!((commands.filter, commands.cancel_requested), (expected, false));
    assert!(read(&["--cancel-requested"]).unwrap().cancel_requested);
    for wrong in [
        ["--state", "done"],
        ["--kind", "sad"],
        ["--older-than", "yesterday"],
        ["--limit", "0"],
        ["--cursor", "x"],
    ] {
        assert!(read(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_list_is_aligned_and_says_how_it_goes_on() {
    let requested = CommandRow {
        id: "requested".parse().unwrap(),
        provider: None,
        operation: None,
        reference: None,
        state: LifecycleState::Pending,
        kind: None,
        code: None,
        message: None,
        generation: 0,
        attempt: 1,
        dead: false,
        ..row("x")
    };
    let next = "1a.0badcafe.requested".parse().ok();
    let page = CommandPage { commands: vec![row("shop.order-1001.charge"), requested], next };
    let now = "2026-11-25T15:00:00Z".parse().unwrap();
    insta::assert_snapshot!(printed(|out| print(&page, now, out).unwrap()));
    let none = CommandPage { commands: Vec::new(), next: None };
    assert_eq!(printed(|out| print(&none, now, out).unwrap()), "no commands\n");
}
