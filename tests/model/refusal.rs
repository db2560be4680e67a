//! Messages that are refused: the real ledger rules on them under an id of their own.

use crate::holder::{InstanceStep, bare};
use crate::ledger::{
    ModelEvent, ModelEventKind, ModelFailure, ModelRecord, ModelRuling, ModelStep,
};
use crate::setup::PlantedMistake;
use crate::world::InstancePlace;

/// The content of a message that is no valid command.
pub const REFUSED: u8 = 2;

/// The event of the refusal.
pub const REFUSAL: ModelEvent =
    ModelEvent { step: ModelStep::FIRST, what: ModelEventKind::Failed(ModelFailure::Invalid) };

impl InstanceStep<'_> {
    /// Refuses a delivered message that is no valid command.
    pub fn refuse(&mut self) {
        let is_known = self.ledger.view(self.world.case).awaited.is_some();
        match self.setup.mistake {
            Some(PlantedMistake::RefusalClaims) => {
                self.give_up(ModelFailure::Invalid, false, false);
            }
            // The refusal is published as a conflict.
            mistake if is_known && mistake != Some(PlantedMistake::RefusalEndsKnown) => {
                self.world.seen.published_refusal = true;
                self.goes(InstancePlace::Ack { by: None });
            }
            _ => {
                self.world.seen.refuse(is_known);
                self.send(ModelRecord::Refused);
            }
        }
    }

    /// Acts on the ruling on the refusal. Any instance that finds the refusal publishes it.
    pub fn after_refusal(&mut self, said: ModelRuling) {
        match said {
            ModelRuling::Counts { .. } | ModelRuling::Unsettled(..) | ModelRuling::Ended(_) => {
                self.goes(InstancePlace::Event { by: None, effects: bare(REFUSAL) });
            }
            other => panic!("nothing else is known by its id: {other:?}"),
        }
    }
}
