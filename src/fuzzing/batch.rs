//! Messages of the ledger's stream: any input is unpacked without a panic, and lines packed into a
//! message are unpacked unchanged.

use jiff::Timestamp;
use uuid::Uuid;

use super::table;
use ferryd_ledger::batch::{BatchSource, RecordBatch, fingerprint, lines};
use ferryd_ledger::compression::decompress_body;

/// The size in bytes from which on a body is certainly packed.
const PACKED: usize = 2_048;

pub(super) fn check(bytes: &[u8]) {
    let (properties, body) = table::read(bytes);
    let source = BatchSource::of(&properties);
    let unpacked = decompress_body(&properties, body);
    if properties.content_encoding().is_none() {
        assert_eq!(unpacked.as_deref(), Ok(body), "what is not packed is taken as it is");
    }
    let Ok(unpacked) = unpacked else { return };
    let first = source.map_or(1, |source| source.first);
    assert_comes_out(&unpacked, first);
    if !unpacked.is_empty() && unpacked.len() < PACKED {
        assert_comes_out(&unpacked.repeat(1 + PACKED / unpacked.len()), first);
    }
}

fn assert_comes_out(body: &[u8], first: u64) {
    let writer = Uuid::from_u128(7);
    let batch = RecordBatch { first, last: first, body: body.to_vec() };
    let message = batch.into_message("ferry.ledger".into(), writer, Timestamp::UNIX_EPOCH);
    let source = BatchSource::of(&message.properties);
    assert_eq!(source, Some(BatchSource { writer, first }), "a message says whose lines it has");
    let unpacked = decompress_body(&message.properties, &message.body);
    assert_eq!(unpacked.as_deref(), Ok(body), "what was packed is unpacked as it was");
    assert_eq!(lines(body).collect::<Vec<_>>().join(&b'\n'), body, "lines are all of a body");
    assert_eq!(fingerprint(source, &message.body), fingerprint(source, &message.body));
}
