//! Providers that their file describes: with an HTTP API, or reached by messages.
//!
//! [`file`] is the structure of a file, [`compile`] makes a provider of it, [`request`] renders a
//! request and [`message`] a message, [`answer`] reads the answer.

mod account_draft;
pub(super) mod amount;
mod answer;
pub(super) mod answer_meaning;
mod body;
mod comparison;
pub(super) mod compile;
pub(super) mod compile_context;
mod compiled_operation;
mod credential;
mod decimal;
mod encode;
mod engine;
pub(super) mod expression;
pub(super) mod expression_error;
pub(super) mod expression_scope;
mod expression_source;
pub(super) mod file;
mod foreign_keys;
mod header;
pub(super) mod inherited;
mod message;
mod missing_value;
pub(super) mod operation;
mod path;
mod query;
mod request;
pub(super) mod secret;
mod subject;
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
use self::expression::ExpressionScope;
use self::expression_scope::ScopeVariable;
use self::query::{LookupRequest, QueryReply};
use self::request::SharedRequestParts;
use self::token::TokenRequest;
use self::verification::CredentialProbe;
use super::{Adapter, CallContext};
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpReply, HttpRequest};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::name::Name;
use ferryd_domain::outbound_request::OutboundRequest;
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
    fn build_request(
        &self,
        call: &CallContext<'_>,
    ) -> Result<OutboundRequest, UnmaskedValue<Failure>> {
        let operation = self.operation(call).map_err(UnmaskedValue::new)?;
        let (scope, without_token) = (self.scope(call), Value::UNDEFINED.into());
        let scope = match call.command_token {
            "" => &scope.with([(expression::COMMAND_TOKEN, without_token)]),
            _ => &scope,
        };
        operation.call.render(&self.shared, scope, call).map_err(UnmaskedValue::new)
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

    fn interpret_receipt(
        &self,
        call: &CallContext<'_>,
        result: &MessageResult,
    ) -> UnmaskedValue<Outcome> {
        UnmaskedValue::new(self.read_receipt(call, result))
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
                self.hear(call, reply, |heard| poll.read_poll(reading, heard))
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
            CallResult::Reply(reply) => reply,
        };
        self.hear(call, reply, |heard| match (operation, &operation.lookup) {
            (RestOperation { reading, .. }, Some(LookupRequest::Own(lookup))) => {
                lookup.read_lookup(reading, heard)
            }
            (RestOperation { reading, poll: Some(poll), .. }, Some(LookupRequest::OfPoll)) => {
                poll.read_found(reading, heard)
            }
            _ => LookupOutcome::Unclear(Failure::new("no_lookup", "the operation has no `lookup`")),
        })
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
                self.hear(call, reply, |QueryReply { body, scope, .. }| {
                    operation.reading.read_outcome(reply, body, scope)
                })
            }
        }
    }

    fn read_receipt(&self, call: &CallContext<'_>, result: &MessageResult) -> Outcome {
        match (result, self.operation(call)) {
            (MessageResult::NotSent(failure), _) => Outcome::Transient(failure.clone(), None),
            (MessageResult::Incomplete(failure), _) => Outcome::Unknown(failure.clone()),
            (MessageResult::Acknowledged, Err(failure)) => Outcome::Unknown(failure),
            (MessageResult::Acknowledged, Ok(operation)) => {
                operation.reading.read_acknowledgement(&self.scope(call))
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

    /// Reads an answer as expressions see it.
    fn hear<T>(
        &self,
        call: &CallContext<'_>,
        reply: &HttpReply,
        read: impl FnOnce(&QueryReply<'_>) -> T,
    ) -> T {
        let (request, body) = (self.scope(call), ReplyBody::read(reply));
        let scope = &answer::scope(&request, reply, &body);
        read(&QueryReply { reply, body: &body, scope })
    }

    /// The variables of a request without a command; a pretended command stands in for the one that
    /// headers of every request may name.
    fn scope_without_command(&self) -> ExpressionScope<'_> {
        let account =
            self.account_variable.get_attr(expression::NAME).unwrap_or_default().to_string();
        let command = move || verification::pretended_command(self.name.as_str(), &account);
        ExpressionScope::new([
            ("command", ScopeVariable::made(command)),
            ("account", self.account_variable.clone().into()),
            ("secrets", self.secret_variable.clone().into()),
        ])
    }

    /// The variables of a call.
    fn scope<'c>(&'c self, call: &'c CallContext<'_>) -> ExpressionScope<'c> {
        let CallContext { command, webhook_url, command_token, .. } = *call;
        let text = |text: Option<&str>| text.map_or(Value::UNDEFINED, Value::from).into();
        ExpressionScope::new([
            ("payload", (&command.payload).into()),
            ("command", ScopeVariable::made(|| self.describe(call))),
            ("metadata", ScopeVariable::made(|| json!(command.metadata))),
            ("account", self.account_variable.clone().into()),
            ("secrets", self.secret_variable.clone().into()),
            ("key", text(call.key.map(IdempotencyKey::as_str))),
            (webhook_url::NAME, text(webhook_url)),
            (expression::COMMAND_TOKEN, text(Some(command_token))),
            ("in_doubt", Value::from(call.in_doubt).into()),
            ("provider_reference", text(call.provider_reference)),
        ])
    }

    /// The command of a call, as expressions see it.
    fn describe(&self, call: &CallContext<'_>) -> Json {
        let command = call.command;
        let mut described = json!({
            "id": command.id, "type": command.kind, "provider": self.name, "account": command.account,
            "operation": command.operation, "generation": call.generation, "attempt": call.attempt,
        });
        if let Some(reference) = &command.reference {
            described["reference"] = Json::String(reference.clone());
        }
        described
    }
}
