//! Messages that are refused: they are ruled on under an id of their own, by the real ledger.

use crate::Mistake;
use crate::holder::{Turn, bare};
use crate::ledger::{Failed, Rec, Said, Step, Told, What};
use crate::world::At;

/// The content of a message that is no valid command.
pub const REFUSED: u8 = 2;

/// What is told of it.
pub const REFUSAL: Told = Told { step: Step::FIRST, what: What::Failed(Failed::Invalid) };

impl Turn<'_> {
    /// A message has come that is no valid command.
    pub fn refuse(&mut self) {
        let is_known = self.ledger.view(self.world.case).awaited.is_some();
        match self.setup.mistake {
            Some(Mistake::RefusalClaims) => self.give_up(Failed::Invalid, false, false),
            // A conflict, which is told as one.
            mistake if is_known && mistake != Some(Mistake::RefusalEndsKnown) => {
                self.world.seen.told_refusal = true;
                self.goes(At::Ack { by: None });
            }
            _ => {
                self.world.seen.refuse(is_known);
                self.send(Rec::Refused);
            }
        }
    }

    /// The record of its refusal is read. Whoever finds it tells it, the first or another.
    pub fn after_refusal(&mut self, said: Said) {
        match said {
            Said::Counts { .. } | Said::Unsettled(..) | Said::Ended(_) => {
                self.goes(At::Event { by: None, effects: bare(REFUSAL) });
            }
            other => panic!("nothing else is known by its id: {other:?}"),
        }
    }
}
