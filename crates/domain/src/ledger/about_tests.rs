use serde_json::json;

use super::*;
use crate::command::{Envelope, Identity};
use crate::event::{Event, Happening, Moment, Trace};
use crate::ledger::record::{RecordId, Step};
use crate::outcome::{Failure, Success};

/// Returns a command that was sent again under another key, after a call whose id at the provider
/// was `former`.
fn replayed(former: Option<&str>, known: Option<&str>) -> Case {
    Case {
        key_since: 1,
        former_reference: former.map(str::to_owned),
        provider_reference: known.map(str::to_owned),
        ..Case::opened(None, Step::call(1, 1))
    }
}

fn notice(generation: Option<u32>, reference: Option<&str>, meaning: Meaning) -> Notice {
    Notice {
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
fn what_is_about_a_call_that_was_given_up_is_told_from_what_is_about_its_replay() {
    let no = || Meaning::Declined(Failure::default());
    let yes = || Meaning::Progress(None);
    for (former, known, generation, told, meaning, expected) in [
        // The token of the called URL decides.
        (None, None, Some(1), None, no(), About::Latest),
        (None, None, Some(0), None, no(), About::Earlier),
        (None, Some("b"), Some(0), Some("b"), no(), About::Earlier),
        (None, Some("b"), Some(1), Some("c"), no(), About::Latest),
        // The provider's own id decides.
        (Some("a"), Some("b"), None, Some("b"), no(), About::Latest),
        (Some("a"), Some("b"), None, Some("a"), no(), About::Earlier),
        (Some("a"), None, None, Some("a"), yes(), About::Earlier),
        // Neither decides: a decline waits until the id of the replay is known.
        (None, None, None, Some("a"), no(), About::Unclear),
        (None, None, None, Some("a"), yes(), About::Latest),
        (None, None, Some(1), Some("a"), no(), About::Latest),
        (None, None, None, None, no(), About::Latest),
    ] {
        let notice = notice(generation, told, meaning);
        assert_eq!(About::of(&notice, &replayed(former, known)), expected, "{former:?} {known:?} {notice:?}");
    }
}

#[test]
fn an_id_that_the_only_call_had_before_is_as_good_as_the_one_it_has() {
    let case = Case { key_since: 0, ..replayed(None, Some("b")) };
    let named = notice(None, Some("a"), Meaning::Nothing);
    let found = Notice { command: None, ..named.clone() };
    assert_eq!([&named, &found].map(|notice| About::of(notice, &case)), [About::Earlier, About::Latest]);
    assert_eq!(About::of(&found, &replayed(None, Some("b"))), About::Earlier);
}

#[test]
fn a_token_beside_the_id_tells_the_call_and_the_providers_own_id_has_to_agree() {
    let no = || Meaning::Declined(Failure::default());
    for (former, known, generation, told, expected) in [
        (None, None, 0, None, About::Earlier),
        (None, None, 1, None, About::Latest),
        (None, None, 1, Some("a"), About::Latest),
        (Some("a"), None, 1, Some("a"), About::Earlier),
        (None, Some("b"), 1, Some("b"), About::Latest),
        (None, Some("b"), 1, Some("c"), About::Earlier),
    ] {
        let notice = Notice { token: Some("T".to_owned()), ..notice(Some(generation), told, no()) };
        assert_eq!(About::of(&notice, &replayed(former, known)), expected, "{former:?} {known:?} {notice:?}");
    }
}

/// Returns a command whose calls have these ids at the provider, over all generations, the latest
/// last.
fn called(references: &[&str], ended: bool) -> Case {
    let mut case = Case::opened(None, Step::call(0, 1));
    case.references = references.iter().map(|reference| (*reference).to_owned()).collect();
    case.provider_reference = case.references.last().cloned();
    if ended {
        let id = Identity::glean(&json!({ "id": "order-1" }), b"", Envelope::default());
        let moment = Moment { generation: 0, attempt: 1, at: jiff::Timestamp::UNIX_EPOCH };
        let success = Success { result: Some(json!({ "capture": { "id": "c" } })), ..Success::default() };
        let event = Event::new(id, moment, Happening::Completed(success), Trace::default());
        let by = RecordId { writer: uuid::Uuid::nil(), number: 1 };
        case.ending = Some(Ending { by, event, letter: None });
    }
    case
}

#[test]
fn what_is_done_under_an_id_that_is_none_of_the_commands_own_is_another_deed() {
    let done = || Meaning::Completed(Success::default());
    let body = |order: &str| json!({ "resource": { "order_id": order, "captures": [1, null, { "id": "x" }] } });
    for (known, ended, generation, told, beside, expected) in [
        // The id is the same.
        (&["a"][..], true, None, "a", "-", About::Latest),
        (&["a"][..], true, Some(0), "a", "-", About::Latest),
        // The notice is about another operation, after the end or before it.
        (&["a"][..], true, None, "b", "-", About::Another),
        (&["a"][..], true, Some(0), "b", "-", About::Another),
        (&["a"][..], false, None, "b", "-", About::Another),
        // The notice is about a call that was given up, and is done after all.
        (&["a"][..], false, Some(3), "b", "-", About::Another),
        (&[][..], false, Some(3), "b", "-", About::Another),
        // The only call may have this id from now on.
        (&["a"][..], false, Some(0), "b", "-", About::Latest),
        (&[][..], false, None, "b", "-", About::Latest),
        (&[][..], true, None, "b", "-", About::Latest),
        // The id is an earlier one of the command, one in its result, or one beside an id of the
        // command.
        (&["a", "b"][..], true, None, "a", "-", About::Earlier),
        (&["a"][..], true, None, "c", "-", About::Earlier),
        (&["a"][..], true, None, "d", "a", About::Earlier),
    ] {
        let notice = Notice { body: body(beside), ..notice(generation, Some(told), done()) };
        let about = About::of(&notice, &called(known, ended));
        assert_eq!(about, expected, "{known:?} {ended} {generation:?} {told} {beside}");
    }
    // A decline of another operation does not concern this command.
    let no = notice(None, Some("b"), Meaning::Declined(Failure::default()));
    assert_eq!(About::of(&no, &called(&["a"], true)), About::Earlier);
}
