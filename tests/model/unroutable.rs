//! Messages that arrive outside their lane: unroutable ones, poisoned ones, and those that are
//! refused because their progress can't be read.

use crate::holder::{HeldCommand, InstanceStep};
use crate::ledger::{MessageErrand, ModelFailure, ModelStep, is_fresh};
use crate::moves::WorldAction;
use crate::search::SearchProtocol;
use crate::setup::PlantedMistake;
use crate::world::{BrokerMessageKind, WorldState};

/// The way by which a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArrivalWay {
    /// The message arrives by its provider's queue.
    Lane,
    /// The message fits no binding: its provider was removed.
    Unroutable,
    /// The message was delivered too often.
    Poisoned {
        /// True where the consumer knows the message's command: it may read the ledger only later.
        seen: bool,
    },
    /// The headers of the message can't be read.
    Garbled,
}

impl SearchProtocol {
    /// Lists the other ways by which messages may arrive.
    pub fn unroutable_messages(world: &WorldState, actions: &mut Vec<WorldAction>) {
        let poisoned = [true, false].map(|seen| ArrivalWay::Poisoned { seen });
        for (place, message) in
            world.queue.iter().enumerate().filter(|(_, message)| message.way == ArrivalWay::Lane)
        {
            match message.kind {
                BrokerMessageKind::Command { .. } => {
                    let ways =
                        poisoned.into_iter().chain([ArrivalWay::Unroutable, ArrivalWay::Garbled]);
                    actions.extend(ways.map(|way| WorldAction::Stray(place, way)));
                }
                BrokerMessageKind::Webhook(_) => {
                    actions.push(WorldAction::Stray(place, poisoned[0]));
                }
                BrokerMessageKind::Dead { .. } | BrokerMessageKind::Cancel => {}
            }
        }
    }

    /// Moves a message to another way. A notice is dead-lettered, for an operator.
    pub fn unroutable_message(world: &mut WorldState, place: usize, way: ArrivalWay) {
        world.unroutable -= 1;
        if let BrokerMessageKind::Webhook(_) = world.queue[place].kind {
            world.queue.remove(place);
        } else {
            world.queue[place].way = way;
        }
    }
}

impl InstanceStep<'_> {
    /// Takes a delivered message that is given up.
    pub fn take_unroutable(&mut self, way: ArrivalWay) {
        let HeldCommand { step, errand, recorded, unknown, .. } = self.held_command();
        let known = self.ledger.view(self.world.case).unknown;
        match way {
            ArrivalWay::Lane => {}
            ArrivalWay::Unroutable => {
                let doubtful = unknown || errand == MessageErrand::Poll;
                let why =
                    if doubtful { ModelFailure::Unresolved } else { ModelFailure::Unavailable };
                self.give_up(why, false, unknown);
            }
            ArrivalWay::Poisoned { .. } if is_fresh(recorded, step) => {
                self.give_up(ModelFailure::Poison, false, unknown || known);
            }
            ArrivalWay::Poisoned { .. }
                if self.setup.mistake == Some(PlantedMistake::TakesPoisonForFresh) =>
            {
                self.me().placed = Some(ModelStep::FIRST);
                self.give_up(ModelFailure::Poison, false, known);
            }
            ArrivalWay::Poisoned { seen: false } => {
                self.me().placed = Some(ModelStep::FIRST);
                self.give_up(ModelFailure::Unresolved, false, true);
            }
            ArrivalWay::Poisoned { seen: true } | ArrivalWay::Garbled => self.locate(),
        }
    }

    /// Finds the progress of a message whose own headers are not reliable.
    pub fn locate(&mut self) {
        let awaited = self.ledger.view(self.world.case).awaited;
        let message = self.me().message.unwrap();
        let verified = match message.kind {
            BrokerMessageKind::Command { step, .. } => {
                message.way != ArrivalWay::Garbled && awaited.is_some_and(|awaited| step <= awaited)
            }
            _ => false,
        };
        self.me().placed = (!verified).then_some(awaited.unwrap_or(ModelStep::FIRST));
        self.give_up(ModelFailure::Unresolved, false, true);
    }
}
