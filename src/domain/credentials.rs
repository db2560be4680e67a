//! The verdict on an account's credentials when they are tried.

use super::outcome::Failure;

/// The result of trying the credentials of one account at its provider.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialCheck {
    /// The provider takes them.
    Accepted,
    /// The provider refuses them.
    Refused(Failure),
    /// No complete answer came: the provider can't be reached, or the connection broke.
    Unreachable(Failure),
    /// An answer came that says nothing about them, such as one with status 500.
    Unclear(Failure),
}
