//! Tests of operations whose lookup is their poll.

use serde_json::json;

use super::tests::{WITH_LIST_LOOKUP, looked_up, request, word};
use super::*;
use crate::fixture::{acting, lines, parse};
use ferryd_domain::query::QueryPurpose;

/// A file whose lookup is its poll.
fn shared() -> String {
    let start = WITH_LIST_LOOKUP.find("    [operations.act.lookup]").unwrap();
    WITH_LIST_LOOKUP[..start].replace("    body = ", "    lookup = \"poll\"\n    body = ")
}

#[test]
fn the_request_of_a_poll_serves_for_the_lookup_too_and_is_read_as_the_poll_reads_it() {
    let provider = acting(&shared());
    let [poll, lookup] = [QueryPurpose::Poll, QueryPurpose::Lookup]
        .map(|purpose| request(&provider, purpose, Some("a1")).unwrap());
    assert_eq!(poll, lookup);
    let policy = provider.operations[&"act".parse().unwrap()].lookup.unwrap();
    let expected = LookupPolicy {
        after: Duration::from_secs(30),
        proves_absence: false,
        needs_reference: true,
    };
    assert_eq!(policy, expected, "as long as a call may take");
    let table = [
        (200, json!({"id": "a1", "status": "done"}), "found completed"),
        (200, json!({"id": "a1", "status": "later"}), "found waiting"),
        (200, json!({"id": "a1", "status": "strange"}), "found waiting"),
        (200, json!({"id": "a1", "status": "broken"}), "found declined"),
        (200, json!({"id": "a1", "status": "refused"}), "found declined"),
        (404, json!({"err": "none"}), "unclear"),
        (500, json!({"id": "a1", "status": "done"}), "unclear"),
    ];
    for (status, body, expected) in table {
        assert_eq!(word(&looked_up(&provider, status, &body)), expected, "{status} {body}");
    }
}

#[test]
fn a_lookup_that_is_the_poll_needs_one_and_no_other_word_stands_for_a_request() {
    let head = "name = \"x\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n";
    let refused = |text: &str| lines(&parse(&format!("{head}{text}")).err().unwrap());
    let start = shared();
    let without = &start[..start.find("    [operations.act.poll]").unwrap()];
    for (text, expected) in [
        (
            without,
            "operations.act.lookup: there is no poll; write a table `poll`, or a table `lookup`",
        ),
        (
            &start.replace("lookup = \"poll\"", "lookup = \"pole\""),
            "operations.act.lookup: is text; write `poll` or a table",
        ),
        (
            &start.replace("lookup = \"poll\"", "lookup = 5"),
            "operations.act.lookup: is a number; write `poll` or a table",
        ),
    ] {
        let found = refused(text);
        assert!(found.contains(expected), "{found}");
    }
}
