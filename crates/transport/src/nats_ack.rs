//! Reads the answer of a stream to a message: an acknowledgement with stream and number, or an
//! error.

use serde::Deserialize;

use ferryd_domain::message_call::MessageResult;
use ferryd_domain::outcome::Failure;

/// The error codes of the JetStream API for a message that is too large, and for a sealed stream. The
/// stream decides both before it stores anything. For other codes a server may have stored the
/// message first, or another server of its cluster may have.
const REFUSALS: [u32; 2] = [10054, 10109];

/// The error code of a message that could not be stored, whatever the reason.
const STORE_FAILED: u32 = 10077;

/// The reasons of [`STORE_FAILED`] that a stream has before it writes anything.
const LIMITS: [&str; 3] = [
    "maximum messages exceeded",
    "maximum bytes exceeded",
    "maximum messages per subject exceeded",
];

/// The most characters of a server's text that are shown.
const LONGEST_TEXT: usize = 400;

/// The answer of a stream.
#[derive(Deserialize)]
struct StreamAnswer {
    #[serde(default)]
    error: Option<StreamError>,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
}

/// An error of the JetStream API.
#[derive(Deserialize)]
struct StreamError {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Reads the answer to a message. A stream that has the message already acknowledges it as well.
/// A refusal proves that nothing is stored only where the stream decides it before it stores.
pub(super) fn read(answer: &[u8]) -> MessageResult {
    match serde_json::from_slice(answer) {
        Ok(StreamAnswer { error: Some(error), .. }) => refusal(&error),
        Ok(StreamAnswer { error: None, stream, seq: 1.. }) if !stream.is_empty() => {
            MessageResult::Acknowledged
        }
        Ok(_) | Err(_) => MessageResult::Incomplete(Failure::new(
            "protocol",
            "the answer is not that of a stream: does another service listen on the subject?",
        )),
    }
}

fn refusal(error: &StreamError) -> MessageResult {
    let StreamError { err_code, description } = error;
    let text: String = description.chars().take(LONGEST_TEXT).collect();
    let text = format!("the stream refused the message: {text} ({err_code})");
    let is_limit = LIMITS.contains(&description.as_str());
    if REFUSALS.contains(err_code) || *err_code == STORE_FAILED && is_limit {
        return MessageResult::NotSent(Failure::new("refused", text));
    }
    MessageResult::Incomplete(Failure::new("stream_error", text))
}

#[cfg(test)]
#[path = "nats_ack_tests.rs"]
mod tests;
