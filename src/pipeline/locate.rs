//! Determines from the ledger how far a message has come whose headers do not prove it.

use jiff::Timestamp;

use super::memory::Memory;
use super::origin::{ProgressSource, step};
use super::parcel::Parcel;
use ferryd_broker::headers::Travel;
use ferryd_domain::inquiry::{Inquiry, Purpose};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::record::Step;
use ferryd_domain::progress::Progress;

impl Memory {
    /// Determines how far a message of unproven progress has come, and adds the recorded calls to
    /// it.
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
                // A message that may be its publisher's is not known to have been checked.
                let unchecked = may_be_another;
                parcel.place(Progress { unknown: true, ..Progress::fresh(Timestamp::now()) });
                (parcel.travel.publisher, parcel.travel.unchecked) = (parcel.user(), unchecked);
            }
        }
        self.recall_all(parcel);
    }
}

impl Parcel {
    /// Accepts the progress that the headers claim.
    fn believe(&mut self, claim: Travel) {
        self.expires_at = claim.extended_to;
        (self.travel, self.source) = (claim, ProgressSource::Headers);
    }

    /// Treats the message as its publisher's: the command known by its id is another.
    fn start_over(&mut self) {
        let (routing_key, publisher) = (self.travel.routing_key.take(), self.user());
        self.travel = Travel { routing_key, publisher, unchecked: true, ..Travel::fresh(Timestamp::now()) };
        (self.source, self.fresh, self.expires_at) = (ProgressSource::Publisher, true, None);
    }

    /// Puts the message at the step at which it is awaited, to be confirmed by the next record.
    fn place(&mut self, progress: Progress) {
        let routing_key = self.travel.routing_key.take();
        self.travel = Travel { routing_key, recorded: true, progress, ..Travel::fresh(Timestamp::now()) };
        self.expires_at = None;
    }
}

/// Returns the progress of a command as the ledger has it. A call may have acted: the message may
/// have come further than the ledger says.
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
