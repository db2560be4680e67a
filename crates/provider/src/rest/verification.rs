//! The harmless request that verifies an account's credentials: its table compiled, and its answers
//! read.
//!
//! Such a request is sent only to learn whether credentials are valid, so it must change nothing. A
//! file whose request could change something is refused when it is read.

use std::time::Duration;

use serde_json::Value as Json;

use super::answer::{self, AnswerReader, ReplyBody};
use super::expression::{Condition, ExpressionScope, KnownVariables};
use super::file::{AuthFile, ProviderFile, RequestFile, VerificationFile};
use super::inherited::InheritedSettings;
use super::operation::error_mapping;
use super::request::{RequestSource, RequestTemplate, SharedRequestParts};
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::outcome::Failure;
use ferryd_settings::findings::SettingsCursor;

/// The most time for an answer once there is a connection, even if the provider's calls have more.
const ANSWER: Duration = Duration::from_secs(20);

/// The compiled table `verification`.
pub(super) struct CredentialProbe {
    request: Option<RequestTemplate>,
    success: Option<(Condition, String)>,
    declined: Option<Condition>,
    /// Finds the provider's errors in an answer.
    reading: AnswerReader,
    /// The description of the request, for people.
    pub(super) described: String,
}

impl CredentialProbe {
    /// Renders the request; `None` where the request for an access token is all of it.
    pub(super) fn request(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
    ) -> Option<Result<HttpRequest, Failure>> {
        self.request.as_ref().map(|request| request.render(shared, scope, None))
    }

    /// Reads an answer for the state of the credentials.
    pub(super) fn read(&self, answer: &CallResult, scope: &ExpressionScope<'_>) -> CredentialCheck {
        let reply = match answer {
            // An answer came that violates HTTP or the file's limits.
            CallResult::Incomplete(failure) if failure.http_status.is_some() => {
                return CredentialCheck::Unclear(failure.clone());
            }
            CallResult::NotSent(failure) | CallResult::Incomplete(failure) => {
                return CredentialCheck::Unreachable(failure.clone());
            }
            CallResult::Reply(reply) => reply,
        };
        let body = ReplyBody::read(reply);
        let scope = answer::scope(scope, reply, &body);
        let failure = || self.reading.read_failure(None, reply, &body, &scope);
        let declined = match &self.declined {
            Some(declined) => declined.holds(&scope),
            None => matches!(reply.status, 401 | 403),
        };
        if declined {
            return CredentialCheck::Refused(failure());
        }
        if !(200..300).contains(&reply.status) {
            return CredentialCheck::Unclear(failure());
        }
        match &self.success {
            Some((success, source)) if !success.holds(&scope) => {
                CredentialCheck::Unclear(describe_unmet(source, reply, failure()))
            }
            _ => CredentialCheck::Accepted,
        }
    }
}

/// The failure for a 2xx that does not meet the file's condition.
fn describe_unmet(condition: &str, reply: &HttpReply, failure: Failure) -> Failure {
    let of_status = format!("http_{}", reply.status);
    let code = failure.code.filter(|code| *code != of_status);
    let shown_code = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
    let message =
        format!("the answer{shown_code} does not meet `verification.success`: {condition}");
    Failure { code, message, http_status: Some(reply.status), ..Failure::default() }
}

/// Compiles the table `verification`.
pub(super) fn compile(
    file: &ProviderFile,
    known: (&KnownVariables<'_>, &KnownVariables<'_>),
    shared: Option<&SharedRequestParts>,
    from: &InheritedSettings<'_>,
    root: &SettingsCursor<'_>,
) -> Option<CredentialProbe> {
    let place = root.key("verification");
    let VerificationFile { request, body, success, declined, .. } = file.verification.as_ref()?;
    let (in_request, in_answer) = known;
    let described = match (request, &file.auth) {
        (Some(request), _) => describe(request),
        (None, Some(AuthFile::Oauth2 { .. })) => "the request for an access token".to_owned(),
        (None, _) => {
            let text = r#"is missing; write one that only reads, such as request = { method = "GET", path = "/account" }"#;
            place.key("request").refuse(text);
            return None;
        }
    };
    let timeout = from.timeout.min(from.connect_timeout + ANSWER);
    let template = request.as_ref().and_then(|request| {
        refuse_effects(file, request, &place);
        let source = RequestSource { request: Some(request), body: body.as_ref() };
        let template = RequestTemplate::compile(source, None, timeout, in_request, &place)?;
        if let Some(shared) = shared {
            template.refuse_header_of_auth(shared, &place);
        }
        Some(template)
    });
    if request.is_none() {
        refuse_surplus(file.verification.as_ref()?, &place);
    }
    let condition =
        |key: &str, source: &String| place.key(key).check(Condition::compile(source, in_answer));
    let of_provider =
        from.error.map(|error| error_mapping(error, in_answer, &root.key("response").key("error")));
    Some(CredentialProbe {
        request: template,
        success: success
            .as_ref()
            .and_then(|source| Some((condition("success", source)?, source.trim().to_owned()))),
        declined: declined.as_ref().and_then(|source| condition("declined", source)),
        reading: AnswerReader {
            errors: of_provider.into_iter().collect(),
            ..AnswerReader::default()
        },
        described,
    })
}

fn describe(request: &RequestFile) -> String {
    let method = request.method.map(HttpMethod::as_str).unwrap_or_default();
    format!("{method} {}", request.path.as_deref().unwrap_or_default())
}

/// Refuses keys that have no effect where only the request for an access token is sent.
fn refuse_surplus(table: &VerificationFile, place: &SettingsCursor<'_>) {
    let keys = [
        ("body", table.body.is_some()),
        ("success", table.success.is_some()),
        ("declined", table.declined.is_some()),
    ];
    for (key, _) in keys.into_iter().filter(|(_, stated)| *stated) {
        place.key(key).refuse("has no effect without a `request`; write one, or leave this out");
    }
}

/// Refuses a request that may change something: one that is neither a `GET` nor declared
/// repeatable, and one that is an operation's.
fn refuse_effects(file: &ProviderFile, request: &RequestFile, place: &SettingsCursor<'_>) {
    let repeatable = file.verification.as_ref().is_some_and(|table| table.repeatable);
    let Some(method) = request.method else { return };
    let at = place.key("request").key("method");
    match method {
        HttpMethod::Get => return,
        HttpMethod::Post if repeatable => {}
        HttpMethod::Post => {
            let text = "`POST` may do something, and nothing may be done only to try credentials; write `GET`, or \
                        `repeatable = true` where the provider changes nothing by it";
            return at.refuse(text);
        }
        HttpMethod::Put | HttpMethod::Patch | HttpMethod::Delete => {
            let method = method.as_str();
            return at.refuse(format!(
                "`{method}` changes something, and nothing may be changed only to try credentials; write `GET`"
            ));
        }
    }
    let is_same =
        |path: &Option<String>| path.as_deref().map(shape) == request.path.as_deref().map(shape);
    for (name, operation) in file.operations.iter().filter(|(_, operation)| !operation.repeatable) {
        let acts = operation
            .request
            .as_ref()
            .is_some_and(|own| own.method == Some(method) && is_same(&own.path));
        if acts {
            let text = format!(
                "is that of `operations.{name}`, which acts; write one that changes nothing"
            );
            place.key("request").key("path").refuse(text);
        }
    }
}

/// The form of a path, independent of its expressions.
fn shape(path: &str) -> String {
    let mut parts = path.split("{{");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shape, part| {
        shape + "{}" + part.split_once("}}").map_or("", |(_, rest)| rest)
    })
}

/// The pretended command that headers of every request may name when there is no published one.
pub(super) fn pretended_command(provider: &str, account: &str) -> Json {
    serde_json::json!({
        "id": "credentials-check", "provider": provider, "account": account, "operation": "verification",
        "generation": 0, "attempt": 1,
    })
}

#[cfg(test)]
#[path = "verification_tests.rs"]
mod tests;
