//! Providers with an HTTP API that their file describes.
//!
//! [`file`] is the structure of a file, [`compile`] makes a provider of it, [`request`] renders a
//! request, [`answer`] reads the answer.

pub(super) mod amount;
mod answer;
mod callback_url;
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
mod inquiry;
pub(super) mod meaning;
pub(super) mod operation;
mod path;
mod request;
pub(super) mod secret;
pub(super) mod text;
mod token;
pub(super) mod tree;
mod verification;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use minijinja::Value;
use serde_json::{Value as Json, json};

use self::answer::Body;
use self::compiled_operation::RestOperation;
use self::expression::{Scope, from_json};
use self::inquiry::{Heard, LookupRequest};
use self::request::Shared;
use self::token::Grant;
use self::verification::CredentialProbe;
use super::{Adapter, Call};
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::exchange::{Answer, Reply, Request};
use ferryd_domain::inquiry::Purpose;
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::{Failure, LookedUp, Outcome, Polled};
use ferryd_domain::token::{AccessToken, NoToken};
use ferryd_redact::UnmaskedValue;

/// A map as the pairs of a form, its lists written in each of the two ways.
pub(super) fn form_pairs(map: &Json) -> [Vec<(String, String)>; 2] {
    [file::Lists::Brackets, file::Lists::Repeat].map(|lists| encode::pairs(map, lists))
}

/// The adapter of an account of a provider that a file describes.
struct Rest {
    name: Name,
    shared: Shared,
    /// The secrets as expressions see them, made once.
    secret_variable: Value,
    /// The account as expressions see it.
    account_variable: Value,
    operations: Arc<BTreeMap<Name, RestOperation>>,
    verification: Option<Arc<CredentialProbe>>,
}

impl Adapter for Rest {
    fn request(&self, call: &Call<'_>) -> Result<Request, UnmaskedValue<Failure>> {
        let operation = self.operation(call).map_err(UnmaskedValue::new)?;
        operation.request.render(&self.shared, &self.scope(call), call.key).map_err(UnmaskedValue::new)
    }

    fn money(&self, call: &Call<'_>) -> Option<MoneyAmount> {
        self.operation(call).ok()?.reading.asked.as_ref()?.money(&self.scope(call))
    }

    fn inquire(&self, call: &Call<'_>, purpose: Purpose) -> Result<Request, UnmaskedValue<Failure>> {
        self.question(call, purpose).map_err(UnmaskedValue::new)
    }

    fn polled(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<Polled> {
        UnmaskedValue::new(self.read_poll(call, answer))
    }

    fn looked_up(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<LookedUp> {
        UnmaskedValue::new(self.read_lookup(call, answer))
    }

    fn affected(&self, call: &Call<'_>) -> Option<String> {
        let affects = self.operation(call).ok()?.affects.as_ref()?;
        affects.string(&self.scope(call)).ok()?.filter(|reference| !reference.is_empty())
    }

    fn token_request(&self, timeout: Duration) -> Option<Request> {
        self.shared.auth.as_ref()?.grant().map(|grant| grant.request(timeout))
    }

    fn token(&self, answer: &Answer) -> Result<AccessToken, UnmaskedValue<NoToken>> {
        Grant::read(answer).map_err(UnmaskedValue::new)
    }

    fn verification_request(&self) -> Option<Result<Request, UnmaskedValue<Failure>>> {
        let request = self.verification.as_ref()?.request(&self.shared, &self.scope_without_command())?;
        Some(request.map_err(UnmaskedValue::new))
    }

    fn verified(&self, answer: &Answer) -> UnmaskedValue<CredentialCheck> {
        let missing = || CredentialCheck::Unclear(Failure::new("no_verification", "the file has no `verification`"));
        let probe = self.verification.as_ref();
        UnmaskedValue::new(probe.map_or_else(missing, |probe| probe.read(answer, &self.scope_without_command())))
    }

    fn interpret(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<Outcome> {
        UnmaskedValue::new(self.read_answer(call, answer))
    }
}

impl Rest {
    fn question(&self, call: &Call<'_>, purpose: Purpose) -> Result<Request, Failure> {
        let operation = self.operation(call)?;
        let name = purpose.as_str();
        let missing = || Failure::new("unknown_operation", format!("the operation has no `{name}`"));
        operation.question(purpose).ok_or_else(missing)?.render(&self.shared, &self.scope(call), None)
    }

    fn read_poll(&self, call: &Call<'_>, answer: &Answer) -> Polled {
        let RestOperation { reading, poll: Some(poll), .. } = (match self.operation(call) {
            Ok(operation) => operation,
            Err(failure) => return Polled::Still(Some(failure)),
        }) else {
            return Polled::Still(None);
        };
        match answer {
            Answer::NotSent(failure) | Answer::Incomplete(failure) => Polled::Still(Some(failure.clone())),
            Answer::Reply(reply) => poll.outcome(reading, &Self::heard(&self.scope(call), reply)),
        }
    }

    fn read_lookup(&self, call: &Call<'_>, answer: &Answer) -> LookedUp {
        let operation = match self.operation(call) {
            Ok(operation) => operation,
            Err(failure) => return LookedUp::Unclear(failure),
        };
        let reply = match answer {
            Answer::NotSent(failure) | Answer::Incomplete(failure) => return LookedUp::Unclear(failure.clone()),
            Answer::Reply(reply) => Self::heard(&self.scope(call), reply),
        };
        match (operation, &operation.lookup) {
            (RestOperation { reading, .. }, Some(LookupRequest::Own(lookup))) => lookup.outcome(reading, &reply),
            (RestOperation { reading, poll: Some(poll), .. }, Some(LookupRequest::OfPoll)) => {
                poll.found(reading, &reply)
            }
            _ => LookedUp::Unclear(Failure::new("no_lookup", "the operation has no `lookup`")),
        }
    }

    fn read_answer(&self, call: &Call<'_>, answer: &Answer) -> Outcome {
        let operation = match self.operation(call) {
            Ok(operation) => operation,
            Err(failure) => return Outcome::Unknown(failure),
        };
        match answer {
            Answer::NotSent(failure) => Outcome::Transient(failure.clone(), None),
            Answer::Incomplete(failure) => Outcome::Unknown(failure.clone()),
            Answer::Reply(reply) => {
                let Heard { body, scope, .. } = Self::heard(&self.scope(call), reply);
                operation.reading.outcome(reply, &body, &scope)
            }
        }
    }

    fn operation(&self, call: &Call<'_>) -> Result<&RestOperation, Failure> {
        let name = &call.command.operation;
        let missing = || Failure::new("unknown_operation", format!("{} has no operation `{name}`", self.name));
        self.operations.get(name).ok_or_else(missing)
    }

    /// The answer as expressions see it.
    fn heard<'a>(request: &Scope, reply: &'a Reply) -> Heard<'a> {
        let body = Body::read(reply);
        let scope = answer::scope(request, reply, &body);
        Heard { reply, body, scope }
    }

    /// The variables of a request without a command; a pretended command stands in for the one that
    /// headers of every request may name.
    fn scope_without_command(&self) -> Scope {
        let account = self.account_variable.get_attr(expression::NAME).unwrap_or_default().to_string();
        let variables = [
            ("command", from_json(&verification::pretended_command(self.name.as_str(), &account))),
            ("account", self.account_variable.clone()),
            ("secrets", self.secret_variable.clone()),
        ];
        Scope::new(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The variables of a call.
    fn scope(&self, call: &Call<'_>) -> Scope {
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
            (callback_url::NAME, call.callback_url.map_or(Value::UNDEFINED, Value::from)),
            (expression::COMMAND_TOKEN, call.command_token.map_or(Value::UNDEFINED, Value::from)),
            ("in_doubt", call.in_doubt.into()),
            ("provider_reference", call.provider_reference.map_or(Value::UNDEFINED, Value::from)),
        ];
        Scope::new(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }
}
