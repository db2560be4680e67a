//! The part of a provider file that describes a message to the provider's broker.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::request::{BodyEncoding, ListEncoding};

/// A message to the provider's broker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::rest) struct MessageFile {
    /// The exchange, for AMQP; expressions that may use `account`. Absent: the default exchange, which routes
    /// to the queue that `routing_key` names.
    pub(in crate::rest) exchange: Option<String>,
    /// The routing key, for AMQP, at most 255 bytes; expressions.
    pub(in crate::rest) routing_key: Option<String>,
    /// The subject, of a provider with `protocol = "nats"`; expressions, each of which stays within
    /// one token. A JetStream stream has to listen on it.
    pub(in crate::rest) subject: Option<String>,
    /// The encoding of the body. Default: `json`.
    pub(in crate::rest) encoding: Option<BodyEncoding>,
    /// The encoding of lists in a form. Default: `brackets`.
    pub(in crate::rest) lists: Option<ListEncoding>,
    /// Headers; expressions. A header whose single path is missing is left out.
    #[serde(default)]
    pub(in crate::rest) headers: BTreeMap<String, String>,
    /// The time for which the receiver drops a message whose `message_id` it has seen; a duration.
    /// ferryd then repeats a message whose fate is unknown. Absent: the receiver recognises no
    /// repeat, and a command whose message may have been taken is not sent again.
    pub(in crate::rest) deduplicates: Option<String>,
}
