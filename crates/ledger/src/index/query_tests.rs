use std::collections::HashSet;

use tempfile::TempDir;

use super::fixture::{SampleCommand, changes, id, seconds};
use super::*;
use crate::command_filter::CommandFilter;
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};

fn index() -> (TempDir, LedgerIndex) {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    (dir, index)
}

fn name(text: &str) -> ferryd_domain::name::Name {
    text.parse().unwrap()
}

fn scope(text: &str) -> ferryd_domain::command_scope::CommandScope {
    serde_json::from_str(text).unwrap()
}

fn found(index: &LedgerIndex, filter: &CommandFilter) -> Vec<String> {
    let page = index.list(filter, None, MAX_PAGE).unwrap();
    assert_eq!(page.next, None);
    page.rows.iter().map(|row| row.id.to_string()).collect()
}

/// Saves five commands: `a` completed, `b` and `c` dead, `d` declined by another provider, `e`
/// known only by a request to cancel it.
fn some() -> (TempDir, LedgerIndex) {
    let (dir, index) = index();
    let [done, rejected, unreached, declined, requested] =
        [("a", 0), ("b", 10), ("c", 20), ("d", 30), ("e", 40)]
            .map(|(id, at)| SampleCommand::new(id, at));
    let declined = declined.provider("adyen");
    let states = [
        (&done, done.completed()),
        (&rejected, rejected.failed(FailureKind::Rejected, "no_card", 404)),
        (&unreached, unreached.failed(FailureKind::Unavailable, "timeout", 503)),
        (&declined, declined.failed(FailureKind::Declined, "no_card", 402)),
        (&requested, requested.cancel_requested()),
    ];
    index.save(&changes(states, 1), seconds(100)).unwrap();
    (dir, index)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of variants")]
fn everything_that_is_given_must_hold() {
    let (_dir, index) = some();
    let any = CommandFilter::default;
    let cases = [
        (any(), "edcba"),
        (CommandFilter { ids: vec![id("a"), id("d"), id("x"), id("a")], ..any() }, "da"),
        (
            CommandFilter {
                ids: vec![id("a"), id("d")],
                state: Some(LifecycleState::Failed),
                ..any()
            },
            "d",
        ),
        (
            CommandFilter {
                ids: vec![id("a"), id("d")],
                reference: Some("order-of-a".into()),
                ..any()
            },
            "a",
        ),
        (CommandFilter { r#type: Some(name("payment")), ..any() }, "dcba"),
        (CommandFilter { r#type: Some(name("shipping")), ..any() }, ""),
        (CommandFilter { provider: Some(name("stripe")), ..any() }, "cba"),
        (
            CommandFilter {
                provider: Some(name("stripe")),
                account: Some(name("default")),
                operation: Some(name("charge")),
                ..any()
            },
            "cba",
        ),
        (CommandFilter { account: Some(name("other")), ..any() }, ""),
        (CommandFilter { operation: Some(name("refund")), ..any() }, ""),
        (CommandFilter { state: Some(LifecycleState::Failed), ..any() }, "dcb"),
        (CommandFilter { state: Some(LifecycleState::Pending), ..any() }, "e"),
        (
            CommandFilter {
                state: Some(LifecycleState::Pending),
                cancel_requested: Some(false),
                ..any()
            },
            "",
        ),
        (CommandFilter { cancel_requested: Some(false), ..any() }, "dcba"),
        (
            CommandFilter { cancel_requested: Some(false), newer_than: Some(seconds(11)), ..any() },
            "dcb",
        ),
        (CommandFilter { cancel_requested: Some(true), ..any() }, "e"),
        (
            CommandFilter { cancel_requested: Some(true), older_than: Some(seconds(40)), ..any() },
            "",
        ),
        (
            CommandFilter { cancel_requested: Some(true), older_than: Some(seconds(41)), ..any() },
            "e",
        ),
        (CommandFilter { kind: Some(FailureKind::Rejected.into()), ..any() }, "b"),
        (CommandFilter { code: Some("no_card".into()), ..any() }, "db"),
        (CommandFilter { code: Some("no_card".into()), dead: true, ..any() }, "b"),
        (CommandFilter { http_status: Some(503), ..any() }, "c"),
        (CommandFilter { generation: Some(0), dead: true, ..any() }, "cb"),
        (CommandFilter { generation: Some(1), ..any() }, ""),
        (CommandFilter { reference: Some("order-of-c".into()), ..any() }, "c"),
        (
            CommandFilter {
                reference: Some("order-of-c".into()),
                provider: Some(name("adyen")),
                ..any()
            },
            "",
        ),
        (
            CommandFilter {
                reference: Some("order-of-c".into()),
                older_than: Some(seconds(21)),
                ..any()
            },
            "",
        ),
        // A command that ends does so a second after it came.
        (CommandFilter { older_than: Some(seconds(11)), ..any() }, "a"),
        (CommandFilter { newer_than: Some(seconds(11)), ..any() }, "edcb"),
        (
            CommandFilter { newer_than: Some(seconds(11)), older_than: Some(seconds(31)), ..any() },
            "cb",
        ),
        (CommandFilter { newer_than: Some(seconds(12)), dead: true, ..any() }, "c"),
        (CommandFilter { scope: scope(r#"{"types":["payment"]}"#), ..any() }, "dcba"),
        (CommandFilter { scope: scope(r#"{"providers":["adyen"]}"#), ..any() }, "d"),
        (
            CommandFilter {
                scope: scope(r#"{"providers":["stripe"],"accounts":["adyen/default"]}"#),
                ..any()
            },
            "",
        ),
        (
            CommandFilter {
                scope: scope(r#"{"accounts":["stripe/default"]}"#),
                dead: true,
                ..any()
            },
            "cb",
        ),
        (
            CommandFilter {
                scope: scope(r#"{"accounts":["stripe/default"]}"#),
                ids: vec![id("a"), id("d")],
                ..any()
            },
            "a",
        ),
        (
            CommandFilter {
                scope: scope(r#"{"providers":["adyen"]}"#),
                reference: Some("order-of-c".into()),
                ..any()
            },
            "",
        ),
        (
            CommandFilter {
                scope: scope(r#"{"providers":["adyen"]}"#),
                newer_than: Some(seconds(11)),
                ..any()
            },
            "d",
        ),
        (
            CommandFilter {
                scope: scope(r#"{"types":["payment"]}"#),
                cancel_requested: Some(true),
                ..any()
            },
            "",
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(&index, &filter).concat(), expected, "{filter:?}");
    }
}

#[test]
fn a_row_says_what_is_known() {
    let (_dir, index) = some();
    let filter = CommandFilter { ids: vec![id("c"), id("e")], ..CommandFilter::default() };
    let rows = index.list(&filter, None, 10).unwrap().rows;
    insta::assert_json_snapshot!(rows);
}

#[test]
fn dead_letters_are_grouped_by_how_they_failed() {
    let (_dir, index) = index();
    let fail = |n: i64, code| {
        let sample = SampleCommand::new(&format!("{code}-{n}"), n);
        let state = sample.failed(FailureKind::Rejected, code, 400);
        (sample, state)
    };
    let dead: Vec<_> = [(1, "few"), (2, "many"), (3, "few"), (4, "many"), (5, "many")]
        .map(|(n, code)| fail(n, code))
        .into();
    let declined = SampleCommand::new("declined", 0);
    let mut saved = changes(dead.iter().map(|(sample, state)| (sample, state.clone())), 1);
    saved.cases.extend(
        changes([(&declined, declined.failed(FailureKind::Declined, "many", 400))], 1).cases,
    );
    index.save(&saved, seconds(0)).unwrap();
    let groups = index.groups(&CommandFilter::default()).unwrap();
    let shown: Vec<_> = groups
        .iter()
        .map(|g| (g.code.as_deref().unwrap(), g.count, g.first, g.last, g.example.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("many", 3, seconds(3), seconds(6), "many-5"),
            ("few", 2, seconds(2), seconds(4), "few-3")
        ]
    );
    assert_eq!(groups[0].provider.as_deref(), Some("stripe"));
    assert_eq!(groups[0].kind.as_deref(), Some("rejected"));

    let older = CommandFilter {
        older_than: Some(seconds(5)),
        code: Some("many".to_owned()),
        ..CommandFilter::default()
    };
    assert_eq!(index.groups(&older).unwrap()[0].count, 1);
}

#[test]
fn codes_that_differ_at_their_end_are_groups_of_their_own_and_shown_whole() {
    let (_dir, index) = index();
    let codes = ["one", "two", "one"]
        .map(|end| format!("{} {end}", "the card was declined because ".repeat(20)));
    let samples: Vec<_> = (0..3).map(|n| SampleCommand::new(&format!("c-{n}"), n)).collect();
    let states = samples
        .iter()
        .zip(&codes)
        .map(|(sample, code)| (sample, sample.failed(FailureKind::Rejected, code, 400)));
    index.save(&changes(states, 1), seconds(0)).unwrap();
    let groups = index.groups(&CommandFilter::default()).unwrap();
    let shown: Vec<_> =
        groups.iter().map(|group| (group.code.clone().unwrap(), group.count)).collect();
    assert_eq!(shown, [(codes[0].clone(), 2), (codes[1].clone(), 1)]);
    let filter = CommandFilter { code: Some(codes[1].clone()), ..CommandFilter::default() };
    assert_eq!(found(&index, &filter), ["c-1"]);
    assert_eq!(index.dead_providers().unwrap(), [name("stripe")]);
}

#[test]
fn a_command_is_found_by_what_it_is_now_and_keeps_its_place() {
    let (_dir, index) = some();
    let [a, e] = [SampleCommand::new("a", 0), SampleCommand::new("e", 40)];
    index
        .save(
            &changes([(&a, a.failed(FailureKind::Poison, "p", 1)), (&e, e.opened())], 2),
            seconds(100),
        )
        .unwrap();
    assert_eq!(found(&index, &CommandFilter::default()).concat(), "edcba");
    assert_eq!(
        found(
            &index,
            &CommandFilter { state: Some(LifecycleState::Completed), ..CommandFilter::default() }
        )
        .concat(),
        ""
    );
    assert_eq!(
        found(
            &index,
            &CommandFilter { kind: Some(FailureKind::Poison.into()), ..CommandFilter::default() }
        )
        .concat(),
        "a"
    );
    assert_eq!(
        found(&index, &CommandFilter { dead: true, ..CommandFilter::default() }).concat(),
        "cba"
    );
    assert_eq!(index.counts().unwrap().dead, 3);
}

#[test]
fn a_cancellation_that_precedes_its_command_is_found_by_the_commands_names() {
    let (_dir, index) = index();
    let sample = SampleCommand::new("a", 0);
    let requested = sample.cancel_requested();
    index.save(&changes([(&sample, requested.clone())], 1), seconds(0)).unwrap();
    let by_reference =
        CommandFilter { reference: Some("order-of-a".into()), ..CommandFilter::default() };
    assert_eq!(found(&index, &by_reference).concat(), "");
    let came = CommandState { cancel: requested.cancel, ..sample.opened() };
    index.save(&changes([(&sample, came)], 2), seconds(0)).unwrap();
    assert_eq!(found(&index, &by_reference).concat(), "a");
    assert_eq!(
        found(
            &index,
            &CommandFilter { provider: Some(name("stripe")), ..CommandFilter::default() }
        )
        .concat(),
        "a"
    );
}

#[test]
fn going_from_page_to_page_meets_each_command_once_while_others_come_and_change() {
    for filter in [
        CommandFilter::default(),
        CommandFilter { provider: Some(name("stripe")), ..CommandFilter::default() },
    ] {
        let (_dir, index) = index();
        let samples: Vec<_> = (0..95).map(|n| SampleCommand::new(&format!("c-{n}"), n)).collect();
        index
            .save(&changes(samples.iter().map(|sample| (sample, sample.opened())), 1), seconds(0))
            .unwrap();
        let (mut met, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = index.list(&filter, cursor.as_ref(), 10).unwrap();
            met.extend(page.rows.iter().map(|row| row.id.clone()));
            pages += 1;
            let late = SampleCommand::new(&format!("late-{pages}"), 0);
            let changed = &samples[pages * 7 % 95];
            index
                .save(
                    &changes([(&late, late.opened()), (changed, changed.completed())], 2),
                    seconds(0),
                )
                .unwrap();
            let Some(next) = page.next else { break };
            // The cursor passes through a URL or a shell.
            cursor = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(pages, 10);
        let expected: Vec<_> = samples.iter().rev().map(SampleCommand::id).collect();
        assert_eq!(met, expected);
        assert_eq!(met.iter().collect::<HashSet<_>>().len(), 95);
    }
}

#[test]
fn a_place_in_a_list_holds_in_another_instances_index() {
    let ((_one, one), (_two, two)) = (index(), index());
    let samples: Vec<_> = (0..30).map(|n| SampleCommand::new(&format!("c-{n}"), n)).collect();
    one.save(&changes(samples.iter().map(|sample| (sample, sample.opened())), 1), seconds(0))
        .unwrap();
    // The other index began to read later.
    two.save(&changes(samples[10..].iter().map(|sample| (sample, sample.opened())), 1), seconds(0))
        .unwrap();
    let first = one.list(&CommandFilter::default(), None, 10).unwrap();
    let next = first.next.unwrap();
    assert_eq!(
        two.list(&CommandFilter::default(), Some(&next), 1).unwrap().rows[0].id,
        samples[19].id()
    );
    // In an index that does not know the command, the list is at its end.
    let far = one.list(&CommandFilter::default(), None, 25).unwrap().next.unwrap();
    assert_eq!(two.list(&CommandFilter::default(), Some(&far), 1).unwrap().rows, []);
}

#[test]
fn a_text_that_is_no_place_is_refused() {
    for text in [
        "",
        "1",
        "1.2",
        "x.y.z",
        "1.2.ü",
        "-.a.b",
        "-1.2.x",
        "-1.0a1b2c3d.x",
        "+1.0a1b2c3d.x",
        "1.0A1b2c3d.x",
    ] {
        assert!(text.parse::<PageCursor>().is_err(), "{text}");
    }
}

#[test]
fn with_very_many_facets_the_same_is_found() {
    let (_dir, index) = index();
    let samples: Vec<_> = (0..2_500).map(|n| SampleCommand::new(&format!("c-{n}"), n)).collect();
    let states = samples.iter().enumerate().map(|(n, sample)| {
        (sample, sample.failed(FailureKind::Rejected, &format!("code-{n}"), 400))
    });
    index.save(&changes(states, 1), seconds(0)).unwrap();
    let dead =
        CommandFilter { dead: true, older_than: Some(seconds(2_000)), ..CommandFilter::default() };
    let page = index.list(&dead, None, 2).unwrap();
    let ids: Vec<_> = page.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["c-1998", "c-1997"]);
    assert_eq!(index.groups(&dead).unwrap().len(), 1_999);
}
