//! What is wrong with an expression.

/// The longest expression, in bytes, and how many brackets may be open in it at once: a compiler that calls itself for each
/// step of a longer one would use up the stack.
pub(super) const LONGEST: usize = 2_048;
pub(super) const DEEPEST: usize = 32;

/// What is wrong with an expression as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::provider) enum ExpressionError {
    /// It cannot be parsed.
    #[error("`{source_text}` is not an expression ({detail}); write one such as `payload.amount`")]
    Syntax {
        /// The expression.
        source_text: String,
        /// The parser's words.
        detail: String,
    },
    /// It names something that is not there.
    #[error("`{name}` is not a variable here; {hint}")]
    Variable {
        /// The name.
        name: String,
        /// What to write.
        hint: String,
    },
    /// It looks at an answer before there is one.
    #[error("`{0}` is known only in answers; use it in `response`, `classify` or `in_progress`")]
    OnlyInAnswers(String),
    /// It names a secret that the file does not have.
    #[error("`secrets.{name}` is not there; {hint}")]
    Secret {
        /// The name.
        name: String,
        /// What to write.
        hint: String,
    },
    /// It names a value that accounts do not have.
    #[error("`account.{name}` is not there; {hint}")]
    Account {
        /// The name.
        name: String,
        /// What to write.
        hint: String,
    },
    /// It needs a callback URL, and there is none.
    #[error("`callback_url` {0}")]
    NoCallbackUrl(&'static str),
    /// It uses a filter or test that does not exist.
    #[error("`{name}` is not a {what}; see the list of filters in docs/PROVIDERS.md")]
    Word {
        /// `filter` or `test`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is longer or deeper than anything a person writes.
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
