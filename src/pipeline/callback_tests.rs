use super::*;
use crate::domain::ledger::record::{Person, Replayed};
use crate::domain::outcome::Failure;
use crate::pipeline::parcel::tests::parcel;

/// A command that was sent again under another key, after a call that the provider had called `former`.
fn replayed(former: Option<&str>, known: Option<&str>) -> Case {
    let person = Person { by: "ann".to_owned(), reason: None };
    let opening = parcel(None).opening().clone();
    let replayed = Replayed { opening, from: 0, unknown: false, key: None, first_sent: None, digest: None, person };
    let record = Record {
        at: Timestamp::UNIX_EPOCH,
        command: "order-1".parse().unwrap(),
        fact: Fact::Replayed(Box::new(replayed)),
    };
    let (mut slot, id) = (None, RecordId { writer: uuid::Uuid::nil(), number: 1 });
    Case::rule(&mut slot, id, &record);
    Case { former_reference: former.map(str::to_owned), provider_reference: known.map(str::to_owned), ..slot.unwrap() }
}

fn notice(generation: Option<u32>, reference: Option<&str>, meaning: Meaning) -> Notice {
    Notice {
        event: None,
        id: None,
        command: "order-1".parse().ok(),
        generation,
        reference: reference.map(str::to_owned),
        meaning,
        body: serde_json::Value::Null,
    }
}

#[test]
fn what_is_about_a_call_that_was_given_up_is_told_from_what_is_about_its_replay() {
    let no = || Meaning::Declined(Failure::default());
    let yes = || Meaning::Progress(None);
    for (former, known, generation, told, meaning, expected) in [
        // By the URL that was called.
        (None, None, Some(1), None, no(), Call::Latest),
        (None, None, Some(0), None, no(), Call::Earlier),
        (None, Some("b"), Some(0), Some("b"), no(), Call::Earlier),
        // By the provider's own id.
        (Some("a"), Some("b"), None, Some("b"), no(), Call::Latest),
        (Some("a"), Some("b"), None, Some("a"), no(), Call::Earlier),
        (Some("a"), None, None, Some("a"), yes(), Call::Earlier),
        // Neither: a "no" waits until the id of the replay is known.
        (None, None, None, Some("a"), no(), Call::Unclear),
        (None, None, None, Some("a"), yes(), Call::Latest),
        (None, None, Some(1), Some("a"), no(), Call::Latest),
        (None, None, None, None, no(), Call::Latest),
    ] {
        let notice = notice(generation, told, meaning);
        assert_eq!(call_of(&notice, &replayed(former, known)), expected, "{former:?} {known:?} {notice:?}");
    }
}
