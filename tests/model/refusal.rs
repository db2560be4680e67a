//! Messages that are refused: the real ledger rules on them under an id of their own.

use crate::Mistake;
use crate::holder::{Turn, bare};
use crate::ledger::{Failed, Rec, Said, Step, Told, What};
use crate::world::At;

/// The content of a message that is no valid command.
pub const REFUSED: u8 = 2;

/// The event of the refusal.
pub const REFUSAL: Told = Told { step: Step::FIRST, what: What::Failed(Failed::Invalid) };

impl Turn<'_> {
    /// Refuses a delivered message that is no valid command.
    pub fn refuse(&mut self) {
        let is_known = self.ledger.view(self.world.case).awaited.is_some();
        match self.setup.mistake {
            Some(Mistake::RefusalClaims) => self.give_up(Failed::Invalid, false, false),
            // The refusal is published as a conflict.
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

    /// Acts on the ruling on the refusal. Any instance that finds the refusal publishes it.
    pub fn after_refusal(&mut self, said: Said) {
        match said {
            Said::Counts { .. } | Said::Unsettled(..) | Said::Ended(_) => {
                self.goes(At::Event { by: None, effects: bare(REFUSAL) });
            }
            other => panic!("nothing else is known by its id: {other:?}"),
        }
    }
}
