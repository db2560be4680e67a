//! The ledger's protocol, checked over all interleavings of several instances, crashes and copies.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod faults;
mod holder;
mod ledger;
mod moves;
mod query;
mod refusal;
mod search;
mod unroutable;
mod world;

use holder::ModelAnswer;
use ledger::ModelGuard;
use search::{SearchOutcome, check};

/// A mistake made on purpose, to check that the model finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedMistake {
    /// Calls before the ruling on the start is read.
    CallsUnread,
    /// Acks before publishing.
    AcksFirst,
    /// Takes a claim over while its owner may be calling. This mistake breaks nothing: see the
    /// test.
    TakesOverEarly,
    /// Loses the highest published number.
    ForgetsTold,
    /// Calls although an earlier call may have acted.
    CallsAfterUnknown,
    /// Takes a replay that another began for one that is done.
    DropsReplayed,
    /// Accepts "not found" as an answer while a call runs.
    BelievesTooEarly,
    /// Never searches for ends that were left unpublished.
    NobodySweeps,
    /// Takes a message that was delivered too often for its publisher's, and drops it where the
    /// command has gone on.
    TakesPoisonForFresh,
    /// Searches only cancelled commands for unpublished ends.
    SweepsCancelsAlone,
    /// Ends a refused message under the id that its publisher wrote.
    RefusalClaims,
    /// Publishes the refusal of a message although its id is a command's.
    RefusalEndsKnown,
    /// Erases a command's existence together with its contents.
    ErasesAll,
}

/// The size of a world.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each lets something happen that has nothing to do with the others"
)]
#[derive(Debug, Clone)]
pub struct WorldSetup {
    /// The number of instances.
    pub instances: usize,
    /// The guard that keeps calls from acting twice.
    pub guard: ModelGuard,
    /// The number of calls of a generation.
    pub attempts: u8,
    /// The number of times that the command is published.
    pub copies: usize,
    /// The number of other commands that are published under the same id.
    pub others: usize,
    /// The number of refused messages that are published under the same id.
    pub refused: usize,
    /// The number of crashes, lost links and copies made by the broker.
    pub faults: u8,
    /// The number of requests to cancel.
    pub cancels: usize,
    /// True where a command may arrive after a request to cancel it has ended it.
    pub late: bool,
    /// The number of late answers.
    pub webhooks: u8,
    /// True if a late answer may contradict the provider's actions.
    pub contradicts: bool,
    /// The number of dead letters that an operator processes.
    pub jobs: u8,
    /// The number of times that the provider is busy.
    pub waits: u8,
    /// The number of messages that arrive another way than by their lane.
    pub strays: u8,
    /// The number of times that a person has the ended command erased.
    pub erasures: u8,
    /// True if the ledger has lost the records of the command's call and completion.
    pub lost: bool,
    /// True if the provider can be queried.
    pub inquiries: bool,
    /// True if the command may expire.
    pub expires: bool,
    /// The possible answers of the provider.
    pub answers: &'static [ModelAnswer],
    /// The mistake that is made on purpose.
    pub mistake: Option<PlantedMistake>,
}

impl WorldSetup {
    const fn new(guard: ModelGuard) -> Self {
        use ModelAnswer::{Completed, Declined, Rejected, Transient, Unknown};
        Self {
            instances: 2,
            guard,
            attempts: 2,
            copies: 1,
            others: 0,
            refused: 0,
            faults: 1,
            cancels: 0,
            late: false,
            webhooks: 0,
            contradicts: false,
            jobs: 0,
            waits: 0,
            strays: 0,
            erasures: 0,
            lost: false,
            inquiries: false,
            expires: false,
            answers: &[Completed, Declined, Transient, Rejected, Unknown(true), Unknown(false)],
            mistake: None,
        }
    }
}

/// The answers that lead to different ends.
const FEW: &[ModelAnswer] =
    &[ModelAnswer::Completed, ModelAnswer::Transient, ModelAnswer::Unknown(true)];

const KEY: WorldSetup = WorldSetup::new(ModelGuard::Key);
const CLAIM: WorldSetup = WorldSetup::new(ModelGuard::Claim);

/// Checks that all properties hold in a world, and prints its size.
fn holds(name: &str, setup: &WorldSetup) {
    let SearchOutcome { states, depth, cases, seconds, broken } = check(setup);
    println!("{name}: {states} states, {depth} deep, {cases} cases, {seconds:.1} s");
    for (property, steps) in &broken {
        println!("broken: {property}\n{}", steps.join("\n"));
    }
    assert!(broken.is_empty(), "{name}: {:?}", broken[0].0);
}

#[test]
fn one_message_survives_two_faults() {
    for setup in [KEY, CLAIM] {
        holds("one fault", &setup);
        holds("two faults", &WorldSetup { attempts: 1, faults: 2, answers: FEW, ..setup });
    }
}

#[test]
fn copies_of_a_message_make_one_command() {
    for setup in [KEY, CLAIM] {
        holds(
            "two copies, one fault",
            &WorldSetup { copies: 2, attempts: 1, answers: FEW, ..setup.clone() },
        );
        holds(
            "three copies",
            &WorldSetup { copies: 3, attempts: 1, faults: 0, answers: FEW, ..setup.clone() },
        );
        holds("three instances", &WorldSetup { instances: 3, copies: 2, faults: 0, ..setup });
    }
}

#[test]
fn another_command_under_the_same_id_changes_nothing() {
    for setup in [KEY, CLAIM] {
        holds("another content", &WorldSetup { others: 1, attempts: 1, answers: FEW, ..setup });
    }
}

#[test]
fn a_message_that_is_refused_claims_nothing_and_ends_nothing() {
    for setup in [KEY, CLAIM] {
        let refusing = WorldSetup { refused: 1, attempts: 1, answers: FEW, ..setup };
        holds("refused, one fault", &refusing);
        holds("refused twice", &WorldSetup { refused: 2, faults: 0, ..refusing.clone() });
        holds("refused, two copies", &WorldSetup { copies: 2, faults: 0, ..refusing.clone() });
        holds("refused, another content", &WorldSetup { others: 1, faults: 0, ..refusing.clone() });
        holds("refused, a cancel", &WorldSetup { cancels: 1, faults: 0, ..refusing.clone() });
        holds("refused, an operator", &WorldSetup { jobs: 1, faults: 0, ..refusing });
    }
}

#[test]
fn a_cancelled_command_is_not_called() {
    for setup in [KEY, CLAIM] {
        holds("cancel", &WorldSetup { cancels: 1, attempts: 1, answers: FEW, ..setup.clone() });
        holds("two cancels", &WorldSetup { cancels: 2, faults: 0, ..setup });
    }
}

#[test]
fn the_first_definite_answer_wins() {
    for setup in [KEY, CLAIM] {
        holds("webhook", &WorldSetup { webhooks: 1, attempts: 1, ..setup.clone() });
        holds("two webhooks", &WorldSetup { webhooks: 2, faults: 0, contradicts: true, ..setup });
    }
}

#[test]
fn an_expired_command_is_not_taken_for_one_that_was_never_called() {
    for setup in [KEY, CLAIM] {
        holds("expiry", &WorldSetup { expires: true, answers: FEW, ..setup.clone() });
        holds(
            "expiry of a copy",
            &WorldSetup { expires: true, copies: 2, faults: 0, answers: FEW, ..setup },
        );
    }
}

#[test]
fn two_replays_start_one_generation() {
    for setup in [KEY, CLAIM] {
        holds("replay", &WorldSetup { attempts: 1, jobs: 1, answers: FEW, ..setup.clone() });
        holds(
            "two jobs",
            &WorldSetup { attempts: 1, jobs: 2, faults: 0, copies: 2, answers: FEW, ..setup },
        );
    }
}

#[test]
fn what_a_person_says_is_published_even_where_that_person_is_interrupted_and_never_says_it_again() {
    for setup in [KEY, CLAIM] {
        holds(
            "a person is interrupted",
            &WorldSetup { attempts: 1, jobs: 2, answers: FEW, ..setup },
        );
    }
}

#[test]
fn what_was_asked_to_be_cancelled_and_comes_too_late_is_not_called() {
    for setup in [KEY, CLAIM] {
        holds(
            "cancelled for good",
            &WorldSetup { cancels: 1, late: true, attempts: 1, answers: FEW, ..setup.clone() },
        );
        let copies = WorldSetup {
            cancels: 1,
            late: true,
            copies: 2,
            attempts: 1,
            faults: 0,
            answers: FEW,
            ..setup
        };
        holds("cancelled for good, two copies", &copies);
    }
}

#[test]
fn what_the_ledger_has_lost_is_unknown() {
    for setup in [KEY, CLAIM] {
        holds("lost", &WorldSetup { lost: true, waits: 1, cancels: 1, faults: 0, ..setup });
    }
}

#[test]
fn a_claim_that_is_taken_over_too_early_costs_certainty_and_nothing_else() {
    let mistake = Some(PlantedMistake::TakesOverEarly);
    holds("early", &WorldSetup { mistake, copies: 2, attempts: 1, answers: FEW, ..CLAIM });
    holds("early, with an operator", &WorldSetup { mistake, attempts: 1, jobs: 1, ..CLAIM });
}

/// The answers after which the provider is queried.
const ASKED: &[ModelAnswer] =
    &[ModelAnswer::Accepted, ModelAnswer::Unknown(true), ModelAnswer::Unknown(false)];

#[test]
fn what_is_asked_of_the_provider_ends_every_doubt_and_makes_none() {
    for setup in [KEY, CLAIM] {
        let asking = WorldSetup { inquiries: true, answers: ASKED, ..setup };
        holds("asked, one fault", &asking);
        holds(
            "asked, two copies",
            &WorldSetup { copies: 2, attempts: 1, faults: 0, ..asking.clone() },
        );
        holds("asked, a webhook", &WorldSetup { webhooks: 1, attempts: 1, ..asking.clone() });
        holds("asked, a cancel", &WorldSetup { cancels: 1, attempts: 1, ..asking.clone() });
        holds(
            "asked, an operator",
            &WorldSetup { jobs: 1, attempts: 1, faults: 0, ..asking.clone() },
        );
        holds("asked, expiry", &WorldSetup { expires: true, faults: 0, ..asking.clone() });
        holds(
            "asked, three instances",
            &WorldSetup { instances: 3, copies: 2, attempts: 1, faults: 0, ..asking },
        );
    }
}

#[test]
fn what_is_unroutable_poisoned_or_refused_ends_like_anything_else() {
    for setup in [KEY, CLAIM] {
        let straying = WorldSetup { strays: 1, answers: FEW, ..setup };
        holds("stray, one fault", &straying);
        holds(
            "stray, two copies",
            &WorldSetup { copies: 2, attempts: 1, faults: 0, ..straying.clone() },
        );
        holds(
            "two strays, two copies",
            &WorldSetup { strays: 2, copies: 2, attempts: 1, faults: 0, ..straying.clone() },
        );
        holds("stray, a webhook", &WorldSetup { webhooks: 1, faults: 0, ..straying.clone() });
        holds("stray, a cancel", &WorldSetup { cancels: 1, faults: 0, ..straying.clone() });
        holds(
            "stray, another content",
            &WorldSetup { others: 1, attempts: 1, faults: 0, ..straying.clone() },
        );
        holds(
            "stray, an operator",
            &WorldSetup { strays: 2, jobs: 1, faults: 0, attempts: 1, ..straying.clone() },
        );
        holds(
            "stray, lost",
            &WorldSetup { lost: true, waits: 1, faults: 0, expires: true, ..straying.clone() },
        );
        holds(
            "stray, asked",
            &WorldSetup { inquiries: true, faults: 0, answers: ASKED, ..straying },
        );
    }
}

#[test]
fn what_is_erased_is_not_called_again() {
    for setup in [KEY, CLAIM] {
        let erasing = WorldSetup { erasures: 1, attempts: 1, answers: FEW, ..setup };
        holds("erased, one fault", &erasing);
        holds("erased, two copies", &WorldSetup { copies: 2, faults: 0, ..erasing.clone() });
        holds("erased, another content", &WorldSetup { others: 1, faults: 0, ..erasing.clone() });
        holds(
            "erased, a webhook",
            &WorldSetup { webhooks: 1, faults: 0, contradicts: true, ..erasing.clone() },
        );
        holds(
            "erased, a cancel",
            &WorldSetup { cancels: 1, late: true, faults: 0, ..erasing.clone() },
        );
        holds("erased, an operator", &WorldSetup { jobs: 1, faults: 0, ..erasing.clone() });
        holds("erased, a stray", &WorldSetup { strays: 1, faults: 0, ..erasing });
    }
}

/// Returns the properties that do not hold in a world.
fn breaks(setup: &WorldSetup) -> Vec<&'static str> {
    check(setup).broken.into_iter().map(|(property, _)| property).collect()
}

#[test]
fn every_mistake_that_is_put_in_is_found() {
    let with = |mistake, setup: WorldSetup| WorldSetup { mistake: Some(mistake), ..setup };
    let mistakes = [
        with(
            PlantedMistake::CallsUnread,
            WorldSetup { copies: 2, attempts: 1, faults: 0, answers: FEW, ..CLAIM },
        ),
        with(PlantedMistake::AcksFirst, WorldSetup { attempts: 1, answers: FEW, ..KEY }),
        with(PlantedMistake::ForgetsTold, WorldSetup { webhooks: 1, ..KEY }),
        with(PlantedMistake::CallsAfterUnknown, WorldSetup { attempts: 1, answers: FEW, ..CLAIM }),
        with(
            PlantedMistake::DropsReplayed,
            WorldSetup { attempts: 1, jobs: 2, answers: FEW, ..KEY },
        ),
        with(
            PlantedMistake::BelievesTooEarly,
            WorldSetup { inquiries: true, attempts: 1, answers: ASKED, ..KEY },
        ),
        with(
            PlantedMistake::NobodySweeps,
            WorldSetup { attempts: 1, cancels: 1, answers: FEW, ..CLAIM },
        ),
        with(
            PlantedMistake::TakesPoisonForFresh,
            WorldSetup { strays: 1, faults: 0, answers: FEW, ..KEY },
        ),
        with(
            PlantedMistake::TakesPoisonForFresh,
            WorldSetup { strays: 1, faults: 0, inquiries: true, answers: ASKED, ..CLAIM },
        ),
        with(
            PlantedMistake::SweepsCancelsAlone,
            WorldSetup { attempts: 1, jobs: 2, answers: FEW, ..CLAIM },
        ),
        with(
            PlantedMistake::RefusalClaims,
            WorldSetup { refused: 1, attempts: 1, faults: 0, answers: FEW, ..KEY },
        ),
        with(
            PlantedMistake::RefusalEndsKnown,
            WorldSetup { refused: 1, attempts: 1, faults: 0, answers: FEW, ..CLAIM },
        ),
        with(
            PlantedMistake::ErasesAll,
            WorldSetup { copies: 2, attempts: 1, faults: 0, erasures: 1, answers: FEW, ..CLAIM },
        ),
    ];
    for setup in &mistakes {
        let broken = breaks(setup);
        println!("{:?}: {broken:?}", setup.mistake);
        assert!(!broken.is_empty(), "{:?}", setup.mistake);
    }
}
