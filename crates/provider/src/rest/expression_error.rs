//! Errors of expressions in provider files.

/// The longest expression, in bytes, and the most brackets that may be open in it at once. The
/// compiler is recursive, so a longer one could overflow the stack.
pub(super) const LONGEST: usize = 2_048;
pub(super) const DEEPEST: usize = 32;

/// The fault of an expression as the file states it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpressionError {
    /// The expression can't be parsed.
    #[error("`{source_text}` is not an expression ({detail}); write one such as `payload.amount`")]
    Syntax {
        /// The expression.
        source_text: String,
        /// The parser's error text.
        detail: String,
    },
    /// The expression names an unknown variable.
    #[error("`{name}` is not a variable here; {hint}")]
    Variable {
        /// The name.
        name: String,
        /// The advice, such as the closest known name.
        hint: String,
    },
    /// The expression uses a variable of answers before there is an answer.
    #[error("`{0}` is known only in answers; use it in `response`, `classify` or `in_progress`")]
    OnlyInAnswers(String),
    /// The expression names a secret that the file does not have.
    #[error("`secrets.{name}` is not there; {hint}")]
    Secret {
        /// The name.
        name: String,
        /// The advice, such as the closest known name.
        hint: String,
    },
    /// The expression names a value that the accounts do not have.
    #[error("`account.{name}` is not there; {hint}")]
    Account {
        /// The name.
        name: String,
        /// The advice, such as the closest known name.
        hint: String,
    },
    /// The expression needs a webhook URL, and none is available.
    #[error("`webhook_url` {0}")]
    NoWebhookUrl(&'static str),
    /// The expression uses a filter or test that does not exist.
    #[error("`{name}` is not a {what}; see the list of filters in docs/PROVIDERS.md")]
    Word {
        /// `filter` or `test`.
        what: &'static str,
        /// The name of the filter or test.
        name: String,
    },
    /// The expression is longer or deeper than the limits allow.
    #[error(
        "`{0}` is too much for one expression: {LONGEST} bytes, and {DEEPEST} brackets in each other, are the most"
    )]
    TooMuch(String),
    /// A text has `{%` or `{#`.
    #[error("`{0}` is not taken; write an expression such as `{{{{ a if b else c }}}}`")]
    Statement(&'static str),
    /// A `{{` has no `}}`.
    #[error("`{0}` opens an expression and does not close it; end it with `}}}}`")]
    Open(String),
}
