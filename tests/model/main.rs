//! The ledger's protocol, checked over all interleavings of several instances, crashes and copies.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests fail like tests")]

mod faults;
mod holder;
mod inquiry;
mod ledger;
mod moves;
mod refusal;
mod search;
mod stray;
mod world;

use holder::Answer;
use ledger::Guard;
use search::{Outcome, check};

/// A mistake put in on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Calls before it has read what its start came to.
    CallsUnread,
    /// Acks before it publishes.
    AcksFirst,
    /// Takes a claim over while its owner may be calling. It is none that breaks anything: see the test.
    TakesOverEarly,
    /// Forgets the highest number told.
    ForgetsTold,
    /// Calls although an earlier call may have acted.
    CallsAfterUnknown,
    /// Takes a replay that another began for one that is done.
    DropsReplayed,
    /// Takes "there is none" for an answer while a call runs.
    BelievesTooEarly,
    /// Nobody looks for endings that were never published.
    NobodySweeps,
    /// Takes whatever was delivered too often for its publisher's, and drops it where the command has gone on.
    TakesPoisonForFresh,
    /// Only for cancels is it looked whether they were published.
    SweepsCancelsAlone,
    /// Ends a message that is refused under the id that its publisher wrote.
    RefusalClaims,
    /// Tells that a message was refused although its id is a command's.
    RefusalEndsKnown,
    /// Erases not only what a command holds, but that it was there.
    ErasesAll,
}

/// How large a world is.
#[expect(clippy::struct_excessive_bools, reason = "each lets something happen that has nothing to do with the others")]
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many instances.
    pub instances: usize,
    /// What keeps calls from acting twice.
    pub guard: Guard,
    /// How many calls a generation has.
    pub attempts: u8,
    /// How often the command is published.
    pub copies: usize,
    /// How many other commands are published under its id.
    pub others: usize,
    /// How many messages that are refused are published under its id.
    pub refused: usize,
    /// How many crashes, lost links and copies made by the broker there are.
    pub faults: u8,
    /// How many wishes to cancel.
    pub cancels: usize,
    /// True where a command that was asked to be cancelled may come when that has ended it.
    pub late: bool,
    /// How many late answers.
    pub callbacks: u8,
    /// Whether a late answer may contradict what the provider did.
    pub contradicts: bool,
    /// How many dead letters an operator takes up.
    pub jobs: u8,
    /// How often the provider is busy.
    pub waits: u8,
    /// The number of messages that go another way than their lane's.
    pub strays: u8,
    /// The number of times that a person has the command erased, once it has ended.
    pub erasures: u8,
    /// Whether the ledger has lost that the command was called, and completed.
    pub lost: bool,
    /// Whether the provider can be asked.
    pub inquiries: bool,
    /// Whether the command may expire.
    pub expires: bool,
    /// What the provider answers.
    pub answers: &'static [Answer],
    /// What is done wrong on purpose.
    pub mistake: Option<Mistake>,
}

impl Setup {
    const fn new(guard: Guard) -> Self {
        use Answer::{Completed, Declined, Rejected, Transient, Unknown};
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
            callbacks: 0,
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
const FEW: &[Answer] = &[Answer::Completed, Answer::Transient, Answer::Unknown(true)];

const KEY: Setup = Setup::new(Guard::Key);
const CLAIM: Setup = Setup::new(Guard::Claim);

/// Checks that all properties hold in a world, and says how large it is.
fn holds(name: &str, setup: &Setup) {
    let Outcome { states, depth, cases, seconds, broken } = check(setup);
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
        holds("two faults", &Setup { attempts: 1, faults: 2, answers: FEW, ..setup });
    }
}

#[test]
fn copies_of_a_message_make_one_command() {
    for setup in [KEY, CLAIM] {
        holds("two copies, one fault", &Setup { copies: 2, attempts: 1, answers: FEW, ..setup.clone() });
        holds("three copies", &Setup { copies: 3, attempts: 1, faults: 0, answers: FEW, ..setup.clone() });
        holds("three instances", &Setup { instances: 3, copies: 2, faults: 0, ..setup });
    }
}

#[test]
fn another_command_under_the_same_id_changes_nothing() {
    for setup in [KEY, CLAIM] {
        holds("another content", &Setup { others: 1, attempts: 1, answers: FEW, ..setup });
    }
}

#[test]
fn a_message_that_is_refused_claims_nothing_and_ends_nothing() {
    for setup in [KEY, CLAIM] {
        let refusing = Setup { refused: 1, attempts: 1, answers: FEW, ..setup };
        holds("refused, one fault", &refusing);
        holds("refused twice", &Setup { refused: 2, faults: 0, ..refusing.clone() });
        holds("refused, two copies", &Setup { copies: 2, faults: 0, ..refusing.clone() });
        holds("refused, another content", &Setup { others: 1, faults: 0, ..refusing.clone() });
        holds("refused, a cancel", &Setup { cancels: 1, faults: 0, ..refusing.clone() });
        holds("refused, an operator", &Setup { jobs: 1, faults: 0, ..refusing });
    }
}

#[test]
fn a_cancelled_command_is_not_called() {
    for setup in [KEY, CLAIM] {
        holds("cancel", &Setup { cancels: 1, attempts: 1, answers: FEW, ..setup.clone() });
        holds("two cancels", &Setup { cancels: 2, faults: 0, ..setup });
    }
}

#[test]
fn the_first_definite_answer_wins() {
    for setup in [KEY, CLAIM] {
        holds("callback", &Setup { callbacks: 1, attempts: 1, ..setup.clone() });
        holds("two callbacks", &Setup { callbacks: 2, faults: 0, contradicts: true, ..setup });
    }
}

#[test]
fn an_expired_command_is_not_taken_for_one_that_was_never_called() {
    for setup in [KEY, CLAIM] {
        holds("expiry", &Setup { expires: true, answers: FEW, ..setup.clone() });
        holds("expiry of a copy", &Setup { expires: true, copies: 2, faults: 0, answers: FEW, ..setup });
    }
}

#[test]
fn two_replays_start_one_generation() {
    for setup in [KEY, CLAIM] {
        holds("replay", &Setup { attempts: 1, jobs: 1, answers: FEW, ..setup.clone() });
        holds("two jobs", &Setup { attempts: 1, jobs: 2, faults: 0, copies: 2, answers: FEW, ..setup });
    }
}

#[test]
fn what_a_person_says_is_published_even_where_that_person_is_interrupted_and_never_says_it_again() {
    for setup in [KEY, CLAIM] {
        holds("a person is interrupted", &Setup { attempts: 1, jobs: 2, answers: FEW, ..setup });
    }
}

#[test]
fn what_was_asked_to_be_cancelled_and_comes_too_late_is_not_called() {
    for setup in [KEY, CLAIM] {
        holds("cancelled for good", &Setup { cancels: 1, late: true, attempts: 1, answers: FEW, ..setup.clone() });
        let copies = Setup { cancels: 1, late: true, copies: 2, attempts: 1, faults: 0, answers: FEW, ..setup };
        holds("cancelled for good, two copies", &copies);
    }
}

#[test]
fn what_the_ledger_has_lost_is_unknown() {
    for setup in [KEY, CLAIM] {
        holds("lost", &Setup { lost: true, waits: 1, cancels: 1, faults: 0, ..setup });
    }
}

#[test]
fn a_claim_that_is_taken_over_too_early_costs_certainty_and_nothing_else() {
    let mistake = Some(Mistake::TakesOverEarly);
    holds("early", &Setup { mistake, copies: 2, attempts: 1, answers: FEW, ..CLAIM });
    holds("early, with an operator", &Setup { mistake, attempts: 1, jobs: 1, ..CLAIM });
}

/// The answers after which the provider is asked.
const ASKED: &[Answer] = &[Answer::Accepted, Answer::Unknown(true), Answer::Unknown(false)];

#[test]
fn what_is_asked_of_the_provider_ends_every_doubt_and_makes_none() {
    for setup in [KEY, CLAIM] {
        let asking = Setup { inquiries: true, answers: ASKED, ..setup };
        holds("asked, one fault", &asking);
        holds("asked, two copies", &Setup { copies: 2, attempts: 1, faults: 0, ..asking.clone() });
        holds("asked, a callback", &Setup { callbacks: 1, attempts: 1, ..asking.clone() });
        holds("asked, a cancel", &Setup { cancels: 1, attempts: 1, ..asking.clone() });
        holds("asked, an operator", &Setup { jobs: 1, attempts: 1, faults: 0, ..asking.clone() });
        holds("asked, expiry", &Setup { expires: true, faults: 0, ..asking.clone() });
        holds("asked, three instances", &Setup { instances: 3, copies: 2, attempts: 1, faults: 0, ..asking });
    }
}

#[test]
fn what_is_unroutable_poisoned_or_refused_ends_like_anything_else() {
    for setup in [KEY, CLAIM] {
        let straying = Setup { strays: 1, answers: FEW, ..setup };
        holds("stray, one fault", &straying);
        holds("stray, two copies", &Setup { copies: 2, attempts: 1, faults: 0, ..straying.clone() });
        holds("two strays, two copies", &Setup { strays: 2, copies: 2, attempts: 1, faults: 0, ..straying.clone() });
        holds("stray, a callback", &Setup { callbacks: 1, faults: 0, ..straying.clone() });
        holds("stray, a cancel", &Setup { cancels: 1, faults: 0, ..straying.clone() });
        holds("stray, another content", &Setup { others: 1, attempts: 1, faults: 0, ..straying.clone() });
        holds("stray, an operator", &Setup { strays: 2, jobs: 1, faults: 0, attempts: 1, ..straying.clone() });
        holds("stray, lost", &Setup { lost: true, waits: 1, faults: 0, expires: true, ..straying.clone() });
        holds("stray, asked", &Setup { inquiries: true, faults: 0, answers: ASKED, ..straying });
    }
}

#[test]
fn what_is_erased_is_not_called_again() {
    for setup in [KEY, CLAIM] {
        let erasing = Setup { erasures: 1, attempts: 1, answers: FEW, ..setup };
        holds("erased, one fault", &erasing);
        holds("erased, two copies", &Setup { copies: 2, faults: 0, ..erasing.clone() });
        holds("erased, another content", &Setup { others: 1, faults: 0, ..erasing.clone() });
        holds("erased, a callback", &Setup { callbacks: 1, faults: 0, contradicts: true, ..erasing.clone() });
        holds("erased, a cancel", &Setup { cancels: 1, late: true, faults: 0, ..erasing.clone() });
        holds("erased, an operator", &Setup { jobs: 1, faults: 0, ..erasing.clone() });
        holds("erased, a stray", &Setup { strays: 1, faults: 0, ..erasing });
    }
}

/// Which property does not hold in a world.
fn breaks(setup: &Setup) -> Vec<&'static str> {
    check(setup).broken.into_iter().map(|(property, _)| property).collect()
}

#[test]
fn every_mistake_that_is_put_in_is_found() {
    let with = |mistake, setup: Setup| Setup { mistake: Some(mistake), ..setup };
    let mistakes = [
        with(Mistake::CallsUnread, Setup { copies: 2, attempts: 1, faults: 0, answers: FEW, ..CLAIM }),
        with(Mistake::AcksFirst, Setup { attempts: 1, answers: FEW, ..KEY }),
        with(Mistake::ForgetsTold, Setup { callbacks: 1, ..KEY }),
        with(Mistake::CallsAfterUnknown, Setup { attempts: 1, answers: FEW, ..CLAIM }),
        with(Mistake::DropsReplayed, Setup { attempts: 1, jobs: 2, answers: FEW, ..KEY }),
        with(Mistake::BelievesTooEarly, Setup { inquiries: true, attempts: 1, answers: ASKED, ..KEY }),
        with(Mistake::NobodySweeps, Setup { attempts: 1, cancels: 1, answers: FEW, ..CLAIM }),
        with(Mistake::TakesPoisonForFresh, Setup { strays: 1, faults: 0, answers: FEW, ..KEY }),
        with(Mistake::TakesPoisonForFresh, Setup { strays: 1, faults: 0, inquiries: true, answers: ASKED, ..CLAIM }),
        with(Mistake::SweepsCancelsAlone, Setup { attempts: 1, jobs: 2, answers: FEW, ..CLAIM }),
        with(Mistake::RefusalClaims, Setup { refused: 1, attempts: 1, faults: 0, answers: FEW, ..KEY }),
        with(Mistake::RefusalEndsKnown, Setup { refused: 1, attempts: 1, faults: 0, answers: FEW, ..CLAIM }),
        with(Mistake::ErasesAll, Setup { copies: 2, attempts: 1, faults: 0, erasures: 1, answers: FEW, ..CLAIM }),
    ];
    for setup in &mistakes {
        let broken = breaks(setup);
        println!("{:?}: {broken:?}", setup.mistake);
        assert!(!broken.is_empty(), "{:?}", setup.mistake);
    }
}
