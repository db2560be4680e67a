use super::super::record::{MadeQuery, RetainedMessage, StartedRecord, Step};
use super::super::record_examples::{facts, record};
use super::*;
use crate::money::MoneyAmount;
use crate::query::QueryPurpose;

/// Encodes a record by serde alone.
fn serialized(record: &Record) -> Vec<u8> {
    fn line<T: Serialize>(record: &Record, data: &T) -> Vec<u8> {
        let (kind, critical) = (record.fact.kind(), record.fact.is_critical());
        let (at, command) = (record.at, Some(&record.command));
        serde_json::to_vec(&WrittenLine {
            v: VERSION,
            kind,
            critical,
            at,
            command,
            job: None,
            data,
        })
        .unwrap()
    }
    match &record.fact {
        RecordBody::Opened(data) => line(record, data),
        RecordBody::Started(data) => line(record, data),
        RecordBody::Released(data) => line(record, data),
        RecordBody::ClaimExpired(data) => line(record, data),
        RecordBody::Finished(data) => line(record, data),
        RecordBody::Settled(data) => line(record, data),
        RecordBody::CancelRequested(data) => line(record, data),
        RecordBody::Replayed(data) => line(record, data),
        RecordBody::ReplyRequested(data) => line(record, data),
        RecordBody::Conflicted(data) => line(record, data),
        RecordBody::Erased(data) => line(record, data),
        RecordBody::Prompted(data) => line(record, data),
    }
}

/// Returns a copy of a record whose every optional member is absent, or present, as `is_there` says.
fn with_optional_members(body: RecordBody, is_there: bool) -> RecordBody {
    let at = is_there.then(|| Timestamp::new(1_764_592_496, 120_000_000).unwrap());
    let text = |text: &str| is_there.then(|| text.to_owned());
    match body {
        RecordBody::Opened(mut opened) => {
            (opened.recorded, opened.until) = (is_there, at);
            opened.submitted_by = text("api:\"shop\"");
            opened.identity.publisher = text("core\\");
            RecordBody::Opened(opened)
        }
        RecordBody::Started(mut started) => {
            let identity = started.identity.filter(|_| is_there);
            let money = MoneyAmount { amount: "10.99".to_owned(), currency: text("EUR") };
            RecordBody::Started(Box::new(StartedRecord {
                identity,
                recorded: is_there,
                redelivered: is_there,
                unknown: is_there,
                key: started.key.filter(|_| is_there),
                token: text("token").unwrap_or_default(),
                money: is_there.then_some(money),
                first_sent: at,
                expired_claim: started.expired_claim.take().filter(|_| is_there),
                ..*started
            }))
        }
        RecordBody::Finished(mut finished) => {
            finished.step = Step { query: u32::from(is_there), ..finished.step };
            finished.identity = finished.identity.filter(|_| is_there);
            (finished.fresh, finished.unknown, finished.not_found) = (is_there, is_there, is_there);
            let query = MadeQuery { purpose: QueryPurpose::Poll, early: true };
            finished.query = is_there.then_some(query);
            finished.retained_message = is_there.then(|| {
                Box::new(RetainedMessage {
                    body: "{\"a\":1}".to_owned(),
                    message_id: text("m"),
                    correlation_id: None,
                })
            });
            if let Some(call) = &mut finished.call {
                (call.code, call.message) = (text("a\nb"), text("no"));
                call.http_status = is_there.then_some(200);
            }
            finished.call = finished.call.filter(|_| is_there);
            finished.effects.publish_event = is_there;
            finished.effects.message = finished.effects.message.filter(|_| is_there);
            RecordBody::Finished(finished)
        }
        other => other,
    }
}

#[test]
fn every_record_is_written_as_serde_writes_it() {
    let as_they_are = facts().into_iter();
    let bare = facts().into_iter().map(|body| with_optional_members(body, false));
    let whole = facts().into_iter().map(|body| with_optional_members(body, true));
    for record in as_they_are.chain(bare).chain(whole).map(record) {
        let line = String::from_utf8(record.encode()).unwrap();
        assert_eq!(line, String::from_utf8(serialized(&record)).unwrap());
        assert_eq!(
            LedgerLine::decode(line.as_bytes()).unwrap(),
            LedgerLine::Record(Box::new(record))
        );
    }
}
