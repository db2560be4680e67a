//! Answers to a provider that only asks whether an endpoint is really its owner's.

use std::collections::BTreeMap;

use minijinja::Value;
use serde_json::{Map, Value as Json};
use subtle::ConstantTimeEq as _;

use super::form;
use crate::domain::callback::{ChallengeReply, RawCallback};
use crate::provider::rest::expression::{Condition, Scope, from_json, unreadable};
use crate::provider::rest::text::Text;

/// Which calls only ask, and what they are answered.
#[derive(Debug)]
pub(super) struct Challenge {
    /// Their method.
    pub(super) method: &'static str,
    /// What tells them from others.
    pub(super) when: Condition,
    /// What they have to know: what they give, and what it has to be.
    pub(super) token: Option<(Text, Text)>,
    /// The answer.
    pub(super) reply: Text,
    /// Its media type.
    pub(super) content_type: String,
    /// What expressions see as `secrets`.
    pub(super) secrets: Value,
}

impl Challenge {
    /// The answer to a call that only asks; `None` to every other.
    pub(super) fn reply(&self, call: &RawCallback) -> Option<ChallengeReply> {
        if call.method != self.method {
            return None;
        }
        let scope = scope(call, self.secrets.clone());
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

    fn knows_token(&self, scope: &Scope) -> bool {
        let Some((given, expected)) = &self.token else { return true };
        let [given, expected] = [given, expected].map(|text| text.string(scope).ok().flatten());
        given.zip(expected).is_some_and(|(given, expected)| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

/// The body of a call, where it is JSON or a form.
pub(super) fn body(call: &RawCallback) -> Option<Json> {
    if form::is_form(call) {
        return Some(map(&mut url::form_urlencoded::parse(&call.body).into_owned()));
    }
    serde_json::from_slice(&call.body).ok()
}

/// Pairs as a map; of a name that is there twice the first.
fn map(pairs: &mut dyn Iterator<Item = (String, String)>) -> Json {
    let mut map = Map::new();
    for (name, value) in pairs {
        map.entry(name).or_insert(Json::String(value));
    }
    Json::Object(map)
}

/// The variables of a call.
pub(super) fn scope(call: &RawCallback, secrets: Value) -> Scope {
    let headers = map(&mut call.headers.iter().cloned());
    let query = map(&mut call.url.query_pairs().into_owned());
    let body = body(call);
    let variables = [
        ("method", Value::from(call.method.as_str())),
        ("url", Value::from(call.url.as_str())),
        ("headers", from_json(&headers)),
        ("query", from_json(&query)),
        ("body", body.as_ref().map_or_else(|| unreadable("the call has no body that can be read"), from_json)),
        ("text", Value::from(String::from_utf8_lossy(&call.body).as_ref())),
        ("secrets", secrets),
    ];
    Scope::new(variables.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<BTreeMap<_, _>>())
}
