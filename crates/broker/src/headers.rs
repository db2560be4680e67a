//! The headers of commands that ferryd republishes: the progress of the command, and its timing.
//!
//! The names start with `ferry-` and not with `x-`, because the broker acts on its own `x-`
//! headers: a kept `x-death` makes it take a retry for a cycle and drop the message. Every
//! republished message loses the properties of the broker or a publisher that would change where or
//! for how long a copy lives; see [`carried_properties`].
//!
//! A version reads what the versions before and after it wrote: unknown headers are ignored,
//! missing ones have a default.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

use super::message::{get_number, get_text, short_or_empty};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::ledger::effects::HeaderValue;
use ferryd_domain::ledger::record::RecordId;
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::{
    DEADLINE_HEADER as DEADLINE, PlannedQuery, ProviderQuery, QueryPurpose,
};

const KIND: &str = "ferry-kind";
const GENERATION: &str = "ferry-generation";
const ATTEMPT: &str = "ferry-attempt";
const SINCE: &str = "ferry-since";
const KEY: &str = "ferry-key";
const FIRST_SENT: &str = "ferry-first-sent";
const UNKNOWN: &str = "ferry-unknown";
const DIGEST: &str = "ferry-digest";
const TOKEN: &str = "ferry-token";
const HISTORY: &str = "ferry-history";
const HOP: &str = "ferry-hop";
const EXTENDED_TO: &str = "ferry-expires-at";
const RECORDED: &str = "ferry-recorded";
const CLAIM: &str = "ferry-claim";
const ROUTING_KEY: &str = "ferry-routing-key";
const UNKNOWN_SINCE: &str = "ferry-unknown-since";
const REFERENCE: &str = "ferry-provider-reference";
const QUERY: &str = "ferry-query";
const PURPOSE: &str = "ferry-purpose";
const NOT_BEFORE: &str = "ferry-not-before";
const TRIED: &str = "ferry-tried";
const EARLY: &str = "ferry-early";
const PLANNED_PURPOSE: &str = "ferry-planned-purpose";
const PLANNED_NOT_BEFORE: &str = "ferry-planned-not-before";
const PLANNED_TRIED: &str = "ferry-planned-tried";
const PUBLISHER: &str = "ferry-publisher";
const UNCHECKED: &str = "ferry-unchecked";
pub use super::copied_properties::{carried_properties, stripped_of_deaths};
pub use super::trace_context::{put_trace, trace};
pub use ferryd_domain::dead_letter::HEADER as DEAD;

/// The reason why a command passes through a queue of ferryd's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinuationKind {
    /// The command waits for its next attempt.
    Retry,
    /// The command waits without having spent an attempt.
    Park,
    /// An operator replays a dead letter.
    Replay,
    /// The command waits for the provider to finish an accepted operation.
    Poll,
    /// The command waits for a lookup: a query whether the provider acted.
    Lookup,
}

impl From<QueryPurpose> for ContinuationKind {
    fn from(purpose: QueryPurpose) -> Self {
        match purpose {
            QueryPurpose::Poll => Self::Poll,
            QueryPurpose::Lookup => Self::Lookup,
        }
    }
}

impl ContinuationKind {
    /// Returns the name of the kind in the header, which is also the first word of the routing key
    /// where there is no rung.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Park => "park",
            Self::Replay => "replay",
            Self::Poll => QueryPurpose::Poll.as_str(),
            Self::Lookup => QueryPurpose::Lookup.as_str(),
        }
    }
}

/// The state of a command that travels in its message's headers.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageState {
    /// The progress of the command.
    pub progress: GenerationProgress,
    /// The number of times that ferryd has republished the command: copies of one message share the
    /// number, its continuation has the next.
    pub hop: u32,
    /// The routing key under which the publisher sent the command.
    pub routing_key: Option<String>,
    /// The expiry that an operator's replay set, in place of the command's own.
    pub extended_to: Option<Timestamp>,
    /// True if the ledger knew the command when it was republished.
    pub recorded: bool,
    /// The start of the same step whose record the command has waited for in vain.
    pub expired_claim: Option<RecordId>,
    /// The AMQP user that published the command, as the broker vouches; `None` where the publisher
    /// did not name it.
    pub publisher: Option<String>,
    /// True until the command has been checked against the routes and the publishers of its
    /// account.
    pub unchecked: bool,
}

impl MessageState {
    /// Returns the state of a message as published, taken up at `now`.
    #[must_use]
    pub fn fresh(now: Timestamp) -> Self {
        Self {
            progress: GenerationProgress::first_generation(now),
            hop: 0,
            routing_key: None,
            extended_to: None,
            recorded: false,
            expired_claim: None,
            publisher: None,
            unchecked: false,
        }
    }

    /// Returns the whole state as headers.
    #[must_use]
    pub fn headers(&self, kind: ContinuationKind) -> BTreeMap<String, HeaderValue> {
        let GenerationProgress {
            generation,
            attempt,
            since,
            key,
            first_sent,
            unknown,
            digest,
            token,
            history,
            ..
        } = &self.progress;
        let text = |text: &dyn ToString| HeaderValue::Text(text.to_string());
        let all = [
            (KIND, text(&kind.as_str())),
            (GENERATION, HeaderValue::Number((*generation).into())),
            (ATTEMPT, HeaderValue::Number((*attempt).into())),
            (HOP, HeaderValue::Number(self.hop.into())),
            (UNKNOWN, HeaderValue::Flag(*unknown)),
            (RECORDED, HeaderValue::Flag(self.recorded)),
            (SINCE, text(since)),
            // A history is plain data, which always has a JSON form.
            (HISTORY, HeaderValue::Text(serde_json::to_string(history).unwrap_or_default())),
        ];
        let some = [
            (KEY, key.as_ref().map(|key| text(key))),
            (FIRST_SENT, first_sent.map(|time| text(&time))),
            (DIGEST, digest.as_ref().map(|digest| text(digest))),
            (TOKEN, (!token.is_empty()).then(|| text(token))),
            (ROUTING_KEY, self.routing_key.as_ref().map(|key| text(key))),
            (EXTENDED_TO, self.extended_to.map(|time| text(&time))),
            (CLAIM, self.expired_claim.map(|claim| text(&claim))),
            (PUBLISHER, self.publisher.as_ref().map(|user| text(user))),
            (UNCHECKED, self.unchecked.then_some(HeaderValue::Flag(true))),
        ];
        let some = some
            .into_iter()
            .chain(self.query_headers())
            .filter_map(|(name, value)| Some((name, value?)));
        all.into_iter().chain(some).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Returns the headers that concern queries of the provider.
    fn query_headers(&self) -> [(&'static str, Option<HeaderValue>); 11] {
        let GenerationProgress { unknown_since, deadline, provider_reference, query, .. } =
            &self.progress;
        let text = |text: &dyn ToString| HeaderValue::Text(text.to_string());
        let planned = query.and_then(|query| query.planned);
        let early = query.map(|query| query.early).filter(|early| *early > 0);
        [
            (UNKNOWN_SINCE, unknown_since.map(|time| text(&time))),
            (DEADLINE, deadline.map(|time| text(&time))),
            (REFERENCE, provider_reference.as_ref().map(|reference| text(reference))),
            (QUERY, query.map(|query| HeaderValue::Number(query.number.into()))),
            (PURPOSE, query.map(|query| text(&query.purpose.as_str()))),
            (NOT_BEFORE, query.map(|query| text(&query.due))),
            (TRIED, query.map(|query| HeaderValue::Number(query.tried.into()))),
            (EARLY, early.map(|early| HeaderValue::Number(early.into()))),
            (PLANNED_PURPOSE, planned.map(|planned| text(&planned.purpose.as_str()))),
            (PLANNED_NOT_BEFORE, planned.map(|planned| text(&planned.due))),
            (PLANNED_TRIED, planned.map(|planned| HeaderValue::Number(planned.tried.into()))),
        ]
    }

    /// Reads the state from [`headers`](Self::headers). `None` where a header is missing, or has
    /// another type than it is written with: such a message must not be taken for a new command.
    #[must_use]
    pub fn read(headers: Option<&FieldTable>) -> Option<Self> {
        let progress = GenerationProgress {
            generation: u32::try_from(get_number(headers, GENERATION)?).ok()?,
            attempt: u32::try_from(get_number(headers, ATTEMPT)?).ok()?,
            since: read_time(headers, SINCE).ok()??,
            key: read_optional_text(headers, KEY).ok()?.map(IdempotencyKey::from_header),
            first_sent: read_time(headers, FIRST_SENT).ok()?,
            unknown: read_flag(headers, UNKNOWN).ok()??,
            unknown_since: read_time(headers, UNKNOWN_SINCE).ok()?,
            deadline: read_time(headers, DEADLINE).ok()?,
            provider_reference: read_optional_text(headers, REFERENCE).ok()?.map(str::to_owned),
            query: read_due_query(headers).ok()?,
            digest: read_optional_text(headers, DIGEST).ok()?.map(str::to_owned),
            token: read_optional_text(headers, TOKEN).ok()?.unwrap_or_default().to_owned(),
            history: get_text(headers, HISTORY)
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default(),
        };
        let routing_key = read_optional_text(headers, ROUTING_KEY).ok()?.map(str::to_owned);
        let hop =
            get_number(headers, HOP).and_then(|hop| u32::try_from(hop).ok()).unwrap_or_default();
        let recorded = read_flag(headers, RECORDED).ok()?.unwrap_or_default();
        let expired_claim = get_text(headers, CLAIM).and_then(|claim| claim.parse().ok());
        let extended_to = read_time(headers, EXTENDED_TO).ok()?;
        let publisher = read_optional_text(headers, PUBLISHER).ok()?.map(str::to_owned);
        let unchecked = read_flag(headers, UNCHECKED).ok()?.unwrap_or_default();
        Some(Self {
            progress,
            hop,
            routing_key,
            extended_to,
            recorded,
            expired_claim,
            publisher,
            unchecked,
        })
    }
}

/// An error: a header is present and can't be read.
struct UnreadableHeader;

/// Reads the query that is due, if one is. A query that can't be read must not be taken for a call.
fn read_due_query(headers: Option<&FieldTable>) -> Result<Option<ProviderQuery>, UnreadableHeader> {
    let Some(purpose) = read_purpose(headers, PURPOSE)? else { return Ok(None) };
    let due = read_time(headers, NOT_BEFORE)?.ok_or(UnreadableHeader)?;
    let number = count(headers, QUERY).ok_or(UnreadableHeader)?;
    let (tried, early) =
        (count(headers, TRIED).unwrap_or_default(), count(headers, EARLY).unwrap_or_default());
    Ok(Some(ProviderQuery {
        number,
        purpose,
        due,
        tried,
        early,
        planned: read_planned_query(headers)?,
    }))
}

/// Reads the query that was planned before one was made early.
fn read_planned_query(
    headers: Option<&FieldTable>,
) -> Result<Option<PlannedQuery>, UnreadableHeader> {
    let Some(purpose) = read_purpose(headers, PLANNED_PURPOSE)? else { return Ok(None) };
    let due = read_time(headers, PLANNED_NOT_BEFORE)?.ok_or(UnreadableHeader)?;
    Ok(Some(PlannedQuery {
        purpose,
        due,
        tried: count(headers, PLANNED_TRIED).unwrap_or_default(),
    }))
}

fn read_purpose(
    headers: Option<&FieldTable>,
    name: &str,
) -> Result<Option<QueryPurpose>, UnreadableHeader> {
    match read_optional_text(headers, name)? {
        None => Ok(None),
        Some("poll") => Ok(Some(QueryPurpose::Poll)),
        Some("lookup") => Ok(Some(QueryPurpose::Lookup)),
        Some(_) => Err(UnreadableHeader),
    }
}

fn count(headers: Option<&FieldTable>, name: &str) -> Option<u32> {
    get_number(headers, name).and_then(|number| u32::try_from(number).ok())
}

/// Changes the headers of a message that waits for a query of its provider, so that the query
/// happens at the end of this second, for `purpose` or for the planned one. The planned query is
/// kept beside it. The hop is that second, which distinguishes the message from the waiting one;
/// all reasons for a query within one second share one query, which comes after all of them.
#[must_use]
pub fn early_query_headers(
    waiting: &BTreeMap<String, HeaderValue>,
    purpose: Option<QueryPurpose>,
    now: Timestamp,
) -> BTreeMap<String, HeaderValue> {
    let mut headers = waiting.clone();
    if !waiting.contains_key(PLANNED_PURPOSE) {
        // Otherwise the query is early already, and the one planned before stays planned.
        for (planned, due) in
            [(PLANNED_PURPOSE, PURPOSE), (PLANNED_NOT_BEFORE, NOT_BEFORE), (PLANNED_TRIED, TRIED)]
        {
            headers.extend(waiting.get(due).map(|value| (planned.to_owned(), value.clone())));
        }
    }
    let due = Timestamp::from_second(now.as_second().saturating_add(1)).unwrap_or(now);
    let given = purpose.map(|purpose| HeaderValue::Text(purpose.as_str().to_owned()));
    if let Some(purpose) = given.or_else(|| headers.get(PLANNED_PURPOSE).cloned()) {
        headers.extend([KIND, PURPOSE].map(|name| (name.to_owned(), purpose.clone())));
    }
    headers.extend([
        (NOT_BEFORE.to_owned(), HeaderValue::Text(due.to_string())),
        (TRIED.to_owned(), HeaderValue::Number(0)),
        (HOP.to_owned(), HeaderValue::Number(due.as_second())),
    ]);
    headers
}

/// Adds ferryd's own headers to those of a publisher.
#[must_use]
pub fn add_own_headers(
    properties: BasicProperties,
    own: &BTreeMap<String, HeaderValue>,
) -> BasicProperties {
    let mut table = properties.headers().clone().unwrap_or_default();
    for (name, value) in own {
        let value = match value {
            HeaderValue::Flag(flag) => AMQPValue::Boolean(*flag),
            HeaderValue::Number(number) => AMQPValue::LongLongInt(*number),
            HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        };
        table.insert(short_or_empty(name), value);
    }
    properties.with_headers(table)
}

/// Reads a text, which may be absent but not unreadable.
fn read_optional_text<'t>(
    headers: Option<&'t FieldTable>,
    name: &str,
) -> Result<Option<&'t str>, UnreadableHeader> {
    let is_there = headers.is_some_and(|headers| headers.inner().contains_key(name));
    let text = get_text(headers, name);
    if text.is_some() == is_there { Ok(text) } else { Err(UnreadableHeader) }
}

/// Reads a time, which may be absent but not unreadable.
fn read_time(
    headers: Option<&FieldTable>,
    name: &str,
) -> Result<Option<Timestamp>, UnreadableHeader> {
    read_optional_text(headers, name)?.map(str::parse).transpose().map_err(|_| UnreadableHeader)
}

/// Reads a boolean, which may be absent but not unreadable.
fn read_flag(headers: Option<&FieldTable>, name: &str) -> Result<Option<bool>, UnreadableHeader> {
    match headers.and_then(|headers| headers.inner().get(name)) {
        None => Ok(None),
        Some(AMQPValue::Boolean(flag)) => Ok(Some(*flag)),
        Some(_) => Err(UnreadableHeader),
    }
}

/// Returns true if the broker dead-lettered a message because its publisher's `expiration` had
/// passed, and not because it had been delivered too often. The latest entry of `x-death`, which is
/// the broker's own, decides.
#[must_use]
pub fn died_of_age(properties: &BasicProperties) -> bool {
    let deaths = properties.headers().as_ref().and_then(|headers| headers.inner().get("x-death"));
    let Some(AMQPValue::FieldArray(deaths)) = deaths else { return false };
    match deaths.as_slice().first() {
        Some(AMQPValue::FieldTable(latest)) => get_text(Some(latest), "reason") == Some("expired"),
        _ => false,
    }
}

/// Returns the exchange to which a message was published that the broker has dead-lettered since,
/// from the record of the first death. Before RabbitMQ 4.0 a publisher can write such a record
/// itself.
#[must_use]
pub fn first_death_exchange(properties: &BasicProperties) -> Option<&str> {
    let headers = properties.headers().as_ref();
    get_text(headers, "x-first-death-exchange").or_else(|| {
        match headers?.inner().get("x-death")? {
            AMQPValue::FieldArray(deaths) => match deaths.as_slice().last()? {
                AMQPValue::FieldTable(oldest) => get_text(Some(oldest), "exchange"),
                _ => None,
            },
            _ => None,
        }
    })
}

/// Returns the time of the broker's or the publisher's stamp, a lower bound for the first time at
/// which the message can have been sent.
#[must_use]
pub fn stamped_at(properties: &BasicProperties) -> Option<Timestamp> {
    let millis = get_number(properties.headers().as_ref(), "timestamp_in_ms");
    let by_broker = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let by_publisher =
        || Timestamp::from_second(i64::try_from((*properties.timestamp())?).ok()?).ok();
    by_broker.or_else(by_publisher)
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
