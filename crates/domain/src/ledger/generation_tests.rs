//! Tests of the state that a new generation of a command inherits.

use super::super::record::*;
use super::tests::{Told, counts, failed, finished, opening, started};
use super::*;
use crate::event::Happening;
use crate::outcome::Failure;

#[test]
fn a_replay_that_is_on_no_record_is_unknown() {
    let dead = || {
        let mut told = Told::default();
        told.start(Guard::Claim(9));
        told.end(failed(Kind::Rejected));
        told
    };
    let step = Step::call(1, 1);
    for (guard, unknown) in [(Guard::Claim(9), true), (Guard::Key(9), true), (Guard::Harmless, false)] {
        let replayed = Started { step, fresh: false, recorded: true, ..started(guard) };
        let ruling = dead().rule(Fact::Started(Box::new(replayed)));
        assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown == unknown), "{guard:?}");
    }
    let (opening, reason) = (opening("c"), Reason::Busy);
    let waits = Opened { opening, step, fresh: false, recorded: true, reason, until: None, by: None };
    let mut told = dead();
    assert!(counts(&told.rule(Fact::Opened(Box::new(waits)))));
    assert!(told.case().unknown && told.case().ending.is_none());
    // The command is given up without a call.
    let expired = finished(step, Happening::Failed(Kind::Expired, Failure::default()));
    let mut told = dead();
    let expired = Finished { call: None, ..expired };
    assert_eq!(told.rule(Fact::Finished(Box::new(expired))), Ruling::Unknown);
}

#[test]
fn an_id_alone_is_believed_only_where_a_version_sent_it_that_knew_no_tokens() {
    let text = |text: &str| Some(text.to_owned());
    for (tokens, known_by_id) in [
        (vec![None], true),
        (vec![text("")], false),
        (vec![text("T")], false),
        // The first request of a generation has the token, whichever instance repeats it.
        (vec![None, text("")], true),
        (vec![text("T"), None], false),
    ] {
        let mut told = Told::default();
        assert!(told.slot.is_none());
        for token in tokens.clone() {
            told.rule(Fact::Started(Box::new(Started { token, redelivered: true, ..started(Guard::Key(9)) })));
        }
        assert_eq!(told.case().is_known_by_id(), known_by_id, "{tokens:?}");
        assert_eq!(told.case().token, tokens[0]);
        told.end(failed(Kind::Unresolved));
        let (opening, person) = (opening("c"), Person { by: "ann".to_owned(), reason: None });
        let replayed = Replayed {
            opening,
            from: 0,
            unknown: false,
            key: None,
            first_sent: None,
            digest: None,
            token: None,
            person,
            job: None,
        };
        told.rule(Fact::Replayed(Box::new(replayed)));
        assert!(!told.case().is_known_by_id(), "nothing of the new generation was sent");
    }
}
