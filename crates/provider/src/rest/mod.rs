//! Providers with an HTTP API that their file describes.
//!
//! [`file`] is the structure of a file, [`compile`] makes a provider of it, [`request`] renders a
//! request, [`answer`] reads the answer.

pub(super) mod amount;
mod answer;
pub(super) mod answer_meaning;
pub(super) mod compile;
mod compiled_operation;
mod credential;
mod decimal;
mod encode;
mod engine;
pub(super) mod expression;
pub(super) mod expression_error;
mod expression_source;
pub(super) mod file;
mod header;
pub(super) mod inherited;
pub(super) mod operation;
mod path;
mod query;
mod request;
pub(super) mod secret;
pub(super) mod text;
mod token;
pub(super) mod tree;
mod verification;
mod webhook_url;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use minijinja::Value;
use serde_json::{Value as Json, json};

use self::answer::ReplyBody;
use self::compiled_operation::RestOperation;
use self::expression::{ExpressionScope, from_json};
use self::query::{LookupRequest, QueryReply};
use self::request::SharedRequestParts;
use self::token::TokenRequest;
use self::verification::CredentialProbe;
use super::{Adapter, CallContext};
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpReply, HttpRequest};
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::{Failure, LookupOutcome, Outcome, PollOutcome};
use ferryd_domain::query::QueryPurpose;
use ferryd_domain::token::{AccessToken, TokenUnavailable};
use ferryd_redact::UnmaskedValue;

/// A map as the pairs of a form, its lists written in each of the two ways.
pub(super) fn form_pairs(map: &Json) -> [Vec<(String, String)>; 2] {
    [file::ListEncoding::Brackets, file::ListEncoding::Repeat]
        .map(|lists| encode::pairs(map, lists))
}

/// The adapter of an account of a provider that a file describes.
struct RestAdapter {
    name: Name,
    shared: SharedRequestParts,
    /// The secrets as expressions see them, made once.
    secret_variable: Value,
    /// The account as expressions see it.
    account_variable: Value,
    operations: Arc<BTreeMap<Name, RestOperation>>,
    verification: Option<Arc<CredentialProbe>>,
}

impl Adapter for RestAdapter {
    fn build_request(&self, call: &CallContext<'_>) -> Result<HttpRequest, UnmaskedValue<Failure>> {
        let operation = self.operation(call).map_err(UnmaskedValue::new)?;
        let mut scope = self.scope(call);
        if call.command_token.is_empty() {
            scope = scope.with([(expression::COMMAND_TOKEN, Value::UNDEFINED)]);
        }
        operation.request.render(&self.shared, &scope, call.key).map_err(UnmaskedValue::new)
    }

    fn requested_amount(&self, call: &CallContext<'_>) -> Option<MoneyAmount> {
        self.operation(call).ok()?.reading.requested.as_ref()?.money(&self.scope(call))
    }

    fn build_query(
        &self,
        call: &CallContext<'_>,
        purpose: QueryPurpose,
    ) -> Result<HttpRequest, UnmaskedValue<Failure>> {
        self.query_of(call, purpose).map_err(UnmaskedValue::new)
    }

    fn interpret_poll(
        &self,
        call: &CallContext<'_>,
        answer: &CallResult,
    ) -> UnmaskedValue<PollOutcome> {
        UnmaskedValue::new(self.read_poll(call, answer))
    }

    fn interpret_lookup(
        &self,
        call: &CallContext<'_>,
        answer: &CallResult,
    ) -> UnmaskedValue<LookupOutcome> {
        UnmaskedValue::new(self.read_lookup(call, answer))
    }

    fn affected_reference(&self, call: &CallContext<'_>) -> Option<String> {
        let affects = self.operation(call).ok()?.affects.as_ref()?;
        affects.string(&self.scope(call)).ok()?.filter(|reference| !reference.is_empty())
    }

    fn build_token_request(&self, timeout: Duration) -> Option<HttpRequest> {
        self.shared.auth.as_ref()?.grant().map(|grant| grant.request(timeout))
    }

    fn read_token(
        &self,
        answer: &CallResult,
    ) -> Result<AccessToken, UnmaskedValue<TokenUnavailable>> {
        TokenRequest::read(answer).map_err(UnmaskedValue::new)
    }

    fn verification_request(&self) -> Option<Result<HttpRequest, UnmaskedValue<Failure>>> {
        let request =
            self.verification.as_ref()?.request(&self.shared, &self.scope_without_command())?;
        Some(request.map_err(UnmaskedValue::new))
    }

    fn interpret_credential_check(&self, answer: &CallResult) -> UnmaskedValue<CredentialCheck> {
        let missing = || {
            CredentialCheck::Unclear(Failure::new(
                "no_verification",
                "the file has no `verification`",
            ))
        };
        let probe = self.verification.as_ref();
        UnmaskedValue::new(
            probe.map_or_else(missing, |probe| probe.read(answer, &self.scope_without_command())),
        )
    }

    fn interpret_reply(
        &self,
        call: &CallContext<'_>,
        answer: &CallResult,
    ) -> UnmaskedValue<Outcome> {
        UnmaskedValue::new(self.read_answer(call, answer))
    }
}

impl RestAdapter {
    fn query_of(
        &self,
        call: &CallContext<'_>,
        purpose: QueryPurpose,
    ) -> Result<HttpRequest, Failure> {
        let operation = self.operation(call)?;
        let name = purpose.as_str();
        let missing =
            || Failure::new("unknown_operation", format!("the operation has no `{name}`"));
        operation.query_request(purpose).ok_or_else(missing)?.render(
            &self.shared,
            &self.scope(call),
            None,
        )
    }

    fn read_poll(&self, call: &CallContext<'_>, answer: &CallResult) -> PollOutcome {
        let RestOperation { reading, poll: Some(poll), .. } = (match self.operation(call) {
            Ok(operation) => operation,
            Err(failure) => return PollOutcome::Still(Some(failure)),
        }) else {
            return PollOutcome::Still(None);
        };
        match answer {
            CallResult::NotSent(failure) | CallResult::Incomplete(failure) => {
                PollOutcome::Still(Some(failure.clone()))
            }
            CallResult::Reply(reply) => {
                poll.read_poll(reading, &Self::read_reply(&self.scope(call), reply))
            }
        }
    }

    fn read_lookup(&self, call: &CallContext<'_>, answer: &CallResult) -> LookupOutcome {
        let operation = match self.operation(call) {
            Ok(operation) => operation,
            Err(failure) => return LookupOutcome::Unclear(failure),
        };
        let reply = match answer {
            CallResult::NotSent(failure) | CallResult::Incomplete(failure) => {
                return LookupOutcome::Unclear(failure.clone());
            }
            CallResult::Reply(reply) => Self::read_reply(&self.scope(call), reply),
        };
        match (operation, &operation.lookup) {
            (RestOperation { reading, .. }, Some(LookupRequest::Own(lookup))) => {
                lookup.read_lookup(reading, &reply)
            }
            (RestOperation { reading, poll: Some(poll), .. }, Some(LookupRequest::OfPoll)) => {
                poll.read_found(reading, &reply)
            }
            _ => LookupOutcome::Unclear(Failure::new("no_lookup", "the operation has no `lookup`")),
        }
    }

    fn read_answer(&self, call: &CallContext<'_>, answer: &CallResult) -> Outcome {
        let operation = match self.operation(call) {
            Ok(operation) => operation,
            Err(failure) => return Outcome::Unknown(failure),
        };
        match answer {
            CallResult::NotSent(failure) => Outcome::Transient(failure.clone(), None),
            CallResult::Incomplete(failure) => Outcome::Unknown(failure.clone()),
            CallResult::Reply(reply) => {
                let QueryReply { body, scope, .. } = Self::read_reply(&self.scope(call), reply);
                operation.reading.read_outcome(reply, &body, &scope)
            }
        }
    }

    fn operation(&self, call: &CallContext<'_>) -> Result<&RestOperation, Failure> {
        let name = &call.command.operation;
        let missing = || {
            Failure::new("unknown_operation", format!("{} has no operation `{name}`", self.name))
        };
        self.operations.get(name).ok_or_else(missing)
    }

    /// The answer as expressions see it.
    fn read_reply<'a>(request: &ExpressionScope, reply: &'a HttpReply) -> QueryReply<'a> {
        let body = ReplyBody::read(reply);
        let scope = answer::scope(request, reply, &body);
        QueryReply { reply, body, scope }
    }

    /// The variables of a request without a command; a pretended command stands in for the one that
    /// headers of every request may name.
    fn scope_without_command(&self) -> ExpressionScope {
        let account =
            self.account_variable.get_attr(expression::NAME).unwrap_or_default().to_string();
        let variables = [
            ("command", from_json(&verification::pretended_command(self.name.as_str(), &account))),
            ("account", self.account_variable.clone()),
            ("secrets", self.secret_variable.clone()),
        ];
        ExpressionScope::new(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The variables of a call.
    fn scope(&self, call: &CallContext<'_>) -> ExpressionScope {
        let command = call.command;
        let mut described = json!({
            "id": command.id, "type": command.kind, "provider": self.name, "account": command.account,
            "operation": command.operation, "generation": call.generation, "attempt": call.attempt,
        });
        if let Some(reference) = &command.reference {
            described["reference"] = Json::String(reference.clone());
        }
        let key = call.key.map_or(Value::UNDEFINED, |key| Value::from(key.as_str()));
        let variables = [
            ("payload", Value::from(minijinja::value::Serde(&command.payload))),
            ("command", from_json(&described)),
            ("metadata", Value::from(minijinja::value::Serde(&command.metadata))),
            ("account", self.account_variable.clone()),
            ("secrets", self.secret_variable.clone()),
            ("key", key),
            (webhook_url::NAME, call.webhook_url.map_or(Value::UNDEFINED, Value::from)),
            (expression::COMMAND_TOKEN, call.command_token.into()),
            ("in_doubt", call.in_doubt.into()),
            ("provider_reference", call.provider_reference.map_or(Value::UNDEFINED, Value::from)),
        ];
        ExpressionScope::new(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }
}
