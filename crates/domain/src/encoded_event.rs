//! An event with its JSON form, which is written once: the record of a decision, the state of the
//! command and the message contain the same text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::command::EchoedIdentity;
use super::event::Event;

/// An event that does not change any more, with its JSON form. Copies share both.
#[derive(Clone)]
pub struct EncodedEvent(Arc<EventWithJson>);

struct EventWithJson {
    event: Event,
    json: Box<RawValue>,
}

impl EncodedEvent {
    /// Returns the event in its JSON form.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.json.get()
    }

    /// Returns a copy of the event with changes.
    #[must_use]
    pub fn with_changes(&self, change: impl FnOnce(&mut Event)) -> Self {
        let mut event = self.0.event.clone();
        change(&mut event);
        event.into()
    }

    /// Fills in the names of a command that ended before they were known, from the later `command`;
    /// any other event stays as it is.
    #[must_use]
    pub fn with_names(&self, command: &EchoedIdentity) -> Self {
        match self.0.event.with_names(command) {
            Cow::Borrowed(_) => self.clone(),
            Cow::Owned(event) => event.into(),
        }
    }
}

impl From<Event> for EncodedEvent {
    fn from(event: Event) -> Self {
        // An event is plain data; it always has a JSON form.
        let json = to_raw_value(&event).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(Arc::new(EventWithJson { event, json }))
    }
}

impl Deref for EncodedEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0.event
    }
}

impl PartialEq for EncodedEvent {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for EncodedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Serialize for EncodedEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EncodedEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let event = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        Ok(Self(Arc::new(EventWithJson { event, json })))
    }
}

impl JsonSchema for EncodedEvent {
    fn schema_name() -> Cow<'static, str> {
        Event::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Event::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Event::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::event::{EventKind, EventMoment, TraceContext};
    use crate::outcome::Success;

    fn completed() -> Event {
        let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let success = Success {
            result: Some(serde_json::json!({"id": "ch_1", "amount": 1.50, "note": "ü \"\n"})),
            ..Success::default()
        };
        let identity = EchoedIdentity::unknown("a".parse().unwrap());
        Event::new(identity, moment, EventKind::Completed(success), TraceContext::default())
    }

    #[test]
    fn the_text_is_that_of_the_event_wherever_it_is_written() {
        let encoded = EncodedEvent::from(completed());
        assert_eq!(encoded.json(), serde_json::to_string(&completed()).unwrap());
        assert_eq!(serde_json::to_string(&[&encoded]).unwrap(), format!("[{}]", encoded.json()));
        assert_eq!(
            serde_json::to_value(&encoded).unwrap(),
            serde_json::to_value(completed()).unwrap()
        );
    }

    #[test]
    fn an_event_is_read_with_its_text() {
        let written = EncodedEvent::from(completed());
        let read: EncodedEvent = serde_json::from_str(written.json()).unwrap();
        assert_eq!((&read, read.json()), (&written, written.json()));
        let value: Value = serde_json::from_str(written.json()).unwrap();
        let read: EncodedEvent = serde_json::from_value(value).unwrap();
        assert_eq!((&read, read.json()), (&written, written.json()));
        assert!(serde_json::from_str::<EncodedEvent>("{}").is_err());
    }

    #[test]
    fn changes_and_names_leave_the_original_as_it_is() {
        let encoded = EncodedEvent::from(completed());
        let changed = encoded.with_changes(|event| event.data.result = None);
        assert!(encoded.json().contains("ch_1") && !changed.json().contains("ch_1"));
        let identity = EchoedIdentity {
            provider: Some("stripe".parse().unwrap()),
            ..encoded.data.command.clone()
        };
        let named = encoded.with_names(&identity);
        assert!(named.json().contains("/ferryd/stripe"), "{named:?}");
        assert_eq!(named.with_names(&EchoedIdentity::unknown(identity.id)), named);
    }
}
