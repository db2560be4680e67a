//! Reads an answer into an outcome.
//!
//! No answer makes this fail: an unreadable part is left out, null or a default, and a warning
//! names it. Texts are kept whole, because they are masked before they are cut.

use std::time::SystemTime;

use http::StatusCode;
use jiff::Timestamp;
use minijinja::Value;
use serde_json::Value as Json;

use super::amount::AmountTemplate;
use super::expression::{Condition, ExpressionScope, unreadable};
use super::expression_scope::ScopeVariable;
use super::text::TextTemplate;
use super::tree::{LeafErrorPolicy, TreeKey, TreeTemplate};
use ferryd_domain::classify::{AnswerConditions, AnswerShape, classify};
use ferryd_domain::http_call::HttpReply;
use ferryd_domain::outcome::{Failure, Outcome, OutcomeName, RetryAfter, Success, WaitingFor};

/// The most bytes of a provider's own id for a transaction.
const LONGEST_REFERENCE: usize = 512;

/// The compiled rules and expressions by which the answers of an operation are read.
#[derive(Debug, Default)]
pub(super) struct AnswerReader {
    /// The operation's rules, then the provider's.
    pub(super) rules: Vec<AnswerRule>,
    /// The condition which means that the first call under the key is still running at the
    /// provider.
    pub(super) in_progress: Option<Condition>,
    /// The condition under which a 2xx only means "accepted".
    pub(super) accepted: Option<Condition>,
    /// The condition under which a 2xx is a success.
    pub(super) success: Option<Condition>,
    /// The provider's own id for the transaction.
    pub(super) reference: Option<TextTemplate>,
    /// The `result` of the event.
    pub(super) result: Option<TreeTemplate>,
    /// The requested amount.
    pub(super) requested: Option<AmountTemplate>,
    /// The amount that the answer reports.
    pub(super) stated: Option<AmountTemplate>,
    /// Warnings of the provider.
    pub(super) warnings: Vec<TextTemplate>,
    /// The party that has to act next.
    pub(super) waiting_for: Option<TextTemplate>,
    /// The places of errors in an answer: the operation's mapping, then the provider's.
    pub(super) errors: Vec<ErrorMapping>,
}

/// A rule that classifies answers.
#[derive(Debug)]
pub(super) struct AnswerRule {
    /// The condition under which the rule matches.
    pub(super) when: Condition,
    /// The meaning of an answer that matches.
    pub(super) outcome: OutcomeName,
    /// The error's code.
    pub(super) code: Option<TextTemplate>,
}

/// The places of errors in an answer.
#[derive(Debug, Default)]
pub(super) struct ErrorMapping {
    /// The code.
    pub(super) code: Option<TextTemplate>,
    /// The message.
    pub(super) message: Option<TextTemplate>,
    /// The details.
    pub(super) details: Option<TreeTemplate>,
}

/// The body of an answer, if it can be parsed.
pub(super) struct ReplyBody(Option<Json>);

impl ReplyBody {
    /// A body that consists of a part of another body.
    pub(super) fn of(part: Json) -> Self {
        Self(Some(part))
    }

    /// Parses JSON, or a form if the content type says so.
    pub(super) fn read(reply: &HttpReply) -> Self {
        let media_type = reply.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if media_type.starts_with("application/x-www-form-urlencoded") {
            let pairs = url::form_urlencoded::parse(&reply.body);
            let fields =
                pairs.map(|(key, value)| (key.into_owned(), Json::String(value.into_owned())));
            return Self(Some(Json::Object(fields.collect())));
        }
        // Checked for UTF-8 once, not in each of its texts.
        let text = str::from_utf8(&reply.body).ok();
        Self(text.and_then(|text| serde_json::from_str(text).ok()))
    }

    /// The value at a JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> Option<&Json> {
        self.0.as_ref()?.pointer(pointer)
    }

    /// The text at a JSON pointer, if there is one.
    pub(super) fn text_at(&self, pointer: &str) -> Option<String> {
        self.at(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// The variables of an answer, over those of the request.
pub(super) fn scope<'v>(
    request: &'v ExpressionScope<'_>,
    reply: &'v HttpReply,
    body: &'v ReplyBody,
) -> ExpressionScope<'v> {
    let unreadable = || unreadable("the answer has no body that can be read").into();
    request.with([
        ("status", Value::from(reply.status).into()),
        ("headers", ScopeVariable::made(|| headers(reply))),
        ("text", ScopeVariable::made(|| String::from_utf8_lossy(&reply.body).into())),
        ("body", body.0.as_ref().map_or_else(unreadable, ScopeVariable::from)),
    ])
}

/// The headers of an answer; of one that is repeated the first.
fn headers(reply: &HttpReply) -> Json {
    let mut headers = serde_json::Map::new();
    for (name, value) in &reply.headers {
        headers.entry(name.clone()).or_insert_with(|| Json::String(value.clone()));
    }
    Json::Object(headers)
}

impl AnswerReader {
    /// Determines the outcome of an answer.
    pub(super) fn read_outcome(
        &self,
        reply: &HttpReply,
        body: &ReplyBody,
        scope: &ExpressionScope<'_>,
    ) -> Outcome {
        let retry_after = reply.header("retry-after").and_then(retry_after);
        let shape =
            AnswerShape::Answered { status: reply.status, retry_after: retry_after.is_some() };
        let rule = self.matching_rule(scope);
        let holds = |condition: &Condition| condition.holds(scope);
        let conditions = AnswerConditions {
            rule: rule.map(|rule| rule.outcome),
            in_progress: self.in_progress.as_ref().is_some_and(holds),
            accepted: self.accepted.as_ref().map(holds),
            success: self.success.as_ref().map(holds),
        };
        let failure = || self.read_failure(rule, reply, body, scope);
        match classify(shape, conditions) {
            OutcomeName::Completed => match self.find_mismatch(reply, scope) {
                // The provider may have acted, but not as requested.
                Some(mismatch) => Outcome::Unknown(mismatch),
                None => Outcome::Completed(self.read_success(Some(reply.status), scope)),
            },
            OutcomeName::Waiting => {
                let success = self.read_success(Some(reply.status), scope);
                Outcome::Waiting(success, self.read_waiting_for(scope))
            }
            OutcomeName::Declined => Outcome::Declined(failure()),
            OutcomeName::Rejected => Outcome::Rejected(failure()),
            OutcomeName::Transient => Outcome::Transient(failure(), retry_after),
            OutcomeName::Unknown => Outcome::Unknown(failure()),
            OutcomeName::Lookup => Outcome::Lookup(failure()),
        }
    }

    /// Determines the outcome of a message that the provider's broker has taken. Nothing of the
    /// provider itself is known: the expressions read the request.
    pub(super) fn read_acknowledgement(&self, scope: &ExpressionScope<'_>) -> Outcome {
        let success = self.read_success(None, scope);
        if self.accepted.as_ref().is_some_and(|accepted| accepted.holds(scope)) {
            Outcome::Waiting(success, self.read_waiting_for(scope))
        } else {
            Outcome::Completed(success)
        }
    }

    /// Compares the amount in an answer with the requested one; the failure describes a mismatch.
    pub(super) fn find_mismatch(
        &self,
        reply: &HttpReply,
        scope: &ExpressionScope<'_>,
    ) -> Option<Failure> {
        let (requested, stated) =
            (self.requested.as_ref()?.money(scope)?, self.stated.as_ref()?.stated(scope)?);
        let failure = requested.mismatch(&stated)?;
        let reference = first_text(self.reference.as_ref(), scope)
            .filter(|reference| reference.len() <= LONGEST_REFERENCE);
        Some(Failure { http_status: Some(reply.status), provider_reference: reference, ..failure })
    }

    /// Reads the result of a successful call.
    pub(super) fn read_success(
        &self,
        http_status: Option<u16>,
        scope: &ExpressionScope<'_>,
    ) -> Success {
        let mut warnings = Vec::new();
        let result = self
            .result
            .as_ref()
            .and_then(|tree| map_leaf(tree, "result", scope, LeafErrorPolicy::Note(&mut warnings)));
        let provider_reference = match self.reference.as_ref().map(|text| text.string(scope)) {
            Some(Err(error)) => {
                warnings.push(format!("reference: {error}"));
                None
            }
            Some(Ok(Some(reference))) if reference.len() > LONGEST_REFERENCE => {
                warnings.push(format!(
                    "reference: left out, {} bytes are too long for an id",
                    reference.len()
                ));
                None
            }
            Some(Ok(reference)) => reference,
            None => None,
        };
        for (n, text) in self.warnings.iter().enumerate() {
            match text.json(scope) {
                Ok(value) => warnings.extend(texts(value)),
                Err(error) => warnings.push(format!("warnings[{n}]: {error}")),
            }
        }
        Success { result, provider_reference, warnings, http_status }
    }

    /// Reads the party that has to act next.
    pub(super) fn read_waiting_for(&self, scope: &ExpressionScope<'_>) -> WaitingFor {
        let word = self.waiting_for.as_ref().and_then(|text| text.string(scope).ok()?);
        if word.as_deref() == Some("customer") {
            WaitingFor::Customer
        } else {
            WaitingFor::Provider
        }
    }

    /// The first rule that matches an answer.
    pub(super) fn matching_rule(&self, scope: &ExpressionScope<'_>) -> Option<&AnswerRule> {
        self.rules.iter().find(|rule| rule.when.holds(scope))
    }

    /// Reads the error of a failed call.
    pub(super) fn read_failure(
        &self,
        rule: Option<&AnswerRule>,
        reply: &HttpReply,
        body: &ReplyBody,
        scope: &ExpressionScope<'_>,
    ) -> Failure {
        let of_rule = rule.and_then(|rule| rule.code.as_ref());
        let codes = of_rule
            .into_iter()
            .chain(self.errors.iter().filter_map(|mapping| mapping.code.as_ref()));
        let code = first_text(codes, scope).unwrap_or_else(|| format!("http_{}", reply.status));
        let message =
            first_text(self.errors.iter().filter_map(|mapping| mapping.message.as_ref()), scope)
                .or_else(|| body.text_at("/error/message"))
                .or_else(|| body.text_at("/message"))
                .unwrap_or_else(|| reason(reply.status));
        let details = self.errors.iter().filter_map(|mapping| mapping.details.as_ref());
        let details = details
            .filter_map(|tree| map_leaf(tree, "details", scope, LeafErrorPolicy::LeaveOut))
            .find(|value| !is_empty(value));
        let reference = first_text(self.reference.as_ref(), scope)
            .filter(|reference| reference.len() <= LONGEST_REFERENCE);
        Failure {
            code: Some(code),
            message,
            details,
            http_status: Some(reply.status),
            provider_reference: reference,
        }
    }
}

/// The first text that has a value.
fn first_text<'t>(
    texts: impl IntoIterator<Item = &'t TextTemplate>,
    scope: &ExpressionScope<'_>,
) -> Option<String> {
    texts.into_iter().find_map(|text| text.string(scope).ok()?.filter(|text| !text.is_empty()))
}

fn map_leaf(
    tree: &TreeTemplate,
    name: &str,
    scope: &ExpressionScope<'_>,
    mut on_fault: LeafErrorPolicy<'_>,
) -> Option<Json> {
    tree.json(scope, TreeKey::Root(name), &mut on_fault).ok().flatten()
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Object(entries) => entries.is_empty(),
        Json::Array(items) => items.is_empty(),
        other => other.is_null(),
    }
}

/// A text, or the texts of a list.
fn texts(value: Option<Json>) -> Vec<String> {
    match value {
        Some(Json::Array(items)) => items.into_iter().flat_map(|item| texts(Some(item))).collect(),
        Some(Json::String(text)) => vec![text],
        Some(Json::Null) | None => Vec::new(),
        Some(other) => vec![other.to_string()],
    }
}

/// Parses `Retry-After` (RFC 9110, section 10.2.3); a value that is neither seconds nor a date
/// counts as absent.
pub(super) fn retry_after(value: &str) -> Option<RetryAfter> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(RetryAfter::Seconds);
    }
    let time: SystemTime = httpdate::parse_http_date(value).ok()?;
    Timestamp::try_from(time).ok().map(RetryAfter::At)
}

fn reason(status: u16) -> String {
    if (200..300).contains(&status) {
        return format!(
            "status {status}, but the answer meets neither `success` nor `accepted` of the provider file"
        );
    }
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| format!("status {status}"), str::to_owned)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
