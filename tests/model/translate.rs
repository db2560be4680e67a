//! Conversions between the short forms of the model and the real types.

use super::*;
use crate::refusal::REFUSED;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

pub fn record_id(id: Id) -> real::RecordId {
    real::RecordId { writer: Uuid::nil(), number: id.into() }
}

pub fn short_id(id: real::RecordId) -> Id {
    u8::try_from(id.number).unwrap()
}

fn person() -> real::Person {
    real::Person { by: "somebody".to_owned(), reason: None }
}

fn key(number: u8) -> IdempotencyKey {
    IdempotencyKey::from_header(&number.to_string())
}

pub fn short_key(key: &IdempotencyKey) -> u8 {
    key.as_str().parse().unwrap()
}

fn step(step: Step) -> real::Step {
    let call = real::Step::call(step.generation.into(), step.attempt.into());
    real::Step { inquiry: step.inquiry.into(), ..call }
}

pub fn short_step(step: real::Step) -> Step {
    let [generation, attempt, inquiry] =
        [step.generation, step.attempt, step.inquiry].map(|number| u8::try_from(number).unwrap());
    Step { generation, attempt, inquiry }
}

fn identity() -> Identity {
    let body = br#"{"id":"o","type":"payment","provider":"p","operation":"charge"}"#;
    Command::decode(body, Envelope::default()).unwrap().identity(&"p".parse().unwrap())
}

/// Builds the record of a refused message.
fn refused() -> real::Record {
    let id = identity().id.of_refused(&[&[REFUSED]]);
    let identity = Identity { id: id.clone(), ..identity() };
    let (happening, at) = (Happening::Failed(Kind::Invalid, Failure::default()), AT);
    let event = Event::new(identity.clone(), Moment { generation: 0, attempt: 1, at }, happening, Trace::default());
    let finished = real::Finished {
        step: real::Step::call(0, 1),
        opening: Some(real::Opening { identity, content: REFUSED.to_string(), asked: None, publisher: None }),
        fresh: true,
        call: None,
        unknown: false,
        absent: false,
        kept: None,
        query: None,
        by: real::By::Holder,
        effects: effects::RecordedEffects { event, told: true, carried: None },
    };
    real::Record { at, command: id, fact: real::Fact::Finished(Box::new(finished)) }
}

fn opening(content: u8) -> real::Opening {
    real::Opening { identity: identity(), content: content.to_string(), asked: None, publisher: None }
}

impl Failed {
    const ALL: [(Self, Kind); 9] = [
        (Self::Declined, Kind::Declined),
        (Self::Invalid, Kind::Invalid),
        (Self::Rejected, Kind::Rejected),
        (Self::Unavailable, Kind::Unavailable),
        (Self::Poison, Kind::Poison),
        (Self::Expired, Kind::Expired),
        (Self::Unresolved, Kind::Unresolved),
        (Self::Cancelled, Kind::Cancelled),
        (Self::Discarded, Kind::Discarded),
    ];

    pub fn of(kind: Kind) -> Self {
        Self::ALL.into_iter().find(|(_, real)| *real == kind).unwrap().0
    }

    pub fn kind(self) -> Kind {
        Self::ALL.into_iter().find(|(short, _)| *short == self).unwrap().1
    }
}

impl What {
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed(_))
    }

    /// Returns true if no further event can follow.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed => true,
            Self::Failed(why) => !why.kind().dead_letters(),
            Self::Pending | Self::Doubtful | Self::Waiting | Self::Still => false,
        }
    }

    /// Returns true if the event denies that the provider has done anything.
    pub fn denies(self) -> bool {
        use Failed::{Cancelled, Expired, Invalid, Poison, Rejected, Unavailable};
        matches!(self, Self::Failed(Cancelled | Expired | Invalid | Poison | Rejected | Unavailable))
    }

    /// Returns true if the kind is published as an event.
    pub fn is_told(self) -> bool {
        !matches!(self, Self::Doubtful | Self::Still)
    }

    pub fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Doubtful => State::Processing,
            Self::Waiting | Self::Still => State::Waiting,
            Self::Completed => State::Completed,
            Self::Failed(_) => State::Failed,
        }
    }
}

fn event(told: Told) -> Event {
    let happening = match told.what {
        What::Pending => Happening::Pending { due: AT, failure: Failure::default() },
        What::Doubtful => Happening::Inquiring { accepted: false, due: AT, failure: None },
        What::Still => Happening::Inquiring { accepted: true, due: AT, failure: None },
        What::Waiting => Happening::Waiting(Success::default(), Party::Provider),
        What::Completed => Happening::Completed(Success::default()),
        What::Failed(why) => Happening::Failed(why.kind(), Failure::default()),
    };
    let real::Step { generation, attempt, .. } = step(told.step);
    Event::new(identity(), Moment { generation, attempt, at: AT }, happening, Trace::default())
}

pub fn short_event(event: &Event) -> Told {
    let data = &event.data;
    let what = match data.state {
        State::Pending => What::Pending,
        State::Waiting => What::Waiting,
        State::Completed => What::Completed,
        State::Failed => What::Failed(Failed::of(data.error.as_ref().and_then(|error| error.kind).unwrap())),
        State::Processing => What::Doubtful,
    };
    Told { step: short_step(real::Step::call(data.generation, data.attempt)), what }
}

fn carried(exchange: &str, at: Step, errand: Errand, unknown: bool, key: Option<u8>) -> effects::Carried {
    let errand = match errand {
        Errand::Call => 0,
        Errand::Poll => 1,
        Errand::Lookup(tried) => 2 + i64::from(tried),
    };
    let mut headers = BTreeMap::from([
        ("generation".to_owned(), HeaderValue::Number(at.generation.into())),
        ("attempt".to_owned(), HeaderValue::Number(at.attempt.into())),
        ("inquiry".to_owned(), HeaderValue::Number(at.inquiry.into())),
        ("errand".to_owned(), HeaderValue::Number(errand)),
        ("unknown".to_owned(), HeaderValue::Flag(unknown)),
    ]);
    headers.extend(key.map(|key| ("key".to_owned(), HeaderValue::Number(key.into()))));
    effects::Carried { exchange: exchange.to_owned(), routing_key: String::new(), headers }
}

fn short_carried(carried: &effects::Carried) -> Carried {
    let number = |name| match carried.headers.get(name) {
        Some(HeaderValue::Number(number)) => Some(u8::try_from(*number).unwrap()),
        _ => None,
    };
    let generation = number("generation").unwrap();
    let unknown = carried.headers["unknown"] == HeaderValue::Flag(true);
    let key = number("key");
    if carried.exchange == "dead" {
        return Carried::Dead { generation, unknown, key };
    }
    let [attempt, inquiry, errand] = ["attempt", "inquiry", "errand"].map(|name| number(name).unwrap());
    let errand = match errand {
        0 => Errand::Call,
        1 => Errand::Poll,
        more => Errand::Lookup(more - 2),
    };
    Carried::Next { step: Step { generation, attempt, inquiry }, errand, unknown, key }
}

impl Effects {
    fn real(self) -> effects::RecordedEffects {
        let carried = match self.carried {
            Carried::Nothing => None,
            Carried::Next { step, errand, unknown, key } => Some(carried("retry", step, errand, unknown, key)),
            Carried::Dead { generation, unknown, key } => {
                let step = Step { generation, attempt: 0, inquiry: 0 };
                Some(carried("dead", step, Errand::Call, unknown, key))
            }
        };
        effects::RecordedEffects { event: event(self.event), told: self.event.what.is_told(), carried }
    }
}

pub fn short_decided(decided: &Decided) -> (Id, Effects) {
    let Decided { by, effects, .. } = decided;
    let carried = effects.carried.as_ref().map_or(Carried::Nothing, short_carried);
    let mut event = short_event(&effects.event);
    if event.what == What::Waiting && !effects.told {
        event.what = What::Still;
    }
    (short_id(*by), Effects { event, carried })
}

impl Guard {
    pub fn real(self) -> real::Guard {
        match self {
            Self::Key => real::Guard::Key(1),
            Self::Claim => real::Guard::Claim(1),
            Self::Harmless => real::Guard::Harmless,
        }
    }
}

/// Returns true if a message came from a publisher: it was not recorded, and it is at its first
/// step.
pub fn is_fresh(recorded: bool, step: Step) -> bool {
    !recorded && step == Step::FIRST
}

impl Start {
    fn real(self) -> real::Started {
        real::Started {
            step: step(self.step),
            opening: Some(opening(self.content)),
            fresh: is_fresh(self.recorded, self.step),
            recorded: self.recorded,
            guard: self.guard.real(),
            redelivered: self.redelivered,
            waited_out: self.waited_out.map(record_id),
            unknown: self.unknown,
            key: self.key.map(key),
            digest: String::new(),
            token: None,
            money: None,
            first_sent: None,
        }
    }
}

impl Finish {
    fn real(self) -> real::Finished {
        let outcome = Failure::default();
        let outcome = ferryd_domain::outcome::Outcome::Unknown(outcome);
        let attempted = ferryd_domain::progress::Attempted::new(1, AT, std::time::Duration::ZERO, &outcome);
        real::Finished {
            query: None,
            step: step(self.step),
            opening: Some(opening(self.content)),
            fresh: is_fresh(self.recorded, self.step),
            call: self.called.then_some(attempted),
            unknown: self.unknown,
            absent: self.absent,
            kept: None,
            by: match self.by {
                By::Holder => real::By::Holder,
                By::Canceller => real::By::Canceller(person()),
                By::Operator => real::By::Operator(person()),
            },
            effects: self.effects.real(),
        }
    }
}

impl Rec {
    pub fn real(self) -> real::Record {
        let fact = match self {
            Self::Opened { step: at, content, recorded } => real::Fact::Opened(Box::new(real::Opened {
                opening: opening(content),
                step: step(at),
                fresh: is_fresh(recorded, at),
                recorded,
                reason: real::Reason::Busy,
                until: None,
                by: None,
            })),
            Self::Started(start) => real::Fact::Started(Box::new(start.real())),
            Self::Released(id) => real::Fact::Released(real::Released { started: record_id(id) }),
            Self::TakenOver(id) => real::Fact::TakenOver(real::TakenOver { claim: record_id(id) }),
            Self::Finished(finish) => real::Fact::Finished(Box::new(finish.real())),
            Self::Settled(id) => real::Fact::Settled(real::Settled { finished: record_id(id) }),
            Self::CancelWished => real::Fact::CancelWished(real::CancelWished { person: person() }),
            Self::Replayed { from, unknown, key: kept, .. } => real::Fact::Replayed(Box::new(real::Replayed {
                opening: opening(0),
                from: from.into(),
                unknown,
                key: kept.map(key),
                first_sent: None,
                digest: None,
                token: None,
                person: person(),
                job: None,
            })),
            Self::Refused => return refused(),
            Self::Erased => real::Fact::Erased(real::ContentErasure { person: person() }),
            Self::Asked => real::Fact::Asked(real::Asked { reply_to: "somewhere".to_owned(), correlation_id: None }),
        };
        real::Record { at: AT, command: identity().id, fact }
    }
}
