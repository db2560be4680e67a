//! Headers of commands: a state that is read is written the same, and no header on which money
//! depends is ignored.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::table;
use ferryd_broker::headers::{
    ContinuationKind, MessageState, add_own_headers, carried_properties, died_of_age, stamped_at,
    trace,
};
use ferryd_broker::message::get_text;
use ferryd_domain::key::IdempotencyKey;

const KINDS: [ContinuationKind; 5] = [
    ContinuationKind::Retry,
    ContinuationKind::Park,
    ContinuationKind::Replay,
    ContinuationKind::Poll,
    ContinuationKind::Lookup,
];

pub(super) fn check(bytes: &[u8]) {
    let (properties, _) = table::read(bytes);
    let _ = (trace(&properties), stamped_at(&properties), died_of_age(&properties));
    let copy = carried_properties(&properties);
    let own = |name: &str| name.starts_with("ferry-");
    let stays = copy
        .headers()
        .as_ref()
        .is_none_or(|table| !table.inner().keys().any(|name| own(name.as_str())));
    assert!(stays, "a copy has no headers of ferryd's that it was not given");

    let headers = properties.headers().as_ref();
    let Some(state) = MessageState::read(headers) else { return };
    for kind in KINDS {
        let written = add_own_headers(BasicProperties::default(), &state.headers(kind));
        let again = MessageState::read(written.headers().as_ref());
        assert_eq!(again.as_ref(), Some(&state), "what is read is written the same");
    }
    if let Some(headers) = headers {
        nothing_is_passed_over(headers, &state);
    }
}

/// Checks that every header that is present was read.
fn nothing_is_passed_over(headers: &FieldTable, state: &MessageState) {
    let progress = &state.progress;
    let texts = [
        ("ferry-key", progress.key.is_some()),
        ("ferry-digest", progress.digest.is_some()),
        ("ferry-first-sent", progress.first_sent.is_some()),
        ("ferry-unknown-since", progress.unknown_since.is_some()),
        ("ferry-deadline", progress.deadline.is_some()),
        ("ferry-provider-reference", progress.provider_reference.is_some()),
        ("ferry-purpose", progress.query.is_some()),
        ("ferry-expires-at", state.extended_to.is_some()),
        ("ferry-routing-key", state.routing_key.is_some()),
        ("ferry-publisher", state.publisher.is_some()),
    ];
    for (name, understood) in texts {
        assert_eq!(
            headers.inner().contains_key(name),
            understood,
            "`{name}` is understood where it is there"
        );
    }
    assert_eq!(
        get_text(Some(headers), "ferry-key"),
        progress.key.as_ref().map(IdempotencyKey::as_str)
    );
    let flags = [
        ("ferry-unknown", progress.unknown),
        ("ferry-recorded", state.recorded),
        ("ferry-unchecked", state.unchecked),
    ];
    for (name, read) in flags {
        let said = headers.inner().get(name).unwrap_or(&AMQPValue::Boolean(false));
        assert_eq!(*said, AMQPValue::Boolean(read), "`{name}` says yes or no");
    }
}
