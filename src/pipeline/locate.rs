//! Determines from the ledger how far a message has come whose headers do not prove it.

use jiff::Timestamp;

use super::incoming_message::IncomingMessage;
use super::ledger_gate::LedgerGate;
use super::message_origin::{ProgressSource, message_step};
use ferryd_broker::headers::MessageState;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::Step;
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::{ProviderQuery, QueryPurpose};

impl LedgerGate {
    /// Determines how far a message of unproven progress has come, and adds the recorded calls to
    /// it.
    pub(super) fn locate_message(&self, message: &mut IncomingMessage) {
        let (claim, may_be_another) = match &message.source {
            ProgressSource::Publisher | ProgressSource::Headers => return,
            ProgressSource::Unreadable => (None, false),
            ProgressSource::Claimed(claim) => (claim.clone(), true),
        };
        let state =
            self.command_state(&message.identity.id).filter(|state| state.identity.is_some());
        match (state, claim) {
            (Some(state), _)
                if may_be_another && state.is_other_than(message.command_identity()) =>
            {
                message.start_over();
            }
            (Some(state), Some(claim)) if state.knows_step(message_step(&claim.progress)) => {
                message.trust_headers(*claim);
            }
            (Some(state), _) => message.place_message(progress_of(&state, Timestamp::now())),
            (None, _) => {
                // A message that may be its publisher's is not known to have been checked.
                let unchecked = may_be_another;
                message.place_message(GenerationProgress {
                    unknown: true,
                    ..GenerationProgress::first_generation(Timestamp::now())
                });
                (message.state.publisher, message.state.unchecked) = (message.user(), unchecked);
            }
        }
        self.recall_all(message);
    }
}

impl IncomingMessage {
    /// Accepts the progress that the headers claim.
    fn trust_headers(&mut self, claim: MessageState) {
        self.expires_at = claim.extended_to;
        (self.state, self.source) = (claim, ProgressSource::Headers);
    }

    /// Treats the message as its publisher's: the command known by its id is another.
    fn start_over(&mut self) {
        let (routing_key, publisher) = (self.state.routing_key.take(), self.user());
        self.state = MessageState {
            routing_key,
            publisher,
            unchecked: true,
            ..MessageState::fresh(Timestamp::now())
        };
        (self.source, self.fresh, self.expires_at) = (ProgressSource::Publisher, true, None);
    }

    /// Puts the message at the step at which it is awaited, to be confirmed by the next record.
    fn place_message(&mut self, progress: GenerationProgress) {
        let routing_key = self.state.routing_key.take();
        self.state = MessageState {
            routing_key,
            recorded: true,
            progress,
            ..MessageState::fresh(Timestamp::now())
        };
        self.expires_at = None;
    }
}

/// Returns the progress of a command as the ledger has it. A call may have acted: the message may
/// have come further than the ledger says.
fn progress_of(state: &CommandState, now: Timestamp) -> GenerationProgress {
    let Step { generation, attempt, query } = state.awaited_step();
    let provider_query = (query > 0).then(|| ProviderQuery::new(query, QueryPurpose::Poll, now));
    GenerationProgress {
        attempt,
        query: provider_query,
        unknown: true,
        deadline: state.deadline,
        provider_reference: state.provider_reference.clone(),
        ..GenerationProgress::of_generation(generation, now)
    }
}
