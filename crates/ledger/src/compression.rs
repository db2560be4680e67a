//! Compresses the bodies of messages in the streams. Lines of JSON repeat themselves and each
//! other, and the broker pays for every byte: with its processor, and for as long as the stream
//! keeps it with its disk.
//!
//! The form is an LZ4 frame, which the program `lz4` reads as well; the property `content_encoding`
//! names it. A short body stays as it is.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};

use lapin::BasicProperties;
use lapin::types::ShortString;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

/// The value of the property `content_encoding` of a compressed body.
const ENCODING: &str = "lz4";
/// The size in bytes from which on a body is compressed.
const WORTH_WHILE: usize = 1024;
/// The maximum size of an unpacked body, in bytes. No body of ferryd's reaches it.
const MOST: u64 = 64 << 20;

/// An error of unpacking a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The encoding is unknown; a later version of ferryd may write it.
    #[error("its content encoding `{0}` is not known to this version")]
    Foreign(String),
    /// The body is not an LZ4 frame.
    #[error("it can't be unpacked: {0}")]
    Broken(String),
    /// The unpacked body exceeds the limit; it may be meant to exhaust the memory.
    #[error("it unpacks to more than 64 MiB")]
    TooLarge,
}

/// Compresses a body where that is worth while, and sets `content_encoding` in its properties.
pub(super) fn compress_body(
    properties: BasicProperties,
    body: Vec<u8>,
) -> (BasicProperties, Vec<u8>) {
    if body.len() < WORTH_WHILE {
        return (properties, body);
    }
    let mut encoder = FrameEncoder::new(Vec::with_capacity(body.len() / 2));
    // Writing to memory never fails.
    match encoder.write_all(&body).map(|()| encoder.finish()) {
        Ok(Ok(packed)) => (properties.with_content_encoding(ENCODING.into()), packed),
        _ => (properties, body),
    }
}

/// Unpacks a body.
///
/// # Errors
/// [`UnpackError`].
pub fn decompress_body<'a>(
    properties: &BasicProperties,
    body: &'a [u8],
) -> Result<Cow<'a, [u8]>, UnpackError> {
    match properties.content_encoding().as_ref().map(ShortString::as_str) {
        None | Some("") => return Ok(Cow::Borrowed(body)),
        Some(ENCODING) => {}
        Some(other) => return Err(UnpackError::Foreign(other.to_owned())),
    }
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(4).min(1 << 20));
    let read = FrameDecoder::new(body).take(MOST).read_to_end(&mut unpacked);
    match read {
        Err(error) => Err(UnpackError::Broken(error.to_string())),
        Ok(bytes) if bytes as u64 >= MOST => Err(UnpackError::TooLarge),
        Ok(_) => Ok(Cow::Owned(unpacked)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|n| {
                format!("{{\"v\":1,\"kind\":\"settled\",\"command\":\"c-{n}\"}}\n").into_bytes()
            })
            .collect()
    }

    #[test]
    fn what_was_packed_is_unpacked_as_it_was_and_is_smaller() {
        for count in [0, 1, 10, 50, 5_000, 50_000] {
            let body = lines(count);
            let (properties, packed) = compress_body(BasicProperties::default(), body.clone());
            assert_eq!(decompress_body(&properties, &packed).unwrap(), body);
            assert_eq!(
                properties.content_encoding().is_some(),
                body.len() >= WORTH_WHILE,
                "{count}"
            );
            assert!(
                packed.len() < body.len() / 2 || body.len() < WORTH_WHILE,
                "{count}: {}",
                packed.len()
            );
        }
    }

    #[test]
    fn what_cannot_be_unpacked_says_why() {
        let packed =
            |encoding: &str| BasicProperties::default().with_content_encoding(encoding.into());
        assert_eq!(
            decompress_body(&packed("zstd"), b"x"),
            Err(UnpackError::Foreign("zstd".to_owned()))
        );
        assert!(matches!(
            decompress_body(&packed("lz4"), b"no frame"),
            Err(UnpackError::Broken(_))
        ));
        let (properties, frame) = compress_body(BasicProperties::default(), lines(5_000));
        assert!(matches!(
            decompress_body(&properties, &frame[..frame.len() / 2]),
            Err(UnpackError::Broken(_))
        ));
        let (properties, bomb) = compress_body(BasicProperties::default(), vec![b' '; 65 << 20]);
        assert_eq!(decompress_body(&properties, &bomb), Err(UnpackError::TooLarge));
    }
}
