//! Tests of the state that a new generation of a command inherits.

use super::super::record::*;
use super::tests::{RuledCommand, counts, failed, finished, sample_identity, started};
use super::*;
use crate::event::EventKind;
use crate::outcome::Failure;

#[test]
fn a_replay_that_is_on_no_record_is_unknown() {
    let dead = || {
        let mut ruled = RuledCommand::default();
        ruled.start(CallGuard::Claim(9));
        ruled.end(failed(FailureKind::Rejected));
        ruled
    };
    let step = Step::call(1, 1);
    for (guard, unknown) in
        [(CallGuard::Claim(9), true), (CallGuard::Key(9), true), (CallGuard::ReadOnly, false)]
    {
        let replayed = StartedRecord { step, fresh: false, recorded: true, ..started(guard) };
        let ruling = dead().rule(RecordBody::Started(Box::new(replayed)));
        assert!(
            matches!(ruling, Ruling::Counts(granted) if granted.unknown == unknown),
            "{guard:?}"
        );
    }
    let (command_identity, reason) = (sample_identity("c"), WaitReason::Busy);
    let waits = OpenedRecord {
        identity: command_identity,
        step,
        fresh: false,
        recorded: true,
        reason,
        until: None,
        submitted_by: None,
    };
    let mut ruled = dead();
    assert!(counts(&ruled.rule(RecordBody::Opened(Box::new(waits)))));
    assert!(ruled.state().unknown && ruled.state().ending.is_none());
    // The command is given up without a call.
    let expired = finished(step, EventKind::Failed(FailureKind::Expired, Failure::default()));
    let mut ruled = dead();
    let expired = FinishedRecord { call: None, ..expired };
    assert_eq!(ruled.rule(RecordBody::Finished(Box::new(expired))), Ruling::Unknown);
}

#[test]
fn the_first_request_of_a_generation_has_the_token_whichever_instance_repeats_it() {
    for tokens in [["", ""], ["T", ""], ["", "T"]] {
        let mut ruled = RuledCommand::default();
        for token in tokens.map(str::to_owned) {
            ruled.rule(RecordBody::Started(Box::new(StartedRecord {
                token,
                redelivered: true,
                ..started(CallGuard::Key(9))
            })));
        }
        assert_eq!(ruled.state().token, tokens[0]);
        ruled.end(failed(FailureKind::Unresolved));
        let replayed = ReplayedRecord {
            identity: sample_identity("c"),
            from: 0,
            unknown: false,
            key: None,
            first_sent: None,
            request_digest: None,
            token: String::new(),
            actor: Actor { by: "ann".to_owned(), reason: None },
            job: None,
        };
        ruled.rule(RecordBody::Replayed(Box::new(replayed)));
        assert_eq!(ruled.state().token, "", "nothing of the new generation was sent");
    }
}
