//! The queue at a provider's broker that holds its answers.
//!
//! Its messages are read like webhooks, by the same keys. Nothing verifies a message: the file
//! states that only the provider may write to the queue. So a reader of such messages is no
//! [`WebhookReceiver`](crate::WebhookReceiver), and no endpoint can use it.

use super::notice::NoticeReader;
use ferryd_domain::webhook::{RawWebhook, WebhookNotice};
use ferryd_redact::UnmaskedValue;

/// The queue at a provider's broker that holds the answers to an account's commands.
pub struct InboundQueue {
    /// The queue's name.
    pub queue: String,
    pub(super) reading: NoticeReader,
    /// The variable `secrets` of expressions.
    pub(super) secrets: minijinja::Value,
}

impl InboundQueue {
    /// Reads the notices of a message; all of them, or an error that describes the unreadable
    /// part, for people.
    #[must_use]
    pub fn read_notices(
        &self,
        message: &RawWebhook,
    ) -> UnmaskedValue<Result<Vec<WebhookNotice>, String>> {
        UnmaskedValue::new(self.reading.notices(message, self.secrets.clone()))
    }
}
