//! Expressions of provider files: minijinja, compiled when the file is read, evaluated with a
//! bounded amount of work.
//!
//! A path with a missing step is undefined, so `payload.a.b | default('x')` works whichever step is
//! missing. A filter that would silently turn undefined into text (`payload.missing | lower`) fails
//! instead.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;

use super::comparison::ComparisonList;
use super::engine::ENGINE;
use super::expression_error::{DEEPEST, ExpressionError, LONGEST};
pub(crate) use super::expression_scope::ExpressionScope;
use super::expression_scope::{PathValue, json_of};
use super::expression_source::{check_words, depth, path, without_strings, words};
use super::webhook_url::{self, WebhookUrl};
use ferryd_domain::name::excerpt;
use ferryd_settings::suggest;

/// The variable for the token that proves an id which the provider echoes.
pub(crate) const COMMAND_TOKEN: &str = "command_token";

/// The variables that every expression may use.
const IN_REQUESTS: [&str; 8] = [
    "payload",
    "command",
    "metadata",
    "account",
    "secrets",
    "key",
    webhook_url::NAME,
    COMMAND_TOKEN,
];

/// The variables of expressions that read an answer, besides those of requests.
const IN_ANSWERS: [&str; 5] = ["status", "headers", "body", "text", "in_doubt"];

/// The variables of expressions that read the answer to a request without a command.
const IN_VERIFICATION_ANSWERS: [&str; 6] =
    ["account", "secrets", "status", "headers", "body", "text"];

/// The variables of expressions that read a provider's webhook.
const IN_WEBHOOKS: [&str; 7] = ["method", "url", "headers", "query", "body", "text", "secrets"];

/// The words by which an expression provides an alternative for a missing variable.
const ALTERNATIVES: [&str; 4] = ["default", "d", "if", "or"];

/// The key of `account` that every account has: the account's name.
pub(crate) const NAME: &str = "name";

/// The variables that an expression may name.
#[derive(Debug, Clone)]
pub(crate) struct KnownVariables<'f> {
    variables: Vec<&'static str>,
    secrets: &'f BTreeSet<String>,
    account: &'f BTreeSet<String>,
    items: Vec<String>,
    webhook_url: Option<&'f WebhookUrl>,
}

/// The values of accounts that state none.
static NOTHING: BTreeSet<String> = BTreeSet::new();

impl<'f> KnownVariables<'f> {
    /// The variables of requests, and the names in `[secrets]`.
    pub(super) fn in_request(secrets: &'f BTreeSet<String>) -> Self {
        Self {
            variables: IN_REQUESTS.to_vec(),
            secrets,
            account: &NOTHING,
            items: Vec::new(),
            webhook_url: None,
        }
    }

    /// Adds the availability of `webhook_url` to the variables.
    pub(super) fn with(self, webhook_url: &'f WebhookUrl) -> Self {
        Self { webhook_url: Some(webhook_url), ..self }
    }

    /// The variables of answers, and the names in `[secrets]`.
    pub(super) fn in_answer(secrets: &'f BTreeSet<String>) -> Self {
        Self { variables: [&IN_REQUESTS[..], &IN_ANSWERS].concat(), ..Self::in_request(secrets) }
    }

    /// The variables of a provider's webhook, and the names in `[secrets]`.
    pub(crate) fn in_webhook(secrets: &'f BTreeSet<String>) -> Self {
        Self { variables: IN_WEBHOOKS.to_vec(), ..Self::in_request(secrets) }
    }

    /// The variables of a request without a command, and the names in `[secrets]`.
    pub(super) fn in_verification(secrets: &'f BTreeSet<String>) -> Self {
        Self { variables: vec!["account", "secrets"], ..Self::in_request(secrets) }
    }

    /// The variables of the answer to a request without a command.
    pub(super) fn in_verification_answer(secrets: &'f BTreeSet<String>) -> Self {
        Self { variables: IN_VERIFICATION_ANSWERS.to_vec(), ..Self::in_request(secrets) }
    }

    /// Only the names in `[secrets]`.
    pub(crate) fn in_secrets(secrets: &'f BTreeSet<String>) -> Self {
        Self { variables: vec!["secrets"], ..Self::in_request(secrets) }
    }

    /// Only the values of the account.
    pub(crate) fn in_base_url(account: &'f BTreeSet<String>) -> Self {
        Self { variables: vec!["account"], ..Self::in_request(&NOTHING) }.with_account(account)
    }

    /// Adds the names in `[account]`.
    pub(super) fn with_account(self, account: &'f BTreeSet<String>) -> Self {
        Self { account, ..self }
    }

    /// Adds one variable: the `$as` of an `$each`.
    pub(super) fn and(&self, item: &str) -> Self {
        let mut known = self.clone();
        known.items.push(item.to_owned());
        known
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().copied().chain(self.items.iter().map(String::as_str))
    }

    fn check(&self, name: &str) -> Result<(), ExpressionError> {
        if self.names().any(|known| known == name)
            || ENGINE.globals().any(|(global, _)| global == name)
        {
            return Ok(());
        }
        if IN_ANSWERS.contains(&name) && self.variables == IN_REQUESTS {
            return Err(ExpressionError::OnlyInAnswers(name.to_owned()));
        }
        let hint =
            suggest::nearest(name, self.names()).unwrap_or_else(|| suggest::one_of(self.names()));
        Err(ExpressionError::Variable { name: name.to_owned(), hint })
    }

    fn check_secret(&self, name: &str) -> Result<(), ExpressionError> {
        if self.secrets.contains(name) {
            return Ok(());
        }
        let hint = suggest::nearest(name, self.secrets.iter().map(String::as_str));
        let hint =
            hint.unwrap_or_else(|| format!("write `{name} = \"${{env:NAME}}\"` under [secrets]"));
        Err(ExpressionError::Secret { name: name.to_owned(), hint })
    }

    fn check_account(&self, name: &str) -> Result<(), ExpressionError> {
        if name == NAME || self.account.contains(name) {
            return Ok(());
        }
        let known = || std::iter::once(NAME).chain(self.account.iter().map(String::as_str));
        let hint = suggest::nearest(name, known())
            .unwrap_or_else(|| format!("write `{name} = \"…\"` under [account]"));
        Err(ExpressionError::Account { name: name.to_owned(), hint })
    }
}

/// The reason why an expression has no value for a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` {problem}")]
pub(crate) struct EvalError {
    expression: String,
    problem: String,
}

/// Makes a value that fails every expression which uses it: the `body` of an answer that could not
/// be parsed.
pub(crate) fn unreadable(reason: &'static str) -> Value {
    Value::from(Error::new(ErrorKind::UndefinedError, reason))
}

/// A compiled expression.
pub(crate) struct Expression {
    source: String,
    code: minijinja::Expression<'static, 'static>,
    /// The words of the expression, each variable that it names among them.
    words: Vec<String>,
    /// The steps of an expression that is a path; of any other none.
    path: Vec<String>,
    may_change: bool,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl Expression {
    /// Compiles an expression, without the braces around it.
    pub(super) fn compile(
        source: &str,
        known: &KnownVariables<'_>,
    ) -> Result<Self, ExpressionError> {
        let source = source.trim();
        if source.len() > LONGEST || depth(source) > DEEPEST {
            return Err(ExpressionError::TooMuch(excerpt(source)));
        }
        let code = ENGINE.compile_expression_owned(source.to_owned()).map_err(|error| {
            ExpressionError::Syntax {
                source_text: excerpt(source),
                detail: error.detail().unwrap_or("nothing in it").to_owned(),
            }
        })?;
        for name in sorted(code.undeclared_variables(false)) {
            known.check(&name)?;
            if let Some(webhook_url) = known.webhook_url.filter(|_| name == webhook_url::NAME) {
                webhook_url
                    .name_in(&without_strings(source))
                    .map_err(ExpressionError::NoWebhookUrl)?;
            }
        }
        for path in sorted(code.undeclared_variables(true)) {
            if let Some(name) = path.strip_prefix("secrets.") {
                known.check_secret(name.split('.').next().unwrap_or(name))?;
            }
            if let Some(name) = path.strip_prefix("account.") {
                known.check_account(name.split('.').next().unwrap_or(name))?;
            }
        }
        check_words(source)?;
        let (words, path) = (words(source), path(source).unwrap_or_default());
        let may_change = code.undeclared_variables(false).contains("secrets")
            || code.undeclared_variables(true).contains("command.attempt");
        Ok(Self { source: source.to_owned(), code, words, path, may_change })
    }

    /// Returns true if the value may differ at the next attempt of the same call: the expression
    /// uses a credential, which may rotate, or the number of the attempt.
    pub(super) fn may_change(&self) -> bool {
        self.may_change
    }

    /// Returns true if the expression names one of these variables.
    pub(super) fn names_any(&self, variables: &[&str]) -> bool {
        let named = self.code.undeclared_variables(false);
        variables.iter().any(|variable| named.contains(*variable))
    }

    /// Returns true if the expression names a variable without an alternative for its absence.
    pub(super) fn needs(&self, variable: &str) -> bool {
        let bare = without_strings(&self.source);
        let mut words = bare.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        self.names_any(&[variable]) && !words.any(|word| ALTERNATIVES.contains(&word))
    }

    /// Evaluates the expression; a path with a missing step is undefined.
    pub(super) fn eval(&self, scope: &ExpressionScope<'_>) -> Result<Value, EvalError> {
        self.code.eval(scope.values(&self.words)).map_err(|error| {
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            // The text is kept whole: it may quote a value, and is masked before it is cut.
            self.error(format!("cannot be evaluated: {detail}"))
        })
    }

    /// Evaluates the expression to JSON; `None` if the value is to be left out.
    pub(super) fn value<'s>(
        &self,
        scope: &'s ExpressionScope<'_>,
    ) -> Result<Option<Cow<'s, Json>>, EvalError> {
        match scope.at(&self.path) {
            PathValue::Found(value) => Ok(Some(value)),
            PathValue::LeftOut => Ok(None),
            PathValue::Unknown => {
                let value = json_of(&self.eval(scope)?);
                let value = value.map_err(|_| self.error("yields what JSON does not have"))?;
                Ok(value.map(Cow::Owned))
            }
        }
    }

    /// Makes an error about this expression.
    pub(super) fn error(&self, problem: impl Into<String>) -> EvalError {
        EvalError { expression: excerpt(&self.source), problem: problem.into() }
    }
}

/// A condition, compiled: true or false, and false if it cannot be evaluated.
#[derive(Debug)]
pub(crate) struct Condition {
    expression: Expression,
    /// The comparisons, of a condition that consists of nothing else.
    comparisons: Option<ComparisonList>,
}

impl Condition {
    /// Compiles a condition.
    pub(crate) fn compile(
        source: &str,
        known: &KnownVariables<'_>,
    ) -> Result<Self, ExpressionError> {
        if let Some(braced) =
            source.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"))
        {
            let detail = "a condition has no braces around it".to_owned();
            return Err(ExpressionError::Syntax { source_text: excerpt(braced.trim()), detail });
        }
        let expression = Expression::compile(source, known)?;
        Ok(Self { expression, comparisons: ComparisonList::parse(source) })
    }

    /// Returns true if the condition holds.
    pub(crate) fn holds(&self, scope: &ExpressionScope<'_>) -> bool {
        let compared = self.comparisons.as_ref().and_then(|comparisons| comparisons.hold(scope));
        compared.unwrap_or_else(|| self.expression.eval(scope).is_ok_and(|value| value.is_true()))
    }
}

fn sorted(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
