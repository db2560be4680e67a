//! The ledger's protocol, checked over all interleavings of several instances, crashes and copies.

mod holder;
mod ledger;
mod search;
mod world;

use ledger::Guard;
use search::{check, Outcome};

/// A mistake put in on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Calls before it has read what its start came to.
    CallsUnread,
    /// Acks before it publishes.
    AcksFirst,
    /// Takes a claim over while its owner may be calling.
    TakesOverEarly,
    /// Forgets the highest number told.
    ForgetsTold,
    /// Calls although an earlier call may have acted.
    CallsAfterUnknown,
    /// Takes a replay that another began for one that is done.
    DropsReplayed,
    /// Nobody looks for endings that were never published.
    NobodySweeps,
}

/// How large a world is.
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
    /// How many crashes, lost links and copies made by the broker there are.
    pub faults: u8,
    /// How many wishes to cancel.
    pub cancels: usize,
    /// How many late answers.
    pub callbacks: u8,
    /// Whether a late answer may contradict what the provider did.
    pub contradicts: bool,
    /// How many dead letters an operator takes up.
    pub jobs: u8,
    /// Whether the command may expire.
    pub expires: bool,
    /// What the provider answers.
    pub answers: &'static [holder::Answer],
    /// What is done wrong on purpose.
    pub mistake: Option<Mistake>,
}

impl Setup {
    const fn new(guard: Guard) -> Self {
        use holder::Answer::{Completed, Declined, Rejected, Transient, Unknown};
        Self {
            instances: 2,
            guard,
            attempts: 2,
            copies: 1,
            others: 0,
            faults: 1,
            cancels: 0,
            callbacks: 0,
            contradicts: false,
            jobs: 0,
            expires: false,
            answers: &[Completed, Declined, Transient, Rejected, Unknown(true), Unknown(false)],
            mistake: None,
        }
    }
}

const KEY: Setup = Setup::new(Guard::Key);
const CLAIM: Setup = Setup::new(Guard::Claim);

#[test]
fn basic() {
    for setup in [KEY, CLAIM] {
        for copies in 1..=2 {
            let outcome: Outcome = check(&Setup { copies, ..setup.clone() });
            println!("{:?} {copies}: {outcome:#?}", setup.guard);
        }
    }
}
