//! Answers to calls by which a provider checks who owns an endpoint.

use minijinja::Value;
use serde_json::{Map, Value as Json};
use subtle::ConstantTimeEq as _;

use super::form;
use crate::rest::expression::{Condition, ExpressionScope, unreadable};
use crate::rest::expression_scope::ScopeVariable;
use crate::rest::text::TextTemplate;
use ferryd_domain::webhook::{ChallengeReply, RawWebhook};

/// The calls of a provider that are challenges, and the answer to them.
#[derive(Debug)]
pub(super) struct WebhookChallenge {
    /// The method of challenges.
    pub(super) method: &'static str,
    /// The condition that distinguishes challenges from other calls.
    pub(super) when: Condition,
    /// The token of a challenge: the given value and the expected one; `None` where none is
    /// required.
    pub(super) token: Option<(TextTemplate, TextTemplate)>,
    /// The answer.
    pub(super) reply: TextTemplate,
    /// The answer's media type.
    pub(super) content_type: String,
    /// The variable `secrets` of expressions.
    pub(super) secrets: Value,
}

impl WebhookChallenge {
    /// The answer to a challenge; `None` for every other call.
    pub(super) fn reply(&self, call: &RawWebhook) -> Option<ChallengeReply> {
        if call.method != self.method {
            return None;
        }
        let body = body(call);
        let scope = scope(call, body.as_ref(), self.secrets.clone());
        if !self.when.holds(&scope) || !self.knows_token(&scope) {
            return None;
        }
        let body = self.reply.string(&scope).ok()??;
        Some(ChallengeReply {
            content_type: self.content_type.clone(),
            body: body.into(),
            needs_token: self.token.is_some(),
        })
    }

    fn knows_token(&self, scope: &ExpressionScope<'_>) -> bool {
        let Some((given, expected)) = &self.token else { return true };
        let [given, expected] = [given, expected].map(|text| text.string(scope).ok().flatten());
        given
            .zip(expected)
            .is_some_and(|(given, expected)| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

/// The body of a call, if it is JSON or a form.
pub(super) fn body(call: &RawWebhook) -> Option<Json> {
    if form::is_form(call) {
        return Some(map(&mut url::form_urlencoded::parse(&call.body).into_owned()));
    }
    serde_json::from_slice(&call.body).ok()
}

/// Converts pairs to a map; of a repeated name the first pair counts.
fn map(pairs: &mut dyn Iterator<Item = (String, String)>) -> Json {
    let mut map = Map::new();
    for (name, value) in pairs {
        map.entry(name).or_insert(Json::String(value));
    }
    Json::Object(map)
}

/// The variables of a call.
pub(super) fn scope<'v>(
    call: &'v RawWebhook,
    body: Option<&'v Json>,
    secrets: Value,
) -> ExpressionScope<'v> {
    let unreadable = || unreadable("the call has no body that can be read").into();
    ExpressionScope::new([
        ("method", Value::from(call.method.as_str()).into()),
        ("url", Value::from(call.url.as_str()).into()),
        ("headers", ScopeVariable::made(|| map(&mut call.headers.iter().cloned()))),
        ("query", ScopeVariable::made(|| map(&mut call.url.query_pairs().into_owned()))),
        ("body", body.map_or_else(unreadable, ScopeVariable::from)),
        ("text", ScopeVariable::made(|| String::from_utf8_lossy(&call.body).into())),
        ("secrets", secrets.into()),
    ])
}
