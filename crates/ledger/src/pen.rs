//! Encodes single records, beside the instances: for `ferryd ledger verify`, which marks how far a
//! daemon has to have read.

use jiff::Timestamp;
use lapin::types::ShortString;
use uuid::Uuid;

use super::batch::Batch;
use ferryd_broker::message::{Message, short_or_empty};
use ferryd_broker::topology::Names;
use ferryd_domain::ledger::record::{Line, Record, RecordId};

/// A writer that encodes one record at a time. The next may be written only after the message of
/// the one before was confirmed; a message may be published again.
#[derive(Debug)]
pub struct Pen {
    writer: Uuid,
    next: u64,
    stream: ShortString,
}

impl Pen {
    /// Creates a new writer.
    #[must_use]
    pub fn new(names: &Names) -> Self {
        let stream = short_or_empty(&names.ledger());
        Self { writer: Uuid::now_v7(), next: 1, stream }
    }

    /// Encodes a marker; returns its id and its message.
    pub fn marker(&mut self, at: Timestamp) -> (RecordId, Message) {
        self.write(Line::marker(at), at)
    }

    /// Encodes a record; returns its id and its message.
    pub fn record(&mut self, record: &Record) -> (RecordId, Message) {
        self.write(record.encode(), record.at)
    }

    fn write(&mut self, body: Vec<u8>, at: Timestamp) -> (RecordId, Message) {
        let number = self.next;
        self.next += 1;
        let batch = Batch { first: number, last: number, body };
        (RecordId { writer: self.writer, number }, batch.into_message(self.stream.clone(), self.writer, at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Source;
    use super::*;

    #[test]
    fn each_record_has_the_next_number_and_names_its_writer() {
        let mut pen = Pen::new(&Names::new("ferry".parse().unwrap()));
        for number in 1..=3 {
            let (id, message) = pen.marker(Timestamp::UNIX_EPOCH);
            assert_eq!(id.number, number);
            assert_eq!(Source::of(&message.properties), Some(Source { writer: id.writer, first: number }));
            assert_eq!(Line::decode(&message.body).unwrap(), Line::Marker);
        }
    }
}
