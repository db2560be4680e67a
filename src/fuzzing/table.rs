//! Properties and headers of a message as text, so that seeds can be read and mutated: a line
//! `name:` and value each, an empty line, and the body byte for byte. A value begins with the
//! letter of its type.
//!
//! | letter | type |
//! |---|---|
//! | `s` | long string, any bytes |
//! | `h` | short string |
//! | `b` | boolean: `b1`, `b0` |
//! | `i`, `u` | 64 bits with a sign, 32 bits without |
//! | `d`, `t` | double, timestamp |
//! | `x` | byte array |
//! | `n` | void |

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldTable, LongString, ShortString};

/// Reads properties, headers and body. Lines of another form are skipped.
pub(super) fn read(bytes: &[u8]) -> (BasicProperties, &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let mut headers = FieldTable::default();
    let mut properties = BasicProperties::default();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let Some(name) = short(&line[..colon]) else { continue };
        let Some((letter, value)) = line[colon + 1..].split_first() else { continue };
        match (name.as_str(), short(value)) {
            ("message_id", Some(value)) => properties = properties.with_message_id(value),
            ("content_encoding", Some(value)) => {
                properties = properties.with_content_encoding(value);
            }
            _ => {
                if let Some(value) = typed(*letter, value) {
                    headers.insert(name, value);
                }
            }
        }
    }
    (properties.with_headers(headers), body)
}

fn typed(letter: u8, value: &[u8]) -> Option<AMQPValue> {
    let text = || std::str::from_utf8(value).ok();
    Some(match letter {
        b's' => AMQPValue::LongString(LongString::from(value)),
        b'h' => AMQPValue::ShortString(short(value)?),
        b'b' => AMQPValue::Boolean(value == b"1"),
        b'i' => AMQPValue::LongLongInt(text()?.parse().ok()?),
        b'u' => AMQPValue::LongUInt(text()?.parse().ok()?),
        b'd' => AMQPValue::Double(text()?.parse().ok()?),
        b't' => AMQPValue::Timestamp(text()?.parse().ok()?),
        b'x' => AMQPValue::ByteArray(ByteArray::from(value)),
        b'n' => AMQPValue::Void,
        _ => return None,
    })
}

fn short(bytes: &[u8]) -> Option<ShortString> {
    ShortString::try_new(std::str::from_utf8(bytes).ok()?).ok()
}
