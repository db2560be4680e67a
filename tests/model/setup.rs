//! The size of a world, and the mistakes that are made in it on purpose.

use crate::holder::ModelAnswer;
use crate::ledger::ModelGuard;

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
    ForgetsPublished,
    /// Calls although an earlier call may have acted.
    CallsAfterUnknown,
    /// Takes a replay that another began for one that is done.
    DropsReplayed,
    /// Accepts "not found" as an answer while a call runs.
    AcceptsNotFoundTooEarly,
    /// Never searches for ends that were left unpublished.
    NobodyRecovers,
    /// Takes a message that was delivered too often for its publisher's, and drops it where the
    /// command has gone on.
    TakesPoisonForFresh,
    /// Searches only cancelled commands for unpublished ends.
    RecoversCancelsAlone,
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
    pub unroutable: u8,
    /// The number of times that a person has the ended command erased.
    pub erasures: u8,
    /// True if the ledger has lost the records of the command's call and completion.
    pub lost: bool,
    /// True if the provider can be queried.
    pub queries: bool,
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
            unroutable: 0,
            erasures: 0,
            lost: false,
            queries: false,
            expires: false,
            answers: &[Completed, Declined, Transient, Rejected, Unknown(true), Unknown(false)],
            mistake: None,
        }
    }
}

/// The answers that lead to different ends.
pub const FEW: &[ModelAnswer] =
    &[ModelAnswer::Completed, ModelAnswer::Transient, ModelAnswer::Unknown(true)];

pub const KEY: WorldSetup = WorldSetup::new(ModelGuard::Key);

pub const CLAIM: WorldSetup = WorldSetup::new(ModelGuard::Claim);

/// The answers after which the provider is queried.
pub const QUERIED: &[ModelAnswer] =
    &[ModelAnswer::Accepted, ModelAnswer::Unknown(true), ModelAnswer::Unknown(false)];
