//! Encodes single records, beside the instances: for `ferryd ledger verify`, which marks how far a
//! daemon has to have read.

use jiff::Timestamp;
use lapin::types::ShortString;
use uuid::Uuid;

use super::batch::RecordBatch;
use ferryd_broker::message::{OutgoingMessage, short_or_empty};
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::ledger::record::{LedgerLine, Record, RecordId};

/// A writer that encodes one record at a time. The next may be written only after the message of
/// the one before was confirmed; a message may be published again.
#[derive(Debug)]
pub struct RecordEncoder {
    writer: Uuid,
    next: u64,
    stream: ShortString,
}

impl RecordEncoder {
    /// Creates a new writer.
    #[must_use]
    pub fn new(names: &TopologyNames) -> Self {
        let stream = short_or_empty(&names.ledger());
        Self { writer: Uuid::now_v7(), next: 1, stream }
    }

    /// Encodes a marker; returns its id and its message.
    pub fn encode_marker(&mut self, at: Timestamp) -> (RecordId, OutgoingMessage) {
        self.write(LedgerLine::marker_line(at), at)
    }

    /// Encodes a record; returns its id and its message.
    pub fn encode_record(&mut self, record: &Record) -> (RecordId, OutgoingMessage) {
        self.write(record.encode(), record.at)
    }

    fn write(&mut self, body: Vec<u8>, at: Timestamp) -> (RecordId, OutgoingMessage) {
        let number = self.next;
        self.next += 1;
        let batch = RecordBatch { first: number, last: number, body };
        (
            RecordId { writer: self.writer, number },
            batch.into_message(self.stream.clone(), self.writer, at),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::BatchSource;
    use super::*;

    #[test]
    fn each_record_has_the_next_number_and_names_its_writer() {
        let mut encoder = RecordEncoder::new(&TopologyNames::new("ferry".parse().unwrap()));
        for number in 1..=3 {
            let (id, message) = encoder.encode_marker(Timestamp::UNIX_EPOCH);
            assert_eq!(id.number, number);
            assert_eq!(
                BatchSource::of(&message.properties),
                Some(BatchSource { writer: id.writer, first: number })
            );
            assert_eq!(LedgerLine::decode(&message.body).unwrap(), LedgerLine::Marker);
        }
    }
}
