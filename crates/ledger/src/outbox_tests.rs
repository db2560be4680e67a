use super::*;
use ferryd_domain::ledger::record::{Fact, Record, Settled};

fn record(text: &str) -> AnyRecord {
    let finished = RecordId { writer: Uuid::nil(), number: 1 };
    let command = format!("c-{text}").parse().unwrap();
    Record { at: Timestamp::UNIX_EPOCH, command, fact: Fact::Settled(Settled { finished }) }.into()
}

fn outbox() -> Outbox {
    Outbox::new(Uuid::from_u128(1))
}

fn append(outbox: &Outbox, text: &str) -> oneshot::Receiver<(RecordId, Ruling)> {
    let (waiter, ruled) = oneshot::channel();
    let record = record(text);
    let line = record.encode();
    outbox.append(record, line, waiter, None);
    ruled
}

fn numbers(batch: &Batch) -> (u64, u64) {
    (batch.first, batch.last)
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_on_its_way_is_the_next_batch() {
    let outbox = outbox();
    append(&outbox, "a");
    assert_eq!(numbers(&outbox.batch().await), (1, 1));
    append(&outbox, "b");
    append(&outbox, "c");
    let batch = outbox.batch().await;
    assert_eq!(numbers(&batch), (2, 3));
    assert_eq!(super::super::batch::lines(&batch.body).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_note_waits_for_company_but_not_for_ever() {
    let outbox = outbox();
    let begun = Instant::now();
    outbox.note(record("a")).unwrap();
    assert_eq!(numbers(&outbox.batch().await), (1, 1));
    assert!(begun.elapsed() >= LAZILY);
    let begun = Instant::now();
    outbox.note(record("b")).unwrap();
    append(&outbox, "c");
    assert_eq!(numbers(&outbox.batch().await), (2, 3));
    assert!(begun.elapsed() < LAZILY);
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_size_and_a_larger_record_goes_alone() {
    let outbox = outbox();
    let (waiter, _ruled) = oneshot::channel();
    outbox.append(record("a"), vec![b'x'; MAX_BATCH + 1], waiter, None);
    let most = u64::try_from(MAX_BATCH / record("b").encode().len()).unwrap();
    for _ in 0..=most {
        append(&outbox, "b");
    }
    assert_eq!(numbers(&outbox.batch().await), (1, 1));
    let batch = outbox.batch().await;
    assert!(batch.body.len() <= MAX_BATCH && batch.last < most + 2, "{}", batch.last);
    assert_eq!(outbox.batch().await.last, most + 2);
}

#[tokio::test(start_paused = true)]
async fn who_appends_more_than_there_is_room_for_waits_until_something_is_read_back() {
    let outbox = outbox();
    let all = outbox.room(MAX_APPENDED * 2).await;
    let (waiter, _ruled) = oneshot::channel();
    outbox.append(record("a"), record("a").encode(), waiter, all);
    assert!(tokio::time::timeout(LAZILY, outbox.room(1)).await.is_err());
    outbox.batch().await;
    let (held, _) = outbox.take(1);
    held.unwrap().tell(RecordId { writer: outbox.writer, number: 1 }, Ruling::Passed);
    assert!(outbox.room(MAX_APPENDED).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn notes_beyond_their_room_are_dropped_and_counted() {
    let outbox = outbox();
    let fits = MAX_NOTED / record("a").encode().len();
    for _ in 0..fits {
        outbox.note(record("a")).unwrap();
    }
    assert_eq!(outbox.note(record("a")), Err(1));
    while outbox.rest().is_some() {}
    assert_eq!(outbox.note(record("a")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_was_not_sent_serves_all_barriers() {
    let outbox = outbox();
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!((outbox.mark(now), outbox.mark(now)), (1, 1));
    outbox.batch().await;
    append(&outbox, "a");
    assert_eq!((outbox.mark(now), outbox.mark(now)), (3, 3));
    outbox.told(2);
    assert!(tokio::time::timeout(LAZILY, outbox.read_back(3)).await.is_err());
    outbox.told(4);
    outbox.read_back(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_record_that_the_stream_has_lost_is_written_again_under_a_new_number() {
    let outbox = outbox();
    let mut lost = append(&outbox, "a");
    outbox.note(record("b")).unwrap();
    outbox.mark(Timestamp::UNIX_EPOCH);
    let batch = outbox.batch().await;
    outbox.confirm(batch.last);
    assert!(outbox.oldest().unwrap().confirmed.is_some());
    append(&outbox, "c");
    assert_eq!(numbers(&outbox.batch().await), (4, 4));
    let (held, count) = outbox.take(4);
    assert!(held.is_some());
    assert_eq!(count, 3);
    assert_eq!(numbers(&outbox.batch().await), (5, 6));
    assert!(lost.try_recv().is_err());
    let id = RecordId { writer: outbox.writer, number: 5 };
    outbox.take(5).0.unwrap().tell(id, Ruling::Passed);
    assert_eq!(lost.await.unwrap(), (id, Ruling::Passed));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_back_before_is_not_held_any_more() {
    let outbox = outbox();
    append(&outbox, "a");
    outbox.batch().await;
    assert!(outbox.take(1).0.is_some());
    assert!(outbox.take(1).0.is_none());
    assert_eq!(outbox.oldest(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_and_does_not_come_is_written_once_more_under_its_numbers() {
    let outbox = outbox();
    let mut ruled = Vec::new();
    for text in ["a", "b", "c"] {
        ruled.push(append(&outbox, text));
        outbox.batch().await;
    }
    outbox.confirm(2);
    assert!(!outbox.is_overdue(LAZILY));
    tokio::time::advance(2 * LAZILY).await;
    assert!(outbox.is_overdue(LAZILY));
    assert!(outbox.take(1).0.is_some(), "one of them comes after all");
    outbox.write_again();
    let again = outbox.batch().await;
    assert_eq!((numbers(&again), again.body), ((2, 2), record("b").encode()));
    assert!(tokio::time::timeout(LAZILY, outbox.batch()).await.is_err(), "the third is not confirmed yet");
    let id = RecordId { writer: outbox.writer, number: 2 };
    outbox.take(2).0.unwrap().tell(id, Ruling::Passed);
    assert_eq!(ruled.remove(1).await.unwrap().0, id);
    outbox.write_again();
    assert!(tokio::time::timeout(LAZILY, outbox.batch()).await.is_err());
    assert!(!outbox.is_overdue(LAZILY));
}
