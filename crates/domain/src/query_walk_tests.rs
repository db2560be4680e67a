//! Tests that a command ends whatever a provider answers, and is not called again where that may
//! act twice.

use proptest::prelude::*;

use super::tests::{at, failure, limits, lookup, poll, secs};
use super::*;
use crate::lifecycle::{Admission, decide_after_call, decide_before_call, note_outcome};

/// The request to the provider, and a "not found" in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MadeCall {
    Nothing,
    Call,
    Poll,
    Lookup { absent: bool },
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed(Success::default())),
        Just(Outcome::Waiting(Success::default(), WaitingFor::Provider)),
        Just(Outcome::Declined(failure())),
        Just(Outcome::Rejected(failure())),
        Just(Outcome::Transient(failure(), None)),
        Just(Outcome::Unknown(failure())),
        Just(Outcome::Lookup(failure())),
    ]
}

/// Generates the provider's answers to a call, a poll and a lookup, whichever of them comes next.
/// Answers that do not end the command are likelier.
fn answers() -> impl Strategy<Value = (Outcome, PollOutcome, LookupOutcome)> {
    let call = prop_oneof![
        3 => prop_oneof![Just(Outcome::Unknown(failure())), Just(Outcome::Transient(failure(), None))],
        1 => outcomes(),
    ];
    let polled = prop_oneof![
        8 => Just(PollOutcome::Still(None)),
        1 => Just(PollOutcome::Completed(Success::default())),
        1 => Just(PollOutcome::Declined(failure())),
    ];
    let looked_up = prop_oneof![
        3 => Just(LookupOutcome::Absent(failure())),
        2 => Just(LookupOutcome::Unclear(failure())),
        2 => outcomes().prop_map(LookupOutcome::Found),
    ];
    (call, polled, looked_up)
}

/// A command on its way through the pipeline, without the waits.
struct CommandWalk {
    progress: GenerationProgress,
    limits: AttemptLimits,
    now: Timestamp,
}

impl CommandWalk {
    /// Does the next action of the command, and returns the request and the decision on its answer;
    /// `None` where the command only waited.
    fn step(
        &mut self,
        answers: (Outcome, PollOutcome, LookupOutcome),
    ) -> Option<(MadeCall, Decision)> {
        let (call, polled, looked_up) = answers;
        let Some(query) = self.progress.query else {
            if let Admission::Instead(decision) =
                decide_before_call(&self.progress, &self.limits, self.now)
            {
                return Some((MadeCall::Nothing, *decision));
            }
            self.progress.first_sent.get_or_insert(self.now);
            note_outcome(&mut self.progress, &call, self.now);
            let decision = decide_after_call(call, &self.progress, &self.limits, self.now, 0.5);
            return Some((MadeCall::Call, decision));
        };
        let query = match decide_before_query(query, &self.progress, &self.limits, self.now) {
            QueryAction::Now(query) => query,
            QueryAction::Park(rung) => {
                self.now = after(self.now, rung.duration());
                return None;
            }
            QueryAction::Instead(decision) => return Some((MadeCall::Nothing, *decision)),
        };
        self.progress.query = Some(query);
        Some(match query.purpose {
            QueryPurpose::Poll => (
                MadeCall::Poll,
                decide_after_poll(polled, query, &self.progress, &self.limits, self.now),
            ),
            QueryPurpose::Lookup => {
                if !self.progress.unknown {
                    self.progress.mark_unknown(self.now);
                }
                let absent = matches!(looked_up, LookupOutcome::Absent(_));
                let decision = decide_after_lookup(
                    looked_up,
                    query,
                    &mut self.progress,
                    &self.limits,
                    self.now,
                    0.5,
                );
                (MadeCall::Lookup { absent }, decision)
            }
        })
    }

    /// Continues by the decision; returns false if the command has ended.
    fn follow(&mut self, decision: Decision) -> bool {
        match decision {
            Decision::Complete(_) | Decision::GiveUp(..) => return false,
            Decision::Wait(accepted) => {
                self.progress.deadline = Some(accepted.deadline);
                self.progress.query = Some(accepted.query);
            }
            Decision::Query(query, _) => self.progress.query = Some(query),
            Decision::Retry { due, .. } => {
                self.progress.attempt += 1;
                self.progress.query = None;
                self.now = due;
            }
        }
        true
    }
}

proptest! {
    #[test]
    fn every_command_ends_and_only_a_proved_absence_lets_a_doubtful_one_be_called_again_without_a_key(
        script in prop::collection::vec(answers(), 1..40),
        (polls, looks, proves, key) in any::<(bool, bool, bool, bool)>(),
    ) {
        let limits = AttemptLimits {
            poll: polls.then(|| poll(5, 600)),
            lookup: looks.then(|| lookup(proves)),
            key_retention: key.then(|| secs(86_400)),
            ..limits()
        };
        let mut walk = CommandWalk { progress: GenerationProgress::first_generation(at(0)), limits, now: at(0) };
        let mut going = true;
        for answers in script.into_iter().cycle().take(2_000) {
            let (doubted, number) = (walk.progress.unknown, walk.progress.query.map(|query| query.number));
            let Some((answered, decision)) = walk.step(answers) else { continue };
            let proved = answered == MadeCall::Lookup { absent: true } && proves;
            if let Decision::Retry { .. } = decision {
                prop_assert!(answered == MadeCall::Call || proved, "{answered:?}");
                prop_assert!(!walk.progress.unknown || key, "a doubtful call is repeated without a key");
                prop_assert!(walk.progress.deadline.is_none(), "what was accepted is called again");
            }
            if let Decision::GiveUp(kind, _) = &decision {
                let claims = !matches!(kind, FailureKind::Unresolved | FailureKind::Declined);
                prop_assert!(!claims || !doubted || proved, "{kind:?} after {answered:?}");
            }
            if let (Decision::Query(next, _), Some(number)) = (&decision, number) {
                prop_assert!(next.number > number, "two queries share a number");
            }
            going = walk.follow(decision);
            if !going {
                break;
            }
        }
        prop_assert!(!going, "it goes on for ever: {:?}", walk.progress);
    }
}
