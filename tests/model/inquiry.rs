//! Queries of the provider: the possible answers, and the decisions that follow.

use ferryd_domain::inquiry::{Inquiry, Purpose, after_lookup, after_poll, doubtful};
use ferryd_domain::lifecycle::Decision;
use ferryd_domain::outcome::{Failure, LookedUp, Outcome, Polled, Success};

use crate::Mistake;
use crate::holder::{NOW, Parcel, Turn};
use crate::ledger::{Errand, Failed, Guard, Rec, Step, What};
use crate::moves::Action;
use crate::search::Protocol;
use crate::world::{At, Instance, World};

/// The provider's answer to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The operation is done.
    Done,
    /// The provider declined.
    Declined,
    /// The operation is not done yet.
    Still,
    /// The deadline has passed meanwhile.
    Overdue,
    /// The provider has not found the operation.
    Absent,
    /// The answer decides nothing.
    Unclear,
}

/// The number of queries about an attempt after which the deadline has passed.
const PATIENCE: u8 = 2;

/// Returns the query that a message is due for.
pub fn inquiry_of(errand: Errand, step: Step) -> Option<Inquiry> {
    let (purpose, tried) = match errand {
        Errand::Call => return None,
        Errand::Poll => (Purpose::Poll, 0),
        Errand::Lookup(tried) => (Purpose::Lookup, tried),
    };
    Some(Inquiry { tried: tried.into(), ..Inquiry::new(step.inquiry.into(), purpose, NOW) })
}

/// Returns the short form of a query.
pub fn short_inquiry(about: Step, inquiry: Inquiry) -> (Step, Errand) {
    let errand = match inquiry.purpose {
        Purpose::Poll => Errand::Poll,
        Purpose::Lookup => Errand::Lookup(u8::try_from(inquiry.tried).unwrap()),
    };
    (Step { inquiry: u8::try_from(inquiry.number).unwrap(), ..about }, errand)
}

impl Protocol {
    /// Lists the possible answers of the provider.
    pub fn words(&self, world: &World, who: usize, actions: &mut Vec<Action>) {
        let Some(message) = world.instances[who].message else { return };
        let crate::world::Kind::Command { step, errand, .. } = message.kind else { return };
        let truth = match self.key_of(world, who) {
            Some(key) => world.seen.truth[usize::from(key)],
            None => (world.seen.acts > 0).then_some(What::Completed),
        };
        let words = match truth {
            Some(What::Completed) => vec![Heard::Done],
            Some(_) => vec![Heard::Declined],
            None => Vec::new(),
        };
        let words = match errand {
            Errand::Call => return,
            Errand::Poll if step.inquiry > PATIENCE => vec![Heard::Overdue],
            Errand::Poll => words.into_iter().chain([Heard::Still, Heard::Overdue]).collect(),
            Errand::Lookup(_) => {
                let absent = truth.is_none() && self.is_over_with(world);
                words.into_iter().chain([Heard::Unclear]).chain(absent.then_some(Heard::Absent)).collect()
            }
        };
        actions.extend(words.into_iter().map(|heard| Action::Heard(who, heard)));
    }

    /// Returns true if every call that was begun has ended: a lookup waits for that.
    fn is_over_with(&self, world: &World) -> bool {
        let calls = |other: &Instance| match other.at {
            At::Calling { .. } | At::Read(_, Rec::Started(_), _) => true,
            // The start is refused or superseded by now, whatever its ruling.
            At::Sent(_, Rec::Started(_)) => self.setup.guard == Guard::Key,
            _ => false,
        };
        self.setup.mistake == Some(Mistake::BelievesTooEarly) || !world.instances.iter().any(calls)
    }
}

impl Turn<'_> {
    /// Acts on the provider's answer to a query.
    pub fn heard(&mut self, heard: Heard) {
        let Parcel { step, errand, unknown, .. } = self.parcel();
        let inquiry = inquiry_of(errand, step).unwrap();
        let mut progress = self.progress(unknown);
        let limits = self.limits(step.generation);
        let decision = match (inquiry.purpose, heard) {
            // An overdue command is looked up with the same message.
            (Purpose::Poll, Heard::Overdue) => return self.doubt(false),
            (Purpose::Poll, heard) => {
                let polled = match heard {
                    Heard::Done => Polled::Completed(Success::default()),
                    Heard::Declined => Polled::Declined(Failure::default()),
                    _ => Polled::Still(None),
                };
                after_poll(polled, inquiry, &progress, &limits, NOW)
            }
            (Purpose::Lookup, heard) => {
                let looked_up = match heard {
                    Heard::Done => LookedUp::Found(Outcome::Completed(Success::default())),
                    Heard::Declined => LookedUp::Found(Outcome::Declined(Failure::default())),
                    Heard::Absent => LookedUp::Absent(Failure::default()),
                    _ => LookedUp::Unclear(Failure::default()),
                };
                after_lookup(looked_up, inquiry, &mut progress, &limits, NOW, 0.5)
            }
        };
        self.decided(decision, false, progress.unknown);
    }

    /// Continues where a call may have acted: by a lookup, or an unresolved end.
    pub fn doubt(&mut self, called: bool) {
        let step = self.parcel().step;
        let progress = self.progress(true);
        match doubtful(Failure::default(), &progress, self.limits(step.generation).lookup, NOW) {
            Decision::GiveUp(..) => self.give_up(Failed::Unresolved, called, true),
            decision => self.decided(decision, called, true),
        }
    }
}
