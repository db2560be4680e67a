//! Writes the parts of a body.

use jiff::Timestamp;
use uuid::Uuid;

use super::texts::KnownTexts;
use ferryd_domain::command::EncodedIdentity;

/// The length of a digest, in hexadecimal digits.
pub(super) const DIGEST_LENGTH: usize = 32;

/// The number in place of a text that is a digest. Greater odd numbers are in place of known texts;
/// an even number is twice the length of a text that follows.
pub(super) const DIGEST: u64 = 1;

/// Writes the parts of a body; [`BodyReader`](super::reader::BodyReader) reads them in the same
/// order.
pub(super) struct BodyWriter<'a> {
    bytes: &'a mut Vec<u8>,
    texts: KnownTexts<'a>,
    /// The place of the byte that takes the next flags, and the bits that are left in it.
    flags: usize,
    free: u8,
    /// The latest time and the latest writer of a record.
    time: Timestamp,
    writer: Uuid,
    /// The latest identity: that of an event is mostly the command's.
    pub identity: Option<&'a EncodedIdentity>,
}

impl<'a> BodyWriter<'a> {
    /// Creates a writer that adds the body of a command to the end of `bytes`.
    pub fn new(id: &'a str, bytes: &'a mut Vec<u8>) -> Self {
        let (texts, time, writer) = (KnownTexts::new(id), Timestamp::UNIX_EPOCH, Uuid::nil());
        Self { bytes, texts, flags: 0, free: 0, time, writer, identity: None }
    }

    /// Writes a flag.
    pub fn put_flag(&mut self, is_set: bool) {
        if self.free == 0 {
            (self.flags, self.free) = (self.bytes.len(), 8);
            self.bytes.push(0);
        }
        self.free -= 1;
        self.bytes[self.flags] |= u8::from(is_set) << self.free;
    }

    /// Writes a byte.
    pub fn put_byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Writes bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes a whole number; a small one takes a byte.
    pub fn put_number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    /// Writes a whole number that may be negative.
    pub fn put_signed(&mut self, number: i64) {
        self.put_number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// Writes a number of things.
    pub fn put_count(&mut self, count: usize) {
        self.put_number(count as u64);
    }

    /// Writes a text.
    pub fn put_text(&mut self, text: &'a str) {
        if let Some(number) = self.texts.number(text) {
            self.put_number(2 * number as u64 + DIGEST + 2);
        } else if let Some(digest) = digest_in(text) {
            self.put_number(DIGEST);
            self.put_bytes(&digest.to_be_bytes());
        } else {
            self.put_number(2 * text.len() as u64);
            self.put_bytes(text.as_bytes());
            self.texts.add(text);
        }
    }

    /// Writes a text that usually begins with `start`.
    pub fn put_after(&mut self, start: &str, text: &'a str) {
        let rest = text.strip_prefix(start);
        self.put_flag(rest.is_some());
        self.put_text(rest.unwrap_or(text));
    }

    /// Writes a time.
    pub fn put_time(&mut self, time: Timestamp) {
        self.put_flag(time == self.time);
        if time != self.time {
            self.put_signed(time.as_second() - self.time.as_second());
            self.put_bytes(&time.subsec_nanosecond().to_le_bytes());
            self.time = time;
        }
    }

    /// Writes the id of a record's writer.
    pub fn put_writer(&mut self, writer: Uuid) {
        self.put_flag(writer == self.writer);
        if writer != self.writer {
            self.put_bytes(writer.as_bytes());
            self.writer = writer;
        }
    }
}

/// Returns the number that a text has the digits of, if the text is a digest.
fn digest_in(text: &str) -> Option<u128> {
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    let is_digest = text.len() == DIGEST_LENGTH && text.bytes().all(is_digit);
    is_digest.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}
