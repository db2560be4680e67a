//! The result of a check of an account's credentials.

use super::outcome::Failure;

/// The result of trying the credentials of one account at its provider.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialCheck {
    /// The provider accepted the credentials.
    Accepted,
    /// The provider refused the credentials.
    Refused(Failure),
    /// No complete answer came: the provider can't be reached, or the connection broke.
    Unreachable(Failure),
    /// The answer proves nothing about the credentials, such as one with status 500.
    Unclear(Failure),
}
