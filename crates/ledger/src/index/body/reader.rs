//! Reads the parts of a body.

use jiff::Timestamp;
use uuid::Uuid;

use super::texts::KnownTexts;
use super::writer::{DIGEST, DIGEST_LENGTH};
use ferryd_domain::command::EncodedIdentity;

/// The most values that lie one in the other: each takes some of the stack.
const DEEPEST: usize = 256;

/// Reads the parts of a body in the order in which [`BodyWriter`](super::writer::BodyWriter) wrote
/// them. Every function returns `None` where no such part is.
pub(super) struct BodyReader<'a> {
    bytes: &'a [u8],
    texts: KnownTexts<'a>,
    /// The byte that holds the next flags, and the bits that are left in it.
    flags: u8,
    left: u8,
    time: Timestamp,
    writer: Uuid,
    /// The latest identity.
    pub identity: Option<EncodedIdentity>,
    /// The number of values around the one that is read.
    depth: usize,
}

impl<'a> BodyReader<'a> {
    /// Creates a reader of the body of a command.
    pub fn new(id: &'a str, bytes: &'a [u8]) -> Self {
        let (texts, time, writer) = (KnownTexts::new(id), Timestamp::UNIX_EPOCH, Uuid::nil());
        Self { bytes, texts, flags: 0, left: 0, time, writer, identity: None, depth: 0 }
    }

    /// Returns true if everything is read.
    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Begins to read values that are part of one of the same type; `None` where too many are
    /// around them.
    pub fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth < DEEPEST).then_some(())
    }

    /// Ends what [`enter`](Self::enter) began.
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads a flag.
    pub fn take_flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            (self.flags, self.left) = (self.take_byte()?, 8);
        }
        self.left -= 1;
        Some(self.flags >> self.left & 1 == 1)
    }

    /// Reads a byte.
    pub fn take_byte(&mut self) -> Option<u8> {
        self.take_array().map(|[byte]| byte)
    }

    /// Reads so many bytes.
    pub fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*bytes)
    }

    /// Reads a whole number.
    pub fn take_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take_byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Reads a whole number that may be negative.
    pub fn take_signed(&mut self) -> Option<i64> {
        let number = self.take_number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Reads a number of things, each of which takes some of the bytes that follow.
    pub fn take_count(&mut self) -> Option<usize> {
        usize::try_from(self.take_number()?).ok()
    }

    /// Reads a text.
    pub fn take_text(&mut self) -> Option<String> {
        let number = self.take_number()?;
        if number == DIGEST {
            let digest = u128::from_be_bytes(self.take_array()?);
            return Some(format!("{digest:0DIGEST_LENGTH$x}"));
        }
        let half = usize::try_from(number / 2).ok()?;
        if number % 2 == 1 {
            return self.texts.text(half - 1).map(str::to_owned);
        }
        let (text, rest) = self.bytes.split_at_checked(half)?;
        let text = std::str::from_utf8(text).ok()?;
        self.bytes = rest;
        self.texts.add(text);
        Some(text.to_owned())
    }

    /// Reads a text that usually begins with `start`.
    pub fn take_after(&mut self, start: &str) -> Option<String> {
        let begins = self.take_flag()?;
        let text = self.take_text()?;
        Some(if begins { format!("{start}{text}") } else { text })
    }

    /// Reads a time.
    pub fn take_time(&mut self) -> Option<Timestamp> {
        if !self.take_flag()? {
            let second = self.time.as_second().checked_add(self.take_signed()?)?;
            let nanosecond = i32::from_le_bytes(self.take_array()?);
            self.time = Timestamp::new(second, nanosecond).ok()?;
        }
        Some(self.time)
    }

    /// Reads the id of a record's writer.
    pub fn take_writer(&mut self) -> Option<Uuid> {
        if !self.take_flag()? {
            self.writer = Uuid::from_bytes(self.take_array()?);
        }
        Some(self.writer)
    }
}
