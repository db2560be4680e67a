use clap::Parser;

use super::*;

#[derive(Parser)]
struct PublishLine {
    #[command(flatten)]
    publish: PublishArguments,
}

fn command(arguments: &[&str]) -> Value {
    PublishLine::try_parse_from(["publish"].iter().chain(arguments)).unwrap().publish.command()
}

#[test]
fn only_what_was_given_is_in_the_command() {
    let least = ["--type", "payment", "--operation", "charge"];
    assert_eq!(command(&least), json!({ "type": "payment", "operation": "charge" }));
    let more = [
        "--id",
        "a",
        "--account",
        "eu",
        "--metadata",
        "a=1",
        "--metadata",
        "b=x=y",
        "--payload",
        "{\"n\":1}",
    ];
    let full = command(&[&least[..], &more, &["--not-before", "2027-01-01T00:00:00Z"]].concat());
    assert_eq!(
        full,
        json!({
            "id": "a", "type": "payment", "operation": "charge", "account": "eu",
            "not_before": "2027-01-01T00:00:00Z", "payload": { "n": 1 }, "metadata": { "a": "1", "b": "x=y" },
        })
    );
}

#[test]
fn arguments_that_make_no_command_are_usage_errors() {
    let least = ["--type", "payment", "--operation", "charge"];
    for wrong in [
        &["--type", "payment"][..],
        &["--file", "-", "--type", "payment"],
        &[&least[..], &["--payload", "[]"]].concat(),
        &[&least[..], &["--payload", "@/no/such/file"]].concat(),
        &[&least[..], &["--metadata", "a"]].concat(),
        &[&least[..], &["--expires-at", "soon"]].concat(),
        &[&least[..], &["--timeout", "5s"]].concat(),
        &["--type", "Payment", "--operation", "charge"],
    ] {
        assert!(PublishLine::try_parse_from(["publish"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_time_is_given_as_such_or_from_now() {
    assert_eq!(time("2027-01-01T01:00:00+01:00"), Ok("2027-01-01T00:00:00Z".parse().unwrap()));
    let from_now = time("90s").unwrap().duration_since(Timestamp::now()).as_secs();
    assert!((80..=90).contains(&from_now), "{from_now}");
}
