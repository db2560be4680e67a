//! Messages that arrive outside their lane: unroutable ones, poisoned ones, and those that are
//! refused because their progress can't be read.

use crate::Mistake;
use crate::holder::{Parcel, Turn};
use crate::ledger::{Errand, Failed, Step, is_fresh};
use crate::moves::Action;
use crate::search::Protocol;
use crate::world::{Kind, World};

/// The way by which a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
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

impl Protocol {
    /// Lists the other ways by which messages may arrive.
    pub fn strays(world: &World, actions: &mut Vec<Action>) {
        let poisoned = [true, false].map(|seen| Way::Poisoned { seen });
        for (place, message) in world.queue.iter().enumerate().filter(|(_, message)| message.way == Way::Lane) {
            match message.kind {
                Kind::Command { .. } => {
                    let ways = poisoned.into_iter().chain([Way::Unroutable, Way::Garbled]);
                    actions.extend(ways.map(|way| Action::Stray(place, way)));
                }
                Kind::Callback(_) => actions.push(Action::Stray(place, poisoned[0])),
                Kind::Dead { .. } | Kind::Cancel => {}
            }
        }
    }

    /// Moves a message to another way. A notice is dead-lettered, for an operator.
    pub fn stray(world: &mut World, place: usize, way: Way) {
        world.strays -= 1;
        if let Kind::Callback(_) = world.queue[place].kind {
            world.queue.remove(place);
        } else {
            world.queue[place].way = way;
        }
    }
}

impl Turn<'_> {
    /// Takes a delivered message that is given up.
    pub fn take_stray(&mut self, way: Way) {
        let Parcel { step, errand, recorded, unknown, .. } = self.parcel();
        let known = self.ledger.view(self.world.case).unknown;
        match way {
            Way::Lane => {}
            Way::Unroutable => {
                let doubtful = unknown || errand == Errand::Poll;
                let why = if doubtful { Failed::Unresolved } else { Failed::Unavailable };
                self.give_up(why, false, unknown);
            }
            Way::Poisoned { .. } if is_fresh(recorded, step) => self.give_up(Failed::Poison, false, unknown || known),
            Way::Poisoned { .. } if self.setup.mistake == Some(Mistake::TakesPoisonForFresh) => {
                self.me().placed = Some(Step::FIRST);
                self.give_up(Failed::Poison, false, known);
            }
            Way::Poisoned { seen: false } => {
                self.me().placed = Some(Step::FIRST);
                self.give_up(Failed::Unresolved, false, true);
            }
            Way::Poisoned { seen: true } | Way::Garbled => self.locate(),
        }
    }

    /// Finds the progress of a message whose own headers are not reliable.
    pub fn locate(&mut self) {
        let awaited = self.ledger.view(self.world.case).awaited;
        let message = self.me().message.unwrap();
        let believed = match message.kind {
            Kind::Command { step, .. } => message.way != Way::Garbled && awaited.is_some_and(|awaited| step <= awaited),
            _ => false,
        };
        self.me().placed = (!believed).then_some(awaited.unwrap_or(Step::FIRST));
        self.give_up(Failed::Unresolved, false, true);
    }
}
