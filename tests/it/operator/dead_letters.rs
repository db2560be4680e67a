//! Looking at dead letters.

use ferryd::operator::queue_cursor::QueueCursor;
use ferryd::operator::scan::visit_dead_letters;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_ledger::command_filter::{CommandFilter, WantedKind};

use super::operator_bench::{OperatorBench, body, id, letter, letter_of, numbered};
use crate::harness::broker::persistent;

const QUEUE: &str = "ferry.dead.stripe";

/// Lists `count` dead letters and checks that each lies where it lay, as it was.
async fn a_list_changes_nothing(count: usize) {
    let bench = OperatorBench::new().await;
    let ids = numbered("order", count);
    bench.publish_dead_letters(ids.iter().map(|id| letter(id))).await;
    let mut listed = Vec::new();
    for _ in 0..2 {
        listed.clear();
        let queues = [QUEUE.to_owned()];
        let visit = |dead: ferryd::operator::queued_dead_letter::QueuedDeadLetter| {
            listed.push(dead.identity.id.to_string());
        };
        visit_dead_letters(&bench.operator, &queues, &CommandFilter::default(), visit)
            .await
            .unwrap();
        assert!(listed == ids, "listed {} of {count}, or in another order", listed.len());
    }
    bench.broker.await_depth(QUEUE, u32::try_from(count).unwrap()).await;
    let left = bench.drain(QUEUE).await;
    assert!(left.iter().map(id).eq(ids.iter().cloned()), "the order is another");
    for delivery in &left {
        assert_eq!(delivery.data, body(&letter(&id(delivery))).into_bytes());
        assert_eq!(delivery.properties.correlation_id().as_ref().unwrap().as_str(), "c-1");
    }
}

#[tokio::test]
async fn a_list_leaves_five_thousand_messages_and_their_order_as_they_were() {
    a_list_changes_nothing(5_000).await;
}

#[tokio::test]
#[ignore = "takes a minute; for changes to walking"]
async fn a_list_leaves_more_messages_as_they_were_than_one_consumer_can_hold() {
    a_list_changes_nothing(70_000).await;
}

#[tokio::test]
async fn what_is_removed_from_the_middle_leaves_the_rest_in_order() {
    let bench = OperatorBench::new().await;
    let ids = numbered("order", 3_500);
    bench.publish_dead_letters(ids.iter().map(|id| letter(id))).await;
    let gone = |index: usize| index % 7 == 3 || (1_200..1_900).contains(&index);
    let mut walk = QueueCursor::begin(&bench.operator, QUEUE).await.unwrap().unwrap();
    let mut index = 0;
    while let Some(delivery) = walk.next().await.unwrap() {
        assert_eq!(id(&delivery), ids[index]);
        if gone(index) {
            walk.remove(&delivery).await.unwrap();
        }
        index += 1;
    }
    walk.end().await.unwrap();
    let kept: Vec<_> = ids
        .iter()
        .enumerate()
        .filter(|(index, _)| !gone(*index))
        .map(|(_, id)| id.clone())
        .collect();
    bench.broker.await_depth(QUEUE, u32::try_from(kept.len()).unwrap()).await;
    assert!(bench.ids(QUEUE).await == kept, "the order is another");
}

#[tokio::test]
async fn a_walk_that_ends_early_leaves_what_it_has_not_passed_behind_what_it_has() {
    let bench = OperatorBench::new().await;
    let ids = numbered("order", 2_500);
    bench.publish_dead_letters(ids.iter().map(|id| letter(id))).await;
    let mut walk = QueueCursor::begin(&bench.operator, QUEUE).await.unwrap().unwrap();
    for _ in 0..1_500 {
        walk.next().await.unwrap().unwrap();
    }
    walk.end().await.unwrap();
    bench.broker.await_depth(QUEUE, 2_500).await;
    assert!(bench.ids(QUEUE).await == ids, "the order is another");
}

#[tokio::test]
async fn a_walk_ends_where_another_consumer_has_taken_the_rest() {
    let bench = OperatorBench::new().await;
    bench.publish_dead_letters(numbered("order", 1_500).iter().map(|id| letter(id))).await;
    let mut walk = QueueCursor::begin(&bench.operator, QUEUE).await.unwrap().unwrap();
    walk.next().await.unwrap().unwrap();
    bench.broker.purge(QUEUE).await;
    let mut passed = 1;
    while walk.next().await.unwrap().is_some() {
        passed += 1;
    }
    // What it had taken hold of when the rest went: the first page.
    assert!((64..1_500).contains(&passed), "{passed}");
    walk.end().await.unwrap();
}

#[tokio::test]
async fn queues_that_are_empty_or_absent_hold_no_dead_letters() {
    let bench = OperatorBench::bare().await;
    for json in [false, true] {
        let arguments: &[&str] = if json {
            &["dead-letters", "list", "--queues", "--json"]
        } else {
            &["dead-letters", "list", "--queues"]
        };
        let ended = bench.ferryd(arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.out, if json { "[]\n" } else { "no dead letters\n" });
    }
    assert!(QueueCursor::begin(&bench.operator, QUEUE).await.unwrap().is_none());
    let bench = OperatorBench::new().await;
    let mut walk = QueueCursor::begin(&bench.operator, QUEUE).await.unwrap().unwrap();
    assert!(walk.next().await.unwrap().is_none());
    walk.end().await.unwrap();
    let ended = bench.ferryd(&["dead-letters", "show", "no-such", "--queues"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.err,
        "ferryd: there is no dead letter of command `no-such`; see `ferryd dead-letters list`\n"
    );
}

#[tokio::test]
async fn a_filter_means_what_it_says() {
    let bench = OperatorBench::new().await;
    bench
        .publish_dead_letters([
            letter("a"),
            letter_of("b", "payment", "stripe", "refund", FailureKind::Rejected),
            letter_of("c", "notification", "twilio", "send_sms", FailureKind::Unavailable),
            letter_of("d", "notification", "gone", "send_sms", FailureKind::Invalid),
        ])
        .await;
    let no_record = r#"{"id":"e","type":"payment","provider":"stripe","operation":"charge"}"#;
    bench.broker.publish("ferry.dead", "stripe", no_record.as_bytes(), persistent()).await;
    let name = |text: &str| Some(text.parse().unwrap());
    let ago = |hours: f64| {
        jiff::Timestamp::now().checked_sub(std::time::Duration::from_secs_f64(hours * 3600.0)).ok()
    };
    let (minutes, hours) = (ago(0.5), ago(2.0));
    let base = CommandFilter::default;
    let of = |kind: &str| Some(kind.parse::<WantedKind>().unwrap());
    for (filter, expected) in [
        (base(), "a b e c d"),
        (CommandFilter { ids: ["c", "e"].map(|id| id.parse().unwrap()).into(), ..base() }, "e c"),
        (CommandFilter { provider: name("stripe"), ..base() }, "a b e"),
        (CommandFilter { provider: name("gone"), ..base() }, "d"),
        (CommandFilter { operation: name("send_sms"), ..base() }, "c d"),
        (CommandFilter { kind: of("unavailable"), ..base() }, "a c"),
        (CommandFilter { kind: of("unreadable"), ..base() }, "e"),
        (CommandFilter { provider: name("stripe"), kind: of("rejected"), ..base() }, "b"),
        (CommandFilter { older_than: minutes, ..base() }, "a b c d"),
        (CommandFilter { older_than: hours, ..base() }, ""),
        (CommandFilter { newer_than: minutes, ..base() }, ""),
        (CommandFilter { newer_than: hours, ..base() }, "a b c d"),
    ] {
        let queues =
            ["ferry.dead.stripe", "ferry.dead.twilio", "ferry.dead.other"].map(str::to_owned);
        let mut found = Vec::new();
        visit_dead_letters(&bench.operator, &queues, &filter, |dead| {
            found.push(dead.identity.id.to_string());
        })
        .await
        .unwrap();
        assert_eq!(found.join(" "), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_shown_whole_even_without_a_record() {
    let bench = OperatorBench::new().await;
    bench.publish_dead_letters([letter("order-1")]).await;
    bench.broker.publish("ferry.dead", "nobody", b"no \x1b[31mJSON", persistent()).await;

    let list = bench.ferryd(&["dead-letters", "list", "--queues"]).await;
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(list.out.contains("1h   order-1"), "{}", list.out);
    assert!(list.out.contains("unreadable"), "{}", list.out);
    let list = bench.ferryd(&["dead-letters", "list", "--queues", "--json"]).await.json();
    assert_eq!(list[0]["command"]["id"], "order-1");
    assert_eq!((&list[0]["kind"], &list[1]["kind"]), (&"unavailable".into(), &"unreadable".into()));

    let show = bench.ferryd(&["dead-letters", "show", "order-1", "--queues"]).await;
    for part in [
        "order-1\n",
        "message         no answer",
        "tenant",
        "\"amount\": 1099",
        "payment.stripe.charge",
    ] {
        assert!(show.out.contains(part), "{part}: {}", show.out);
    }
    let show =
        bench.ferryd(&["dead-letters", "show", "order-1", "--queues", "--json"]).await.json();
    assert_eq!(show[0]["record"]["code"], "timeout");
    assert_eq!(show[0]["message"]["properties"]["headers"]["tenant"], "eu-1");
    assert_eq!(show[0]["message"]["body"]["payload"]["amount"], 1099);

    let unreadable = list[1]["command"]["id"].as_str().unwrap();
    let show = bench.ferryd(&["dead-letters", "show", unreadable, "--queues"]).await;
    assert!(show.out.contains("no \\u{1b}[31mJSON"), "{}", show.out);
}
