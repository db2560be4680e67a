//! Reads the stream line by line, for people, without applying records.

use std::collections::HashMap;

use uuid::Uuid;

use super::batch::{BatchSource, lines};
use super::compression::decompress_body;
use ferryd_broker::stream::StreamEntry;
use ferryd_domain::ledger::record::{LedgerLine, RecordId, UnreadableLine};

/// A line of the ledger, and the message that holds it.
#[derive(Debug)]
pub struct PlacedLine {
    /// The offset of the message.
    pub offset: u64,
    /// The id of the record; `None` where no writer of the ledger sent the message.
    pub id: Option<RecordId>,
    /// The line as it stands.
    pub text: Vec<u8>,
    /// The parsed line.
    pub line: Result<LedgerLine, UnreadableLine>,
}

/// Reads lines and skips repeats.
#[derive(Debug, Default)]
pub struct LineReader {
    highest: HashMap<Uuid, u64>,
}

impl LineReader {
    /// Returns the lines of a message that were not read before.
    pub fn read(&mut self, entry: &StreamEntry) -> Vec<PlacedLine> {
        let offset = entry.offset;
        let read = |id, text: &[u8]| PlacedLine {
            offset,
            id,
            text: text.to_vec(),
            line: LedgerLine::decode(text),
        };
        let unpacked = decompress_body(&entry.properties, &entry.data);
        let (Some(BatchSource { writer, first }), Ok(data)) =
            (BatchSource::of(&entry.properties), unpacked)
        else {
            return vec![read(None, &entry.data)];
        };
        let known = self.highest.entry(writer).or_default();
        let new = (first..).zip(lines(&data)).filter(|(number, _)| number > known);
        let read: Vec<_> =
            new.map(|(number, text)| read(Some(RecordId { writer, number }), text)).collect();
        if let Some(RecordId { number, .. }) = read.last().and_then(|last| last.id) {
            *known = number;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lapin::BasicProperties;

    use super::super::batch::RecordBatch;
    use super::*;

    fn entry(offset: u64, first: u64, body: &[u8]) -> StreamEntry {
        let batch = RecordBatch { first, last: first, body: body.to_vec() };
        let message = batch.into_message("s".into(), Uuid::from_u128(7), Timestamp::UNIX_EPOCH);
        StreamEntry { offset, properties: message.properties, data: message.body }
    }

    #[test]
    fn a_repeated_line_is_read_once() {
        let marker = LedgerLine::marker_line(Timestamp::UNIX_EPOCH);
        let two = [&marker[..], b"\n", &marker].concat();
        let mut reading = LineReader::default();
        let mut numbers = |entry: &StreamEntry| {
            reading
                .read(entry)
                .iter()
                .map(|read| read.id.map_or(0, |id| id.number))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&entry(0, 1, &two)), [1, 2]);
        assert_eq!(numbers(&entry(1, 1, &two)), [0; 0]);
        assert_eq!(numbers(&entry(2, 2, &two)), [3]);
        let nobodys =
            StreamEntry { offset: 3, properties: BasicProperties::default(), data: b"?".to_vec() };
        assert_eq!(numbers(&nobodys), [0]);
    }
}
