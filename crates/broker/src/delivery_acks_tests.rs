use lapin::message::Delivery;

use super::*;

fn delivery(tag: u64) -> Delivery {
    Delivery::mock(tag, "".into(), "".into(), false, Vec::new())
}

fn ranges(tags: &[u64]) -> TagRanges {
    let mut ranges = TagRanges::default();
    for tag in tags {
        ranges.insert(*tag);
    }
    ranges
}

#[test]
fn tags_that_follow_each_other_are_one_range_whatever_their_order() {
    for (tags, complete, kept) in [
        (&[][..], 0, 0),
        (&[1], 1, 1),
        (&[2], 0, 1),
        (&[2, 1], 2, 1),
        (&[1, 3, 5], 1, 3),
        (&[5, 3, 1, 4, 2], 5, 1),
        (&[1, 1, 2, 2, 1], 2, 1),
        (&[3, 4, 6, 1], 1, 3),
    ] {
        let ranges = ranges(tags);
        assert_eq!((ranges.complete_up_to(), ranges.0.len()), (complete, kept), "{tags:?}");
    }
}

#[test]
fn one_ack_is_for_all_up_to_the_first_delivery_that_is_still_handled() {
    for (due, complete, expected) in [
        (&[][..], 9, &[][..]),
        (&[1], 1, &[(1, false)]),
        (&[3, 1, 2], 3, &[(3, true)]),
        (&[2, 1, 5, 4], 2, &[(2, true), (4, false), (5, false)]),
        (&[4, 5], 2, &[(4, false), (5, false)]),
        (&[4, 7], 5, &[(4, false), (7, false)]),
        (&[4, 6], 6, &[(6, true)]),
    ] {
        let due = due
            .iter()
            .map(|tag| DueAck { tag: *tag, acker: delivery(*tag).acker, credit: None })
            .collect();
        let planned = plan_acks(due, complete);
        let expected: Vec<_> =
            expected.iter().map(|(tag, multiple)| (delivery(*tag).acker, *multiple)).collect();
        assert_eq!(planned, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ack_returns_once_those_that_gathered_are_sent() {
    let acks = Arc::<ChannelAcks>::default();
    let ackers = [2, 1, 3, 2].map(|tag| HeldDelivery::new(&acks, delivery(tag)).acker);
    join_all(ackers.map(DeliveryAcker::ack)).await;
    let state = acks.lock();
    assert_eq!((state.due.len(), state.settled.complete_up_to()), (0, 3));
}

#[tokio::test]
async fn what_is_requeued_does_not_keep_later_deliveries_from_one_ack() {
    let acks = Arc::<ChannelAcks>::default();
    HeldDelivery::new(&acks, delivery(1)).acker.requeue().await;
    assert_eq!(acks.lock().settled.complete_up_to(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_for_a_credit_after_an_ack_has_given_some_back() {
    let (acks, credit) = (Arc::<ChannelAcks>::default(), Arc::new(BatchCredit::new(2)));
    let of_batch = |tag| HeldDelivery::of_batch(&acks, delivery(tag), &credit);
    let (first, second) = (of_batch(1), of_batch(3));
    HeldDelivery::new(&acks, delivery(2)).acker.ack().await;
    assert!(credit.is_used_up());
    assert_eq!(acks.run_if_used_up(&credit, async { true }).await, Some(true));

    // An ack that is due is not sent yet.
    let acking = tokio::spawn(first.acker.ack());
    tokio::task::yield_now().await;
    assert_eq!(acks.run_if_used_up(&credit, async { true }).await, Some(true));
    acking.await.unwrap();
    assert_eq!(acks.run_if_used_up(&credit, async { true }).await, None);

    let third = of_batch(4);
    assert!(credit.is_used_up());
    second.acker.requeue().await;
    assert!(!credit.is_used_up());
    third.acker.clone().ack().await;
    third.acker.requeue().await;
    assert_eq!(credit.unacked.load(Ordering::Relaxed), 0, "the first use counts");
}

#[tokio::test(start_paused = true)]
async fn no_ack_is_sent_while_something_runs_for_a_credit() {
    let (acks, credit) = (Arc::<ChannelAcks>::default(), Arc::new(BatchCredit::new(1)));
    let held = HeldDelivery::of_batch(&acks, delivery(1), &credit);
    let running = acks.run_if_used_up(&credit, async {
        assert!(tokio::time::timeout(100 * GATHER, held.acker.ack()).await.is_err());
        credit.is_used_up()
    });
    assert_eq!(running.await, Some(true));
    tokio::time::sleep(GATHER).await;
    assert!(!credit.is_used_up());
}
