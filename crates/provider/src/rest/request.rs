//! Renders a command into a request: the template of an operation, compiled and filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;

use super::body::{BodySource, BodyTemplate};
use super::encode;
use super::expression::{ExpressionScope, KnownVariables};
use super::file::{IdempotencyFile, RequestFile};
use super::header::{self, RequestAuth};
use super::missing_value::{filled_tree, invalid};
use super::path::{BaseUrl, PathTemplate};
use super::text::TextTemplate;
use super::tree::TreeTemplate;
use ferryd_domain::http_call::{HttpMethod, HttpRequest};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::outcome::Failure;
use ferryd_settings::findings::SettingsCursor;

/// The variables that distinguish one command from another.
const OF_COMMAND: [&str; 4] = ["command", "payload", "metadata", "key"];

/// The place of the idempotency key in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySlot {
    /// A header, in lower case.
    Header(String),
    /// A field of the body.
    Field(String),
}

/// The parts of requests that all operations of a provider share.
#[derive(Debug)]
pub(super) struct SharedRequestParts {
    /// The fixed address.
    pub(super) base_url: BaseUrl,
    /// The authorisation of requests.
    pub(super) auth: Option<RequestAuth>,
    /// Headers of every request, by lower-case name.
    pub(super) headers: BTreeMap<String, TextTemplate>,
}

/// A request as a file states it, with the body beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestSource<'f> {
    /// The table `request`: method, path, query and headers.
    pub(super) request: Option<&'f RequestFile>,
    /// The body.
    pub(super) body: Option<&'f Json>,
}

/// A request, compiled.
#[derive(Debug)]
pub(super) struct RequestTemplate {
    method: HttpMethod,
    path: PathTemplate,
    query: Option<TreeTemplate>,
    headers: BTreeMap<String, TextTemplate>,
    body: BodyTemplate,
    key: Option<KeySlot>,
    timeout: Duration,
}

impl RequestTemplate {
    /// Compiles a request; faults are reported at `place`.
    pub(super) fn compile(
        source: RequestSource<'_>,
        key: Option<KeySlot>,
        timeout: Duration,
        known: &KnownVariables<'_>,
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let at = place.key("request");
        let Some(file) = source.request else {
            at.refuse(r#"is missing; write request = { method = "POST", path = "/…" }"#);
            return None;
        };
        let method = method(file, &at);
        let path = path(file, known, &at);
        let query = file.query.clone().map(Json::Object);
        let query = query.map(|query| TreeTemplate::compile(&query, known, &at.key("query")));
        let headers = header::compile(&file.headers, known, &at.key("headers"));
        if source.body.is_some() && method == Some(HttpMethod::Get) {
            place.key("body").refuse(
                "a GET has no body; write the values as `request.query`, or another method",
            );
        }
        let key_field = match &key {
            Some(KeySlot::Field(field)) => Some(field.as_str()),
            _ => None,
        };
        let body =
            BodySource { body: source.body, encoding: file.encoding, lists: file.lists, key_field };
        let body = BodyTemplate::compile(body, known, place);
        Some(Self {
            method: method?,
            path: path?,
            query: query.flatten(),
            headers,
            body: body?,
            key,
            timeout,
        })
    }

    /// The headers that the file states for this operation.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(String::as_str)
    }

    /// Refuses a header of this request that `auth` sets.
    pub(super) fn refuse_header_of_auth(
        &self,
        shared: &SharedRequestParts,
        place: &SettingsCursor<'_>,
    ) {
        let auth = shared.auth.as_ref().map(RequestAuth::header);
        for name in self.header_names().filter(|name| Some(*name) == auth) {
            place
                .key("request")
                .key("headers")
                .refuse(format!("`{name}` is set by `auth`; leave it out"));
        }
    }

    /// The headers of the file, those of this operation last.
    fn all_headers<'a>(
        &'a self,
        shared: &'a SharedRequestParts,
    ) -> impl Iterator<Item = (&'a String, &'a TextTemplate)> {
        shared.headers.iter().chain(&self.headers)
    }

    /// Returns true if the request can't be made without a variable: a part of it needs the
    /// variable, or nothing else in the request identifies the command.
    pub(super) fn needs(&self, variable: &str) -> bool {
        let of_path = self.path.expressions().map(|expression| (expression, false));
        let trees = self.query.iter().chain(self.body.tree()).flat_map(TreeTemplate::uses);
        let uses: Vec<_> = of_path
            .chain(trees)
            .chain(self.headers.values().flat_map(TextTemplate::uses))
            .collect();
        let mut needing =
            uses.iter().filter(|(expression, _)| expression.needs(variable)).peekable();
        let named = needing.peek().is_some();
        let known_otherwise = uses.iter().any(|(expression, _)| expression.names_any(&OF_COMMAND));
        named && (!known_otherwise || needing.any(|(_, may_be_missing)| !may_be_missing))
    }

    /// Renders the request of a command.
    pub(super) fn render(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
        key: Option<&IdempotencyKey>,
    ) -> Result<HttpRequest, Failure> {
        let path = self.path.render(scope).map_err(|error| invalid("request.path", &error))?;
        let mut url = shared
            .base_url
            .join(&path)
            .ok_or_else(|| invalid("request.path", &"leads out of `base_url`"))?;
        if let Some(query) = filled_tree(self.query.as_ref(), "query", scope)? {
            let pairs = encode::pairs(&query, self.body.lists());
            if !pairs.is_empty() {
                url.query_pairs_mut().extend_pairs(pairs);
            }
        }
        let body = self.body.render(scope, key)?;
        let headers = self.headers(shared, scope, key, !body.is_empty())?;
        let input_headers = self
            .all_headers(shared)
            .filter(|(_, text)| text.depends_on_the_call())
            .map(|(name, _)| name.clone());
        Ok(HttpRequest {
            method: self.method,
            url,
            headers,
            input_headers: input_headers.collect(),
            body,
            timeout: self.timeout,
        })
    }

    fn headers(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
        key: Option<&IdempotencyKey>,
        has_body: bool,
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut headers = BTreeMap::new();
        if has_body {
            headers.insert("content-type".to_owned(), self.body.content_type().to_owned());
        }
        for (name, text) in self.all_headers(shared) {
            let refuse = |error: &dyn fmt::Display| invalid(&format!("header {name}"), error);
            match text.string(scope).map_err(|error| refuse(&error))? {
                Some(value) => headers
                    .insert(name.clone(), header::value(value).map_err(|error| refuse(&error))?),
                None => headers.remove(name),
            };
        }
        if let (Some(KeySlot::Header(name)), Some(key)) = (&self.key, key) {
            let value = header::value(key.to_string());
            headers
                .insert(name.clone(), value.map_err(|error| invalid("idempotency key", &error))?);
        }
        if let Some(auth) = &shared.auth
            && let Some(value) = auth.value(scope).map_err(|error| invalid("auth", &error))?
        {
            headers.insert(auth.header().to_owned(), value);
        }
        Ok(headers.into_iter().collect())
    }
}

fn method(file: &RequestFile, at: &SettingsCursor<'_>) -> Option<HttpMethod> {
    if file.method.is_none() {
        at.key("method").refuse("is missing; write one of `GET`, `POST`, `PUT`, `PATCH`, `DELETE`");
    }
    file.method
}

fn path(
    file: &RequestFile,
    known: &KnownVariables<'_>,
    at: &SettingsCursor<'_>,
) -> Option<PathTemplate> {
    let at = at.key("path");
    let Some(path) = &file.path else {
        at.refuse("is missing; write one such as `/v1/charges`");
        return None;
    };
    at.check(PathTemplate::compile(path, known))
}

/// The place of an operation's key: exactly one of `header` and `field`.
pub(super) fn key_slot(file: &IdempotencyFile, place: &SettingsCursor<'_>) -> Option<KeySlot> {
    match (&file.header, &file.field) {
        (Some(name), None) => place.key("header").check(header::name(name)).map(KeySlot::Header),
        (None, Some(field)) if field.is_empty() => {
            place.key("field").refuse("is empty; write the name of a field of the body");
            None
        }
        (None, Some(field)) => Some(KeySlot::Field(field.clone())),
        (Some(_), Some(_)) => {
            place.refuse("has both `header` and `field`; keep the one that the provider reads");
            None
        }
        (None, None) => {
            place.refuse(r#"does not say where the key goes; write header = "Idempotency-Key" or field = "…""#);
            None
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
