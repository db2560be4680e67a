//! The structure of the table `[inbound]` of a provider file.

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::NoticeRuleFile;

/// The provider's answers by messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InboundFile {
    /// The durable queue at the provider's broker that holds its answers. ferryd consumes the
    /// queue and never declares it.
    pub(super) queue: Option<String>,
    /// True: only the provider may write to the queue, so its messages are trusted like verified
    /// webhooks. Required.
    #[serde(default)]
    pub(super) trusted: bool,
    /// The list of notices in a message: an expression that yields it. In the keys below, `body`
    /// is one of them.
    pub(super) each: Option<String>,
    /// The provider's name for the event, such as `{{ body.type }}`: a word of the event's routing
    /// key.
    pub(super) event: Option<String>,
    /// The provider's id for the notice, by which repeated notices are recognised. Default: the
    /// property `message_id`, with the place of the notice in the message.
    pub(super) id: Option<String>,
    /// The id of the notice's command, or of the message that it answers. Default, without
    /// `reference`: the property `correlation_id`, which must be the id of that message.
    pub(super) command: Option<String>,
    /// The id for the object of the notice, as `response.reference` of the operation states it,
    /// where the notice names no command.
    pub(super) reference: Option<String>,
    /// The meaning of notices for their command; the first that matches decides. A notice without
    /// a match means nothing.
    #[serde(default)]
    pub(super) on: Vec<NoticeRuleFile>,
}
