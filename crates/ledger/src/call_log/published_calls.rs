//! The calls in the newest messages that this process has published, by which the messages are
//! recorded in the index without being unpacked.
//!
//! A message is known by its property `message_id`. A message that is not known, of another process
//! or of an earlier time, or read once more, is unpacked.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lapin::BasicProperties;
use uuid::Uuid;

use super::super::index::CallMessage;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::record::RecordId;

/// The maximum number of messages that are remembered; about a minute's at the highest load.
const MOST: usize = 256;

/// The calls in the messages that this process has published and not read back.
pub(super) struct PublishedCalls {
    writer: Uuid,
    messages: Mutex<PublishedMessages>,
}

#[derive(Default)]
struct PublishedMessages {
    /// The number of the last message.
    last: u64,
    /// The calls of each message, by the number of the message, in order.
    calls: VecDeque<(u64, CallMessage)>,
}

impl PublishedCalls {
    /// Creates the calls of a process that has published none.
    pub fn new() -> Self {
        Self { writer: Uuid::now_v7(), messages: Mutex::default() }
    }

    /// Remembers the calls of a message that is about to be published. Returns the `message_id` of
    /// the message.
    pub fn add(&self, calls: CallMessage) -> String {
        let mut messages = self.lock();
        messages.last += 1;
        let number = messages.last;
        if messages.calls.len() >= MOST {
            messages.calls.pop_front();
        }
        messages.calls.push_back((number, calls));
        RecordId { writer: self.writer, number }.to_string()
    }

    /// Removes the calls of a message that was read at `offset`; `None` where the message is not
    /// known. Earlier messages are removed too: they came before it, or never arrived.
    pub fn take(&self, properties: &BasicProperties, offset: u64) -> Option<CallMessage> {
        let id: RecordId = properties.message_id().as_ref()?.as_str().parse().ok()?;
        if id.writer != self.writer {
            return None;
        }
        let mut messages = self.lock();
        while let Some((number, mut calls)) = messages.calls.pop_front_if(|(n, _)| *n <= id.number)
        {
            if number == id.number {
                calls.offset = offset;
                return Some(calls);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, PublishedMessages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a call to those of a message.
pub(super) fn add_call(calls: &mut CallMessage, command: &CommandId, at: Timestamp) {
    calls.add(command.as_str(), u64::try_from(at.as_second()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> BasicProperties {
        BasicProperties::default().with_message_id(id.into())
    }

    fn calls(command: &str, offset: u64) -> CallMessage {
        let mut calls = CallMessage::new(offset);
        add_call(&mut calls, &command.parse().unwrap(), Timestamp::UNIX_EPOCH);
        calls
    }

    #[test]
    fn a_message_is_known_once_and_to_its_process_alone() {
        let (published, other) = (PublishedCalls::new(), PublishedCalls::new());
        let ids: Vec<String> =
            ["a", "b", "c"].map(|command| published.add(calls(command, 0))).into();
        other.add(calls("x", 0));
        assert_eq!(other.take(&message(&ids[0]), 7), None, "another process");
        assert_eq!(published.take(&message(&ids[0]), 7), Some(calls("a", 7)));
        assert_eq!(published.take(&message(&ids[0]), 8), None, "published again");
        assert_eq!(published.take(&message(&ids[2]), 9), Some(calls("c", 9)));
        assert_eq!(published.take(&message(&ids[1]), 10), None, "earlier than one already read");
        for foreign in ["", "m-1", "00000000-0000-0000-0000-000000000000.1"] {
            assert_eq!(published.take(&message(foreign), 11), None, "{foreign}");
        }
        assert_eq!(published.take(&BasicProperties::default(), 12), None);
    }

    #[test]
    fn where_nobody_reads_only_the_newest_messages_are_remembered() {
        let published = PublishedCalls::new();
        let ids: Vec<String> = (0..=MOST).map(|_| published.add(calls("a", 0))).collect();
        assert_eq!(published.lock().calls.len(), MOST);
        assert_eq!(published.take(&message(&ids[0]), 0), None);
        assert!(published.take(&message(&ids[1]), 1).is_some());
    }
}
