use serde_json::json;

use super::*;
use crate::command::{CommandEnvelope, EchoedIdentity};
use crate::event::{Event, EventKind, EventMoment, TraceContext};
use crate::ledger::record::{RecordId, Step};
use crate::outcome::{Failure, Success};

/// Returns a command that was sent again under another key, after a call whose id at the provider
/// was `former`.
fn replayed(former: Option<&str>, known: Option<&str>) -> CommandState {
    CommandState {
        key_since: 1,
        former_reference: former.map(str::to_owned),
        provider_reference: known.map(str::to_owned),
        ..CommandState::opened(None, Step::call(1, 1))
    }
}

fn notice(
    generation: Option<u32>,
    reference: Option<&str>,
    meaning: NoticeMeaning,
) -> WebhookNotice {
    WebhookNotice {
        event: None,
        id: None,
        command: "order-1".parse().ok(),
        token: None,
        generation,
        reference: reference.map(str::to_owned),
        meaning,
        amount: None,
        body: serde_json::Value::Null,
    }
}

#[test]
fn notices_about_a_call_that_was_given_up_are_distinguished_from_those_about_its_replay() {
    let no = || NoticeMeaning::Declined(Failure::default());
    let yes = || NoticeMeaning::Progress(None);
    for (former, known, generation, reference, meaning, expected) in [
        // The token of the called URL decides.
        (None, None, Some(1), None, no(), CallMatch::Latest),
        (None, None, Some(0), None, no(), CallMatch::Earlier),
        (None, Some("b"), Some(0), Some("b"), no(), CallMatch::Earlier),
        (None, Some("b"), Some(1), Some("c"), no(), CallMatch::Latest),
        // The provider's own id decides.
        (Some("a"), Some("b"), None, Some("b"), no(), CallMatch::Latest),
        (Some("a"), Some("b"), None, Some("a"), no(), CallMatch::Earlier),
        (Some("a"), None, None, Some("a"), yes(), CallMatch::Earlier),
        // Neither decides: a decline waits until the id of the replay is known.
        (None, None, None, Some("a"), no(), CallMatch::Unclear),
        (None, None, None, Some("a"), yes(), CallMatch::Latest),
        (None, None, Some(1), Some("a"), no(), CallMatch::Latest),
        (None, None, None, None, no(), CallMatch::Latest),
    ] {
        let notice = notice(generation, reference, meaning);
        assert_eq!(
            CallMatch::of(&notice, &replayed(former, known)),
            expected,
            "{former:?} {known:?} {notice:?}"
        );
    }
}

/// All messages of a command have its reference in common, so only their ids tell them apart.
#[test]
fn a_decline_from_a_queue_that_may_be_about_an_earlier_message_is_unclear() {
    let no = || NoticeMeaning::Declined(Failure::default());
    let yes = || NoticeMeaning::Completed(Success::default());
    for (generation, reference, meaning, expected) in [
        (None, None, no(), CallMatch::Unclear),
        (None, Some("b"), no(), CallMatch::Unclear),
        (None, Some("b"), yes(), CallMatch::Latest),
        (Some(1), Some("b"), no(), CallMatch::Latest),
        (Some(0), Some("b"), no(), CallMatch::Earlier),
        (Some(0), Some("b"), yes(), CallMatch::Earlier),
    ] {
        let notice = notice(generation, reference, meaning);
        let found = CallMatch::of_answer(&notice, &replayed(None, Some("b")));
        assert_eq!(found, expected, "{notice:?}");
    }
    let first = CommandState { key_since: 0, ..replayed(None, Some("b")) };
    assert_eq!(CallMatch::of_answer(&notice(None, None, no()), &first), CallMatch::Latest);
}

#[test]
fn an_id_that_the_only_call_had_before_is_as_good_as_the_one_it_has() {
    let state = CommandState { key_since: 0, ..replayed(None, Some("b")) };
    let named = notice(None, Some("a"), NoticeMeaning::Nothing);
    let found = WebhookNotice { command: None, ..named.clone() };
    assert_eq!(
        [&named, &found].map(|notice| CallMatch::of(notice, &state)),
        [CallMatch::Earlier, CallMatch::Latest]
    );
    assert_eq!(CallMatch::of(&found, &replayed(None, Some("b"))), CallMatch::Earlier);
}

#[test]
fn a_token_beside_the_id_identifies_the_call_and_the_providers_own_id_has_to_agree() {
    let no = || NoticeMeaning::Declined(Failure::default());
    for (former, known, generation, reference, expected) in [
        (None, None, 0, None, CallMatch::Earlier),
        (None, None, 1, None, CallMatch::Latest),
        (None, None, 1, Some("a"), CallMatch::Latest),
        (Some("a"), None, 1, Some("a"), CallMatch::Earlier),
        (None, Some("b"), 1, Some("b"), CallMatch::Latest),
        (None, Some("b"), 1, Some("c"), CallMatch::Earlier),
    ] {
        let notice = WebhookNotice {
            token: Some("T".to_owned()),
            ..notice(Some(generation), reference, no())
        };
        assert_eq!(
            CallMatch::of(&notice, &replayed(former, known)),
            expected,
            "{former:?} {known:?} {notice:?}"
        );
    }
}

/// Returns a command whose calls have these ids at the provider, over all generations, the latest
/// last.
fn called(references: &[&str], ended: bool) -> CommandState {
    let mut state = CommandState::opened(None, Step::call(0, 1));
    state.references = references.iter().map(|reference| (*reference).to_owned()).collect();
    state.provider_reference = state.references.last().cloned();
    if ended {
        let id = EchoedIdentity::glean_identity(
            &json!({ "id": "order-1" }),
            b"",
            CommandEnvelope::default(),
        );
        let moment = EventMoment { generation: 0, attempt: 1, at: jiff::Timestamp::UNIX_EPOCH };
        let success =
            Success { result: Some(json!({ "capture": { "id": "c" } })), ..Success::default() };
        let event = Event::new(id, moment, EventKind::Completed(success), TraceContext::default());
        let by = RecordId { writer: uuid::Uuid::nil(), number: 1 };
        state.ending = Some(CommandEnding { by, event: event.into(), letter: None });
    }
    state
}

#[test]
fn a_completion_under_an_id_that_is_none_of_the_commands_own_is_another_transaction() {
    let done = || NoticeMeaning::Completed(Success::default());
    let body = |order: &str| json!({ "resource": { "order_id": order, "captures": [1, null, { "id": "x" }] } });
    for (known, ended, generation, reference, beside, expected) in [
        // The id is the same.
        (&["a"][..], true, None, "a", "-", CallMatch::Latest),
        (&["a"][..], true, Some(0), "a", "-", CallMatch::Latest),
        // The notice is about another operation, after the end or before it.
        (&["a"][..], true, None, "b", "-", CallMatch::Another),
        (&["a"][..], true, Some(0), "b", "-", CallMatch::Another),
        (&["a"][..], false, None, "b", "-", CallMatch::Another),
        // The notice is about a call that was given up, and is done after all.
        (&["a"][..], false, Some(3), "b", "-", CallMatch::Another),
        (&[][..], false, Some(3), "b", "-", CallMatch::Another),
        // The only call may have this id from now on.
        (&["a"][..], false, Some(0), "b", "-", CallMatch::Latest),
        (&[][..], false, None, "b", "-", CallMatch::Latest),
        (&[][..], true, None, "b", "-", CallMatch::Latest),
        // The id is an earlier one of the command, one in its result, or one beside an id of the
        // command.
        (&["a", "b"][..], true, None, "a", "-", CallMatch::Earlier),
        (&["a"][..], true, None, "c", "-", CallMatch::Earlier),
        (&["a"][..], true, None, "d", "a", CallMatch::Earlier),
    ] {
        let notice =
            WebhookNotice { body: body(beside), ..notice(generation, Some(reference), done()) };
        let about = CallMatch::of(&notice, &called(known, ended));
        assert_eq!(about, expected, "{known:?} {ended} {generation:?} {reference} {beside}");
    }
    // A decline of another operation does not concern this command.
    let no = notice(None, Some("b"), NoticeMeaning::Declined(Failure::default()));
    assert_eq!(CallMatch::of(&no, &called(&["a"], true)), CallMatch::Earlier);
}
