//! Conversions between the short forms of the model and the real types.

use super::*;
use crate::refusal::REFUSED;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

pub fn record_id(id: RecordKey) -> real::RecordId {
    real::RecordId { writer: Uuid::nil(), number: id.into() }
}

pub fn short_id(id: real::RecordId) -> RecordKey {
    u8::try_from(id.number).unwrap()
}

fn person() -> real::Actor {
    real::Actor { by: "somebody".to_owned(), reason: None }
}

fn key(number: u8) -> IdempotencyKey {
    IdempotencyKey::from_header(&number.to_string())
}

pub fn short_key(key: &IdempotencyKey) -> u8 {
    key.as_str().parse().unwrap()
}

fn step(step: ModelStep) -> real::Step {
    let call = real::Step::call(step.generation.into(), step.attempt.into());
    real::Step { query: step.query.into(), ..call }
}

pub fn short_step(step: real::Step) -> ModelStep {
    let [generation, attempt, query] =
        [step.generation, step.attempt, step.query].map(|number| u8::try_from(number).unwrap());
    ModelStep { generation, attempt, query }
}

fn identity() -> EncodedIdentity {
    let body = br#"{"id":"o","type":"payment","provider":"p","operation":"charge"}"#;
    Command::decode(body, CommandEnvelope::default()).unwrap().identity(&"p".parse().unwrap())
}

/// Builds the record of a refused message.
fn refused() -> real::Record {
    let id = identity().id.for_refused(&[&[REFUSED]]);
    let identity = identity().with_changes(|identity| identity.id = id.clone());
    let (kind, at) = (EventKind::Failed(FailureKind::Invalid, Failure::default()), AT);
    let event = Event::new(
        identity.clone(),
        EventMoment { generation: 0, attempt: 1, at },
        kind,
        TraceContext::default(),
    );
    let finished = real::FinishedRecord {
        step: real::Step::call(0, 1),
        identity: Some(real::CommandIdentity {
            command: identity,
            content_digest: REFUSED.to_string(),
            reply_target: None,
            publisher: None,
        }),
        fresh: true,
        call: None,
        unknown: false,
        not_found: false,
        retained_message: None,
        query: None,
        decided_by: real::DecidedBy::Holder,
        effects: effects::RecordedEffects {
            event: event.into(),
            publish_event: true,
            message: None,
        },
    };
    real::Record { at, command: id, fact: real::RecordBody::Finished(Box::new(finished)) }
}

fn content_identity(content: u8) -> real::CommandIdentity {
    real::CommandIdentity {
        command: identity(),
        content_digest: content.to_string(),
        reply_target: None,
        publisher: None,
    }
}

impl ModelFailure {
    const ALL: [(Self, FailureKind); 9] = [
        (Self::Declined, FailureKind::Declined),
        (Self::Invalid, FailureKind::Invalid),
        (Self::Rejected, FailureKind::Rejected),
        (Self::Unavailable, FailureKind::Unavailable),
        (Self::Poison, FailureKind::Poison),
        (Self::Expired, FailureKind::Expired),
        (Self::Unresolved, FailureKind::Unresolved),
        (Self::Cancelled, FailureKind::Cancelled),
        (Self::Discarded, FailureKind::Discarded),
    ];

    pub fn of(kind: FailureKind) -> Self {
        Self::ALL.into_iter().find(|(_, real)| *real == kind).unwrap().0
    }

    pub fn kind(self) -> FailureKind {
        Self::ALL.into_iter().find(|(short, _)| *short == self).unwrap().1
    }
}

impl ModelEventKind {
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
        use ModelFailure::{Cancelled, Expired, Invalid, Poison, Rejected, Unavailable};
        matches!(
            self,
            Self::Failed(Cancelled | Expired | Invalid | Poison | Rejected | Unavailable)
        )
    }

    /// Returns true if the kind is published as an event.
    pub fn is_published(self) -> bool {
        !matches!(self, Self::Doubtful | Self::Still)
    }

    pub fn state(self) -> LifecycleState {
        match self {
            Self::Pending => LifecycleState::Pending,
            Self::Doubtful => LifecycleState::Processing,
            Self::Waiting | Self::Still => LifecycleState::Waiting,
            Self::Completed => LifecycleState::Completed,
            Self::Failed(_) => LifecycleState::Failed,
        }
    }
}

fn event(model: ModelEvent) -> Event {
    let kind = match model.what {
        ModelEventKind::Pending => EventKind::Pending { due: AT, failure: Failure::default() },
        ModelEventKind::Doubtful => EventKind::Querying { accepted: false, due: AT, failure: None },
        ModelEventKind::Still => EventKind::Querying { accepted: true, due: AT, failure: None },
        ModelEventKind::Waiting => EventKind::Waiting(Success::default(), WaitingFor::Provider),
        ModelEventKind::Completed => EventKind::Completed(Success::default()),
        ModelEventKind::Failed(why) => EventKind::Failed(why.kind(), Failure::default()),
    };
    let real::Step { generation, attempt, .. } = step(model.step);
    Event::new(
        identity(),
        EventMoment { generation, attempt, at: AT },
        kind,
        TraceContext::default(),
    )
}

pub fn short_event(event: &Event) -> ModelEvent {
    let data = &event.data;
    let what = match data.state {
        LifecycleState::Pending => ModelEventKind::Pending,
        LifecycleState::Waiting => ModelEventKind::Waiting,
        LifecycleState::Completed => ModelEventKind::Completed,
        LifecycleState::Failed => ModelEventKind::Failed(ModelFailure::of(
            data.error.as_ref().and_then(|error| error.kind).unwrap(),
        )),
        LifecycleState::Processing => ModelEventKind::Doubtful,
    };
    ModelEvent { step: short_step(real::Step::call(data.generation, data.attempt)), what }
}

fn real_continuation(
    exchange: &str,
    at: ModelStep,
    errand: MessageErrand,
    unknown: bool,
    key: Option<u8>,
) -> effects::ContinuationEffect {
    let errand = match errand {
        MessageErrand::Call => 0,
        MessageErrand::Poll => 1,
        MessageErrand::Lookup(tried) => 2 + i64::from(tried),
    };
    let mut headers = BTreeMap::from([
        ("generation".to_owned(), HeaderValue::Number(at.generation.into())),
        ("attempt".to_owned(), HeaderValue::Number(at.attempt.into())),
        ("query".to_owned(), HeaderValue::Number(at.query.into())),
        ("errand".to_owned(), HeaderValue::Number(errand)),
        ("unknown".to_owned(), HeaderValue::Flag(unknown)),
    ]);
    headers.extend(key.map(|key| ("key".to_owned(), HeaderValue::Number(key.into()))));
    effects::ContinuationEffect {
        exchange: exchange.to_owned(),
        routing_key: String::new(),
        headers,
    }
}

fn short_continuation(continuation: &effects::ContinuationEffect) -> ModelContinuation {
    let number = |name| match continuation.headers.get(name) {
        Some(HeaderValue::Number(number)) => Some(u8::try_from(*number).unwrap()),
        _ => None,
    };
    let generation = number("generation").unwrap();
    let unknown = continuation.headers["unknown"] == HeaderValue::Flag(true);
    let key = number("key");
    if continuation.exchange == "dead" {
        return ModelContinuation::Dead { generation, unknown, key };
    }
    let [attempt, query, errand] = ["attempt", "query", "errand"].map(|name| number(name).unwrap());
    let errand = match errand {
        0 => MessageErrand::Call,
        1 => MessageErrand::Poll,
        more => MessageErrand::Lookup(more - 2),
    };
    ModelContinuation::Next { step: ModelStep { generation, attempt, query }, errand, unknown, key }
}

impl ModelEffects {
    fn real(self) -> effects::RecordedEffects {
        let continuation = match self.continuation {
            ModelContinuation::Nothing => None,
            ModelContinuation::Next { step, errand, unknown, key } => {
                Some(real_continuation("retry", step, errand, unknown, key))
            }
            ModelContinuation::Dead { generation, unknown, key } => {
                let step = ModelStep { generation, attempt: 0, query: 0 };
                Some(real_continuation("dead", step, MessageErrand::Call, unknown, key))
            }
        };
        effects::RecordedEffects {
            event: event(self.event).into(),
            publish_event: self.event.what.is_published(),
            message: continuation,
        }
    }
}

pub fn short_decided(decided: &DecidedCommand) -> (RecordKey, ModelEffects) {
    let DecidedCommand { by, effects, .. } = decided;
    let continuation =
        effects.message.as_ref().map_or(ModelContinuation::Nothing, short_continuation);
    let mut event = short_event(&effects.event);
    if event.what == ModelEventKind::Waiting && !effects.publish_event {
        event.what = ModelEventKind::Still;
    }
    (short_id(*by), ModelEffects { event, continuation })
}

impl ModelGuard {
    pub fn real(self) -> real::CallGuard {
        match self {
            Self::Key => real::CallGuard::Key(1),
            Self::Claim => real::CallGuard::Claim(1),
        }
    }
}

/// Returns true if a message came from a publisher: it was not recorded, and it is at its first
/// step.
pub fn is_fresh(recorded: bool, step: ModelStep) -> bool {
    !recorded && step == ModelStep::FIRST
}

impl ModelStart {
    fn real(self) -> real::StartedRecord {
        real::StartedRecord {
            step: step(self.step),
            identity: Some(content_identity(self.content)),
            fresh: is_fresh(self.recorded, self.step),
            recorded: self.recorded,
            guard: self.guard.real(),
            redelivered: self.redelivered,
            expired_claim: self.expired_claim.map(record_id),
            unknown: self.unknown,
            key: self.key.map(key),
            request_digest: String::new(),
            token: String::new(),
            money: None,
            first_sent: None,
        }
    }
}

impl ModelFinish {
    fn real(self) -> real::FinishedRecord {
        let outcome = Failure::default();
        let outcome = ferryd_domain::outcome::Outcome::Unknown(outcome);
        let attempted = ferryd_domain::progress::AttemptSummary::new(
            1,
            AT,
            std::time::Duration::ZERO,
            &outcome,
        );
        real::FinishedRecord {
            query: None,
            step: step(self.step),
            identity: Some(content_identity(self.content)),
            fresh: is_fresh(self.recorded, self.step),
            call: self.called.then_some(attempted),
            unknown: self.unknown,
            not_found: self.absent,
            retained_message: None,
            decided_by: match self.by {
                ModelDecider::Holder => real::DecidedBy::Holder,
                ModelDecider::Canceller => real::DecidedBy::Canceller(person()),
                ModelDecider::Operator => real::DecidedBy::Operator(person()),
            },
            effects: self.effects.real(),
        }
    }
}

impl ModelRecord {
    pub fn real(self) -> real::Record {
        let fact = match self {
            Self::Opened { step: at, content, recorded } => {
                real::RecordBody::Opened(Box::new(real::OpenedRecord {
                    identity: content_identity(content),
                    step: step(at),
                    fresh: is_fresh(recorded, at),
                    recorded,
                    reason: real::WaitReason::Busy,
                    until: None,
                    submitted_by: None,
                }))
            }
            Self::Started(start) => real::RecordBody::Started(Box::new(start.real())),
            Self::Released(id) => {
                real::RecordBody::Released(real::ReleasedRecord { started: record_id(id) })
            }
            Self::TakenOver(id) => {
                real::RecordBody::ClaimExpired(real::ClaimExpired { claim: record_id(id) })
            }
            Self::Finished(finish) => real::RecordBody::Finished(Box::new(finish.real())),
            Self::Settled(id) => {
                real::RecordBody::Settled(real::SettledRecord { finished: record_id(id) })
            }
            Self::CancelRequested => {
                real::RecordBody::CancelRequested(real::CancelRequested { actor: person() })
            }
            Self::Replayed { from, unknown, key: kept, .. } => {
                real::RecordBody::Replayed(Box::new(real::ReplayedRecord {
                    identity: content_identity(0),
                    from: from.into(),
                    unknown,
                    key: kept.map(key),
                    first_sent: None,
                    request_digest: None,
                    token: String::new(),
                    actor: person(),
                    job: None,
                }))
            }
            Self::Refused => return refused(),
            Self::Erased => real::RecordBody::Erased(real::ContentErasure { actor: person() }),
            Self::Asked => real::RecordBody::ReplyRequested(real::ReplyTarget {
                reply_to: "somewhere".to_owned(),
                correlation_id: None,
            }),
        };
        real::Record { at: AT, command: identity().id.clone(), fact }
    }
}
