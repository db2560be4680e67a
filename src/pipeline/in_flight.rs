//! The steps that this process is running or has lately ended, so that a repeated delivery of the
//! same step starts nothing.
//!
//! When the link to the broker fails, the broker delivers every unacked message again while its
//! work still runs here. The copy joins the running work and is acked with it. So a restart of the
//! broker repeats no call and makes no outcome unknown.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferryd_broker::delivery_acks::DeliveryAcker;
use ferryd_broker::headers::MessageState;
use ferryd_domain::command_id::CommandId;

/// The number of ended steps that are remembered, for lost acks.
const REMEMBERED: usize = 16_384;

/// The identity of one message of one command: every copy of the message is the same step, which
/// must not run twice. The continuation of the message is another step, even one that only waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageStep {
    command: CommandId,
    generation: u32,
    attempt: u32,
    /// The number of the query about the call, 0 for the call itself. A query made early has a hop
    /// number of its own, which the continuation of another query may share.
    query: u32,
    hop: u32,
    /// The hash of the message's body: a command under the id of another is no copy of it.
    body: u64,
}

impl Hash for MessageStep {
    /// Hashes what distinguishes nearly all steps: the body contains the id of its command.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.body);
        state.write_u32(self.hop);
    }
}

impl MessageStep {
    /// Returns the step of a command.
    #[must_use]
    pub fn new(command: &CommandId, state: &MessageState, body: &[u8]) -> Self {
        let MessageState { progress, hop, .. } = state;
        let query = progress.query.map_or(0, |query| query.number);
        let (generation, attempt) = (progress.generation, progress.attempt);
        let mut hasher = DefaultHasher::new();
        hasher.write(body);
        let body = hasher.finish();
        Self { command: command.clone(), generation, attempt, query, hop: *hop, body }
    }
}

/// The steps of this process.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<StepTable>>);

#[derive(Debug, Default)]
struct StepTable {
    running: HashMap<Arc<MessageStep>, Vec<DeliveryAcker>>,
    ended: HashSet<Arc<MessageStep>>,
    order: VecDeque<Arc<MessageStep>>,
}

/// The result of entering a step.
#[derive(Debug)]
pub enum StepEntry {
    /// The caller is to run the step.
    Begun(StepClaim),
    /// The step is running; the delivery will be acked with it.
    Joined,
    /// The step has ended; the delivery is to be acked now.
    Ended(DeliveryAcker),
}

/// The right to run a step. Dropped without [`finish_step`](StepClaim::finish_step), the step
/// counts as not run.
#[derive(Debug)]
pub struct StepClaim {
    steps: InFlight,
    step: Option<Arc<MessageStep>>,
    own: Vec<DeliveryAcker>,
}

impl InFlight {
    /// Enters a step. `copy` is true for a repeated delivery and for a continuation. A fresh
    /// command that only has the id of a running one is worked on by itself.
    #[must_use]
    pub fn enter_step(&self, step: MessageStep, acker: DeliveryAcker, copy: bool) -> StepEntry {
        let mut steps = self.lock();
        if copy && steps.ended.contains(&step) {
            return StepEntry::Ended(acker);
        }
        let claim = match steps.running.entry(Arc::new(step)) {
            Entry::Occupied(mut running) if copy => {
                running.get_mut().push(acker);
                return StepEntry::Joined;
            }
            Entry::Occupied(_) => StepClaim { steps: self.clone(), step: None, own: vec![acker] },
            Entry::Vacant(place) => {
                let step = Arc::clone(place.key());
                place.insert(vec![acker]);
                StepClaim { steps: self.clone(), step: Some(step), own: Vec::new() }
            }
        };
        StepEntry::Begun(claim)
    }

    /// Returns the number of running steps.
    #[must_use]
    pub fn count_running(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, StepTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StepClaim {
    /// Ends the step and returns every delivery to be acked. Copies that come later are dropped.
    #[must_use]
    pub fn finish_step(mut self) -> Vec<DeliveryAcker> {
        let mut ackers = std::mem::take(&mut self.own);
        let Some(step) = self.step.take() else { return ackers };
        let mut steps = self.steps.lock();
        ackers.extend(steps.running.remove(&step).unwrap_or_default());
        if steps.ended.insert(Arc::clone(&step)) {
            steps.order.push_back(step);
            if steps.order.len() > REMEMBERED {
                let oldest = steps.order.pop_front();
                oldest.map(|step| steps.ended.remove(&step));
            }
        }
        ackers
    }
}

impl Drop for StepClaim {
    fn drop(&mut self) {
        if let Some(step) = self.step.take() {
            self.steps.lock().running.remove(&step);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lapin::message::Delivery;

    use super::*;
    use ferryd_broker::delivery_acks::HeldDelivery;
    use ferryd_domain::query::{ProviderQuery, QueryPurpose};

    fn acker(tag: u64) -> DeliveryAcker {
        let delivery = Delivery::mock(tag, "".into(), "".into(), true, Vec::new());
        HeldDelivery::new(&Arc::default(), delivery).acker
    }

    fn step(hop: u32) -> MessageStep {
        let state = MessageState { hop, ..MessageState::fresh(Timestamp::UNIX_EPOCH) };
        MessageStep::new(&"order-1".parse().unwrap(), &state, b"")
    }

    fn query_step(number: u32, hop: u32) -> MessageStep {
        let mut state = MessageState { hop, ..MessageState::fresh(Timestamp::UNIX_EPOCH) };
        state.progress.query =
            Some(ProviderQuery::new(number, QueryPurpose::Lookup, Timestamp::UNIX_EPOCH));
        MessageStep::new(&"order-1".parse().unwrap(), &state, b"")
    }

    fn begin(steps: &InFlight, step: MessageStep, tag: u64, copy: bool) -> StepClaim {
        match steps.enter_step(step, acker(tag), copy) {
            StepEntry::Begun(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repeated_delivery_joins_the_running_step_and_is_acked_with_it() {
        let steps = InFlight::default();
        let claim = begin(&steps, step(1), 1, false);
        assert!(matches!(steps.enter_step(step(1), acker(2), true), StepEntry::Joined));
        assert_eq!(claim.finish_step().len(), 2);
        assert!(matches!(steps.enter_step(step(1), acker(3), true), StepEntry::Ended(_)));
        assert!(matches!(steps.enter_step(step(2), acker(4), true), StepEntry::Begun(_)));
    }

    #[test]
    fn a_fresh_command_under_a_known_id_is_worked_on_by_itself() {
        let steps = InFlight::default();
        let first = begin(&steps, step(1), 1, false);
        let second = begin(&steps, step(1), 2, false);
        assert_eq!((second.finish_step().len(), first.finish_step().len()), (1, 1));
        let again = begin(&steps, step(1), 3, false);
        assert_eq!(again.finish_step().len(), 1);
    }

    #[test]
    fn a_redelivered_command_that_says_something_else_is_no_copy() {
        let steps = InFlight::default();
        let state = MessageState::fresh(Timestamp::UNIX_EPOCH);
        let [one, other] = ["one", "other"]
            .map(|body| MessageStep::new(&"a".parse().unwrap(), &state, body.as_bytes()));
        let claim = begin(&steps, one.clone(), 1, false);
        assert_eq!(begin(&steps, other.clone(), 2, true).finish_step().len(), 1);
        assert_eq!(claim.finish_step().len(), 1);
        assert!(matches!(steps.enter_step(one, acker(3), true), StepEntry::Ended(_)));
        assert!(matches!(
            steps.enter_step(MessageStep { body: 0, ..other }, acker(4), true),
            StepEntry::Begun(_)
        ));
    }

    #[test]
    fn the_next_query_is_no_copy_of_an_early_one_that_shares_its_hop() {
        let steps = InFlight::default();
        let _ = begin(&steps, query_step(1, 8), 1, true).finish_step();
        assert!(matches!(steps.enter_step(query_step(1, 8), acker(2), true), StepEntry::Ended(_)));
        assert!(matches!(steps.enter_step(query_step(2, 8), acker(3), true), StepEntry::Begun(_)));
    }

    #[test]
    fn a_step_that_was_dropped_can_be_entered_again() {
        let steps = InFlight::default();
        drop(begin(&steps, step(1), 2, true));
        assert_eq!(begin(&steps, step(1), 3, true).finish_step().len(), 1);
        assert_eq!(steps.count_running(), 0);
    }

    #[test]
    fn only_so_many_ended_steps_are_remembered() {
        let steps = InFlight::default();
        for hop in 0..u32::try_from(REMEMBERED).unwrap() + 10 {
            let _ = begin(&steps, step(hop), 1, false).finish_step();
        }
        assert!(matches!(steps.enter_step(step(9), acker(1), true), StepEntry::Begun(_)));
        assert!(matches!(steps.enter_step(step(10), acker(1), true), StepEntry::Ended(_)));
        let steps = steps.lock();
        assert_eq!((steps.ended.len(), steps.order.len()), (REMEMBERED, REMEMBERED));
    }
}
