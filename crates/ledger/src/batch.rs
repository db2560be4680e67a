//! Batches of records as messages of the ledger's stream. The body is packed lines of JSON; the
//! headers name the writer and the number of its first line.

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::compression::compress_body;
use ferryd_broker::message::{OutgoingMessage, get_number, persistent_properties, short_or_empty};

/// The content type of a batch: one JSON object a line.
const CONTENT_TYPE: &str = "application/x-ndjson";
/// The header with the number that the first line has among all lines of its writer.
const FIRST: &str = "ferry-first";
/// The header with the number of the last line. Its writer need not unpack the message to know what
/// it holds.
const LAST: &str = "ferry-last";

/// Consecutive records of one writer, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBatch {
    /// The number of the first record.
    pub first: u64,
    /// The number of the last record.
    pub last: u64,
    /// The records, one line of JSON each.
    pub body: Vec<u8>,
}

/// The origin of the lines of a message: their writer, and the number of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSource {
    /// The process that wrote the lines.
    pub writer: Uuid,
    /// The number of the first line.
    pub first: u64,
}

impl RecordBatch {
    /// Splits the batch into batches of one record each.
    #[must_use]
    pub fn split(&self) -> Vec<Self> {
        let lines = self.body.split(|byte| *byte == b'\n');
        (self.first..=self.last)
            .zip(lines)
            .map(|(n, line)| Self { first: n, last: n, body: line.to_vec() })
            .collect()
    }

    /// Builds the message that carries the batch.
    #[must_use]
    pub fn into_message(self, stream: ShortString, writer: Uuid, at: Timestamp) -> OutgoingMessage {
        let mut headers = FieldTable::default();
        for (name, number) in [(FIRST, self.first), (LAST, self.last)] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            headers.insert(name.into(), AMQPValue::LongLongInt(number));
        }
        let id = short_or_empty(&writer.to_string());
        let properties = persistent_properties()
            .with_content_type(CONTENT_TYPE.into())
            .with_message_id(id)
            .with_timestamp(u64::try_from(at.as_second()).unwrap_or_default())
            .with_headers(headers);
        let (properties, body) = compress_body(properties, self.body);
        OutgoingMessage { exchange: ShortString::default(), routing_key: stream, properties, body }
    }
}

impl BatchSource {
    /// Reads the origin of a message from its headers; `None` where no writer of the ledger sent
    /// the message.
    #[must_use]
    pub fn of(properties: &BasicProperties) -> Option<Self> {
        let writer = properties.message_id().as_ref()?.as_str().parse().ok()?;
        Some(Self { writer, first: line_number(properties, FIRST)? })
    }
}

/// Reads the number of the last line of a message; `None` where its writer did not state it.
#[must_use]
pub fn last_line(properties: &BasicProperties) -> Option<u64> {
    line_number(properties, LAST)
}

fn line_number(properties: &BasicProperties, header: &str) -> Option<u64> {
    u64::try_from(get_number(properties.headers().as_ref(), header)?).ok()
}

/// Iterates over the lines of an unpacked body.
pub fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n')
}

/// Hashes a message, so that another message at the same offset of another stream is recognised.
#[must_use]
pub fn fingerprint(source: Option<BatchSource>, body: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    if let Some(BatchSource { writer, first }) = source {
        hash.update(writer.as_bytes());
        hash.update(first.to_be_bytes());
    }
    hash.update(body);
    let mut start = [0; 8];
    start.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let writer = Uuid::from_u128(7);
        let batch = RecordBatch { first: 41, last: 42, body: b"{}\n{}".to_vec() };
        let message = batch.into_message("ferry.ledger".into(), writer, Timestamp::UNIX_EPOCH);
        assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), ("", "ferry.ledger"));
        assert_eq!(BatchSource::of(&message.properties), Some(BatchSource { writer, first: 41 }));
        assert_eq!(last_line(&message.properties), Some(42));
        assert_eq!(lines(&message.body).collect::<Vec<_>>(), [b"{}", b"{}"]);
    }

    #[test]
    fn a_batch_is_split_into_its_records_with_their_numbers() {
        let batch =
            |first, last, body: &str| RecordBatch { first, last, body: body.as_bytes().to_vec() };
        let singles = [batch(41, 41, "{\"a\":1}"), batch(42, 42, "{}"), batch(43, 43, "{\"b\":2}")];
        assert_eq!(batch(41, 43, "{\"a\":1}\n{}\n{\"b\":2}").split(), singles);
        assert_eq!(singles[0].split(), singles[..1]);
    }

    #[test]
    fn what_somebody_else_published_has_no_source() {
        assert_eq!(BatchSource::of(&BasicProperties::default()), None);
        assert_eq!(
            BatchSource::of(&BasicProperties::default().with_message_id("m-1".into())),
            None
        );
    }

    #[test]
    fn two_batches_with_the_same_lines_are_distinguished() {
        let at =
            |first| fingerprint(Some(BatchSource { writer: Uuid::from_u128(7), first }), b"{}");
        assert_ne!(at(1), at(2));
        assert_eq!(at(1), at(1));
    }
}
