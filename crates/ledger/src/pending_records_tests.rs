use super::*;
use ferryd_domain::ledger::record::{Record, RecordBody, RecordId, SettledRecord};
use ferryd_domain::ledger::ruling::Ruling;
use tokio::sync::oneshot;

fn record(text: &str) -> AnyRecord {
    let finished = RecordId { writer: Uuid::nil(), number: 1 };
    let command = format!("c-{text}").parse().unwrap();
    Record {
        at: Timestamp::UNIX_EPOCH,
        command,
        fact: RecordBody::Settled(SettledRecord { finished }),
    }
    .into()
}

fn pending_records() -> PendingRecords {
    PendingRecords::new(Uuid::from_u128(1))
}

fn append(pending: &PendingRecords, text: &str) -> oneshot::Receiver<(RecordId, Ruling)> {
    let (waiter, ruled) = oneshot::channel();
    let record = record(text);
    let line = record.encode();
    pending.append(record, line, waiter, None);
    ruled
}

fn numbers(batch: &RecordBatch) -> (u64, u64) {
    (batch.first, batch.last)
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_on_its_way_is_the_next_batch() {
    let pending = pending_records();
    append(&pending, "a");
    assert_eq!(numbers(&pending.next_batch().await), (1, 1));
    append(&pending, "b");
    append(&pending, "c");
    let batch = pending.next_batch().await;
    assert_eq!(numbers(&batch), (2, 3));
    assert_eq!(super::super::batch::lines(&batch.body).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_note_waits_for_company_but_not_for_ever() {
    let pending = pending_records();
    let begun = Instant::now();
    pending.queue_unawaited(record("a")).unwrap();
    assert_eq!(numbers(&pending.next_batch().await), (1, 1));
    assert!(begun.elapsed() >= LAZILY);
    let begun = Instant::now();
    pending.queue_unawaited(record("b")).unwrap();
    append(&pending, "c");
    assert_eq!(numbers(&pending.next_batch().await), (2, 3));
    assert!(begun.elapsed() < LAZILY);
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_size_and_a_larger_record_goes_alone() {
    let pending = pending_records();
    let (waiter, _ruled) = oneshot::channel();
    pending.append(record("a"), vec![b'x'; MAX_BATCH + 1], waiter, None);
    let most = u64::try_from(MAX_BATCH / record("b").encode().len()).unwrap();
    for _ in 0..=most {
        append(&pending, "b");
    }
    assert_eq!(numbers(&pending.next_batch().await), (1, 1));
    let batch = pending.next_batch().await;
    assert!(batch.body.len() <= MAX_BATCH && batch.last < most + 2, "{}", batch.last);
    assert_eq!(pending.next_batch().await.last, most + 2);
}

#[tokio::test(start_paused = true)]
async fn who_appends_more_than_there_is_room_for_waits_until_something_is_read_back() {
    let pending = pending_records();
    let all = pending.wait_for_room(MAX_APPENDED * 2).await;
    let (waiter, _ruled) = oneshot::channel();
    pending.append(record("a"), record("a").encode(), waiter, all);
    assert!(tokio::time::timeout(LAZILY, pending.wait_for_room(1)).await.is_err());
    pending.next_batch().await;
    let (held, _) = pending.take(1);
    held.unwrap().send_ruling(RecordId { writer: pending.writer, number: 1 }, Ruling::Superseded);
    assert!(pending.wait_for_room(MAX_APPENDED).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn notes_beyond_their_room_are_dropped_and_counted() {
    let pending = pending_records();
    let fits = MAX_NOTED / record("a").encode().len();
    for _ in 0..fits {
        pending.queue_unawaited(record("a")).unwrap();
    }
    assert_eq!(pending.queue_unawaited(record("a")), Err(1));
    while pending.queued_rest().is_some() {}
    assert_eq!(pending.queue_unawaited(record("a")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_was_not_sent_serves_all_barriers() {
    let pending = pending_records();
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!((pending.pending_marker(now), pending.pending_marker(now)), (1, 1));
    pending.next_batch().await;
    append(&pending, "a");
    assert_eq!((pending.pending_marker(now), pending.pending_marker(now)), (3, 3));
    pending.note_read_back(2);
    assert!(tokio::time::timeout(LAZILY, pending.read_back(3)).await.is_err());
    pending.note_read_back(4);
    pending.read_back(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_record_that_the_stream_has_lost_is_written_again_under_a_new_number() {
    let pending = pending_records();
    let mut lost = append(&pending, "a");
    pending.queue_unawaited(record("b")).unwrap();
    pending.pending_marker(Timestamp::UNIX_EPOCH);
    let batch = pending.next_batch().await;
    pending.confirm(batch.last);
    assert!(pending.oldest().unwrap().confirmed.is_some());
    append(&pending, "c");
    assert_eq!(numbers(&pending.next_batch().await), (4, 4));
    let (held, count) = pending.take(4);
    assert!(held.is_some());
    assert_eq!(count, 3);
    assert_eq!(numbers(&pending.next_batch().await), (5, 6));
    assert!(lost.try_recv().is_err());
    let id = RecordId { writer: pending.writer, number: 5 };
    pending.take(5).0.unwrap().send_ruling(id, Ruling::Superseded);
    assert_eq!(lost.await.unwrap(), (id, Ruling::Superseded));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_back_before_is_not_held_any_more() {
    let pending = pending_records();
    append(&pending, "a");
    pending.next_batch().await;
    assert!(pending.take(1).0.is_some());
    assert!(pending.take(1).0.is_none());
    assert_eq!(pending.oldest(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_and_does_not_come_is_written_once_more_under_its_numbers() {
    let pending = pending_records();
    let mut ruled = Vec::new();
    for text in ["a", "b", "c"] {
        ruled.push(append(&pending, text));
        pending.next_batch().await;
    }
    pending.confirm(2);
    assert!(!pending.is_overdue(LAZILY));
    tokio::time::advance(2 * LAZILY).await;
    assert!(pending.is_overdue(LAZILY));
    assert!(pending.take(1).0.is_some(), "one of them comes after all");
    pending.write_again();
    let again = pending.next_batch().await;
    assert_eq!((numbers(&again), again.body), ((2, 2), record("b").encode()));
    assert!(
        tokio::time::timeout(LAZILY, pending.next_batch()).await.is_err(),
        "the third is not confirmed yet"
    );
    let id = RecordId { writer: pending.writer, number: 2 };
    pending.take(2).0.unwrap().send_ruling(id, Ruling::Superseded);
    assert_eq!(ruled.remove(1).await.unwrap().0, id);
    pending.write_again();
    assert!(tokio::time::timeout(LAZILY, pending.next_batch()).await.is_err());
    assert!(!pending.is_overdue(LAZILY));
}

#[tokio::test(start_paused = true)]
async fn records_are_next_while_all_are_held_and_nothing_before_them_is() {
    let pending = pending_records();
    for text in ["a", "b", "c", "d"] {
        append(&pending, text);
    }
    assert!(!pending.are_next(1, 4), "no batch was taken");
    pending.next_batch().await;
    assert!(pending.are_next(1, 4) && pending.are_next(1, 1));
    assert!(!pending.are_next(2, 4) && !pending.are_next(1, 5) && !pending.are_next(1, 0));
    pending.give_up(2);
    assert!(!pending.are_next(1, 4) && pending.are_next(1, 1));
    pending.take(1);
    assert!(pending.are_next(3, 4) && !pending.are_next(1, 4));
}
