use super::*;
use crate::domain::ledger::record::Step;
use crate::domain::outcome::Failure;

/// A command that was sent again under another key, after a call that the provider had called `former`.
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
        body: serde_json::Value::Null,
    }
}

#[test]
fn what_is_about_a_call_that_was_given_up_is_told_from_what_is_about_its_replay() {
    let no = || Meaning::Declined(Failure::default());
    let yes = || Meaning::Progress(None);
    for (former, known, generation, told, meaning, expected) in [
        // By the URL that was called.
        (None, None, Some(1), None, no(), About::Latest),
        (None, None, Some(0), None, no(), About::Earlier),
        (None, Some("b"), Some(0), Some("b"), no(), About::Earlier),
        (None, Some("b"), Some(1), Some("c"), no(), About::Latest),
        // By the provider's own id.
        (Some("a"), Some("b"), None, Some("b"), no(), About::Latest),
        (Some("a"), Some("b"), None, Some("a"), no(), About::Earlier),
        (Some("a"), None, None, Some("a"), yes(), About::Earlier),
        // Neither: a "no" waits until the id of the replay is known.
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
