//! The properties of the model, and the search for a state in which they do not hold.

use std::sync::Mutex;
use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::ledger::{
    MessageErrand, ModelEventKind, ModelGuard, ModelLedger, ModelRecord, ModelStep,
};
use crate::moves::WorldAction;
use crate::refusal::REFUSED;
use crate::setup::WorldSetup;
use crate::world::{
    BrokerMessage, BrokerMessageKind, ModelInstance, SeenHistory, WorldState, wrong,
};

/// The protocol in a world of a certain size.
pub struct SearchProtocol {
    pub setup: WorldSetup,
    pub ledger: Mutex<ModelLedger>,
}

/// The result of a search.
#[derive(Debug)]
pub struct SearchOutcome {
    pub states: usize,
    pub depth: usize,
    pub cases: usize,
    pub seconds: f32,
    /// The properties that do not hold, each with the shortest path to a violation.
    pub broken: Vec<(&'static str, Vec<String>)>,
}

/// Searches all states.
pub fn check(setup: &WorldSetup) -> SearchOutcome {
    let began = Instant::now();
    let protocol = SearchProtocol {
        setup: setup.clone(),
        ledger: Mutex::new(ModelLedger::new(setup.mistake)),
    };
    let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().map(|(name, path)| {
        let steps = path
            .into_vec()
            .into_iter()
            .map(|(state, action)| checker.model().describe(&state, action))
            .collect();
        (name, steps)
    });
    SearchOutcome {
        broken: broken.collect(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        cases: checker.model().ledger.lock().unwrap().cases(),
        seconds: began.elapsed().as_secs_f32(),
    }
}

impl SearchProtocol {
    /// Describes a transition in a line, for people.
    fn describe(&self, world: &WorldState, action: Option<WorldAction>) -> String {
        match action {
            Some(WorldAction::Deliver(place, job)) => {
                format!("deliver {:?} {job:?}", world.queue[place])
            }
            Some(WorldAction::Land(place)) => {
                let (id, record) = world.transit[place];
                let mut ledger = self.ledger.lock().unwrap();
                let case = if record == ModelRecord::Refused { world.refusal } else { world.case };
                let ruling = ledger.rule(case, id, record).1;
                format!("   ledger: {id} {record:?} -> {:?}", ledger.said(ruling))
            }
            Some(WorldAction::Go(who)) => format!("      go {:?}", world.instances[who].at),
            Some(WorldAction::Answered(who, answer)) => {
                format!("      {answer:?} to {:?}", world.instances[who].at)
            }
            Some(WorldAction::Crash(who, what)) => {
                format!("CRASH({what}) of {:?}", world.instances[who].at)
            }
            Some(WorldAction::Unlink(who)) => format!("UNLINK of {:?}", world.instances[who].at),
            Some(other) => format!("{other:?}"),
            None => {
                format!(
                    "end: {:?} {:?} {:?}",
                    self.ledger.lock().unwrap().view(world.case),
                    world.queue,
                    world.seen
                )
            }
        }
    }
}

impl Model for SearchProtocol {
    type State = WorldState;
    type Action = WorldAction;

    fn init_states(&self) -> Vec<WorldState> {
        let step = ModelStep::FIRST;
        let WorldSetup { copies, others, refused, cancels, lost, .. } = self.setup;
        let (errand, expired_claim) = (MessageErrand::Call, None);
        let command = |content| BrokerMessageKind::Command {
            step,
            errand,
            recorded: lost,
            content,
            unknown: false,
            key: None,
            expired_claim,
        };
        let mut seen = SeenHistory::default();
        if lost {
            seen.call(step, self.setup.guard, Some(0));
            seen.act((self.setup.guard == ModelGuard::Key).then_some(0), ModelEventKind::Completed);
        }
        let kinds = std::iter::repeat_n(command(0), copies)
            .chain(std::iter::repeat_n(command(1), others))
            .chain(std::iter::repeat_n(command(REFUSED), refused))
            .chain(std::iter::repeat_n(BrokerMessageKind::Cancel, cancels));
        vec![WorldState {
            case: 0,
            refusal: 0,
            transit: Vec::new(),
            queue: kinds.map(BrokerMessage::new).collect(),
            instances: vec![ModelInstance::IDLE; self.setup.instances],
            seen,
            faults: self.setup.faults,
            webhooks: self.setup.webhooks,
            jobs: self.setup.jobs,
            waits: self.setup.waits,
            unroutable: self.setup.unroutable,
            erasures: self.setup.erasures,
            expired: false,
        }]
    }

    fn actions(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        if world.seen.wrong != 0 {
            return;
        }
        // A step that affects no other instance is done at once: its time makes no difference.
        if let Some(who) = world.instances.iter().position(|instance| self.is_apart(instance)) {
            actions.push(WorldAction::Go(who));
            if world.faults > 0 {
                self.instance_faults(world, who, actions);
            }
            return;
        }
        self.steps(world, actions);
        self.chances(world, actions);
    }

    fn next_state(&self, world: &WorldState, action: WorldAction) -> Option<WorldState> {
        let mut next = world.clone();
        let mut ledger = self.ledger.lock().unwrap();
        self.apply(&mut ledger, &mut next, action);
        Some(next.in_order(&ledger))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn not(world: &WorldState, what: u16) -> bool {
            world.seen.wrong & what == 0
        }
        vec![
            Property::always("no step is called twice without a key", |_, w| {
                not(w, wrong::CALLED_TWICE)
            }),
            Property::always("no call follows an unknown one without a key", |_, w| {
                not(w, wrong::CALLED_AFTER_UNKNOWN)
            }),
            Property::always("a generation has one key", |_, w| not(w, wrong::TWO_KEYS)),
            Property::always("what is published is recorded", |_, w| {
                not(w, wrong::PUBLISHED_WITHOUT_RECORD)
            }),
            Property::always("a generation ends once for good", |_, w| not(w, wrong::TWO_ENDS)),
            Property::always("an end has a higher number than what was published", |_, w| {
                not(w, wrong::PUBLISHED_TOO_LATE)
            }),
            Property::always("what is cancelled is not called", |_, w| {
                not(w, wrong::CALLED_AFTER_CANCEL)
            }),
            Property::always("a generation is replayed once", |_, w| not(w, wrong::TWO_REPLAYS)),
            Property::always("the provider acts once unless a person takes the risk", |_, w| {
                not(w, wrong::ACTED_TWICE)
            }),
            Property::always("nobody says that nothing was done where it was", |_, w| {
                not(w, wrong::DENIED)
            }),
            Property::always("what is refused claims no id", |m: &Self, w: &WorldState| {
                m.ledger.lock().unwrap().view(w.case).content != Some(REFUSED)
            }),
            Property::always("nothing is refused under a known id", |_, w| {
                not(w, wrong::REFUSED_KNOWN)
            }),
            Property::always("everything ends and is published", |m: &Self, w| {
                m.is_under_way(w) || m.is_over(w)
            }),
        ]
    }
}
