//! The way that a message has come: how far, and whose word there is for it.
//!
//! A publisher's message is at its first step, whatever its headers claim. A message from ferryd's own exchanges says
//! by its headers how far it is. A message out of `ferry.poison` has come either way: the broker's record of its first
//! death tells by which exchange it was published last, because each republish of ferryd's strips earlier deaths.
//! Before RabbitMQ 4.0 a publisher can write such a record itself, so headers from there count only where the ledger
//! knows the step that they claim, of this very command. Otherwise the ledger says where the command's message is
//! awaited.

use jiff::Timestamp;
use lapin::message::Delivery;

use super::memory::Memory;
use super::parcel::Parcel;
use crate::amqp::headers::{self, Travel};
use crate::amqp::topology::Names;
use crate::domain::inquiry::{Inquiry, Purpose};
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::Step;
use crate::domain::outcome::Failure;
use crate::domain::progress::Progress;

/// The source of the word for how far a message has come.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgressSource {
    /// Its publisher sent it: it is at its first step.
    Publisher,
    /// ferryd's own headers.
    Headers,
    /// Nobody's: ferryd sent it on, and its headers can't be read.
    Unreadable,
    /// Perhaps its publisher's: ferryd seems to have sent it on, and this is what its headers claim, where they can be read.
    Claimed(Option<Box<Travel>>),
}

impl ProgressSource {
    /// Tells whether the ledger has to say how far the message has come.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        matches!(self, Self::Unreadable | Self::Claimed(_))
    }
}

/// Reads how far a delivery has come by its own word, and what that is worth.
pub(super) fn read_progress(delivery: &Delivery, names: &Names, now: Timestamp) -> (Travel, ProgressSource) {
    let exchange = delivery.exchange.as_str();
    let is_own = |exchange: &str| exchange == names.redeliver() || exchange == names.retry();
    // A key of the contract has three words, those of ferryd's own exchanges have two.
    let is_published_under = delivery.routing_key.as_str().split('.').count() == 3;
    let routing_key = is_published_under.then(|| delivery.routing_key.to_string());
    let publisher = delivery.properties.user_id().as_ref().map(ToString::to_string);
    let fresh = |routing_key| Travel { routing_key, publisher, unchecked: true, ..Travel::fresh(now) };
    let read = || Travel::read(delivery.properties.headers().as_ref());
    if is_own(exchange) {
        return match read() {
            Some(travel) => (travel, ProgressSource::Headers),
            // Whoever sent it on has checked it; how far it has come nobody knows.
            None => (Travel { unchecked: false, ..fresh(None) }, ProgressSource::Unreadable),
        };
    }
    let is_published = exchange != names.poison()
        || headers::first_death_exchange(&delivery.properties) == Some(names.commands().as_str());
    if is_published {
        return (fresh(Some(delivery.routing_key.to_string())), ProgressSource::Publisher);
    }
    let claim = read();
    let travel = claim.clone().unwrap_or_else(|| fresh(routing_key));
    (travel, ProgressSource::Claimed(claim.map(Box::new)))
}

impl Memory {
    /// Finds out how far a message has come of which nobody's word is known yet, and adds what is known of its calls.
    pub(super) fn locate(&self, parcel: &mut Parcel) {
        let (claim, may_be_another) = match &parcel.source {
            ProgressSource::Publisher | ProgressSource::Headers => return,
            ProgressSource::Unreadable => (None, false),
            ProgressSource::Claimed(claim) => (claim.clone(), true),
        };
        let case = self.case(&parcel.identity.id).filter(|case| case.opening.is_some());
        match (case, claim) {
            (Some(case), _) if may_be_another && case.is_other_than(parcel.opening()) => parcel.start_over(),
            (Some(case), Some(claim)) if case.knows_step(step(&claim.progress)) => parcel.believe(*claim),
            (Some(case), _) => parcel.place(progress_of(&case, Timestamp::now())),
            (None, _) => {
                // Where it is perhaps its publisher's, nobody is known to have checked it.
                let unchecked = may_be_another;
                parcel.place(Progress { unknown: true, ..Progress::fresh(Timestamp::now()) });
                (parcel.travel.publisher, parcel.travel.unchecked) = (parcel.user(), unchecked);
            }
        }
        self.recall_all(parcel);
    }
}

impl Parcel {
    /// Takes its headers' word.
    fn believe(&mut self, claim: Travel) {
        self.expires_at = claim.extended_to;
        (self.travel, self.source) = (claim, ProgressSource::Headers);
    }

    /// Takes it for its publisher's: another command is known by its id.
    fn start_over(&mut self) {
        let (routing_key, publisher) = (self.travel.routing_key.take(), self.user());
        self.travel = Travel { routing_key, publisher, unchecked: true, ..Travel::fresh(Timestamp::now()) };
        (self.source, self.fresh, self.expires_at) = (ProgressSource::Publisher, true, None);
    }

    /// Puts it where it is awaited. That is known to have come true only once it is on record.
    fn place(&mut self, progress: Progress) {
        let routing_key = self.travel.routing_key.take();
        self.travel = Travel { routing_key, recorded: true, progress, ..Travel::fresh(Timestamp::now()) };
        self.expires_at = None;
    }
}

/// The step of a message that has come so far.
pub(super) fn step(progress: &Progress) -> Step {
    let Progress { generation, attempt, inquiry, .. } = progress;
    Step { generation: *generation, attempt: *attempt, inquiry: inquiry.map_or(0, |inquiry| inquiry.number) }
}

/// The progress of a command by the ledger's word. Its message may tell of more than is on record: it may have acted.
fn progress_of(case: &Case, now: Timestamp) -> Progress {
    let Step { generation, attempt, inquiry } = case.awaited_step();
    let inquiry = (inquiry > 0).then(|| Inquiry::new(inquiry, Purpose::Poll, now));
    Progress {
        attempt,
        inquiry,
        unknown: true,
        deadline: case.deadline,
        provider_reference: case.provider_reference.clone(),
        ..Progress::of_generation(generation, now)
    }
}

/// The failure of a message that is given up because it does not say how far it had come.
pub(super) fn unreadable_headers() -> Failure {
    Failure::new("unreadable_headers", "the message came back without saying how far it had come")
}
