//! Masks the outcomes of calls, and cuts their texts.

use super::fit::fit_value;
use super::mask::Mask;
use super::unmasked::MaskableValue;
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::outcome::{Failure, LookupOutcome, Outcome, PollOutcome, Success};
use ferryd_domain::token::TokenUnavailable;

/// The most characters of an error's message or code, or of a warning.
const LONGEST_TEXT: usize = 512;

/// The most warnings of one answer.
const MOST_WARNINGS: usize = 64;

impl MaskableValue for Failure {
    fn masked(self, mask: &Mask) -> Self {
        let Self { code, message, details, http_status, provider_reference } = self;
        let details =
            details.map(|details| fit_value(mask.details(details), "details", &mut Vec::new()));
        Self {
            code: code.map(|code| mask.masked_data(code).first_chars(LONGEST_TEXT)),
            message: mask.masked(message).first_chars(LONGEST_TEXT),
            details,
            http_status,
            provider_reference: mask.reference(provider_reference),
        }
    }
}

impl MaskableValue for Success {
    fn masked(self, mask: &Mask) -> Self {
        let Self { result, provider_reference, warnings, http_status } = self;
        let mut shortened = Vec::new();
        let result = result.map(|result| fit_value(mask.data(result), "result", &mut shortened));
        let is_named = provider_reference.is_some();
        let provider_reference = mask.reference(provider_reference);
        if is_named && provider_reference.is_none() {
            shortened.push("reference: left out, it holds a secret of the account".to_owned());
        }
        let cut = |warning: String| mask.masked(warning).first_chars(LONGEST_TEXT);
        let warnings = shortened.into_iter().chain(warnings).take(MOST_WARNINGS).map(cut).collect();
        Self { result, provider_reference, warnings, http_status }
    }
}

impl MaskableValue for Outcome {
    fn masked(self, mask: &Mask) -> Self {
        match self {
            Self::Completed(success) => Self::Completed(success.masked(mask)),
            Self::Waiting(success, waiting_for) => Self::Waiting(success.masked(mask), waiting_for),
            Self::Declined(failure) => Self::Declined(failure.masked(mask)),
            Self::Rejected(failure) => Self::Rejected(failure.masked(mask)),
            Self::Transient(failure, retry_after) => {
                Self::Transient(failure.masked(mask), retry_after)
            }
            Self::Unknown(failure) => Self::Unknown(failure.masked(mask)),
            Self::Lookup(failure) => Self::Lookup(failure.masked(mask)),
        }
    }
}

impl MaskableValue for PollOutcome {
    fn masked(self, mask: &Mask) -> Self {
        match self {
            Self::Completed(success) => Self::Completed(success.masked(mask)),
            Self::Declined(failure) => Self::Declined(failure.masked(mask)),
            Self::Still(failure) => Self::Still(failure.masked(mask)),
        }
    }
}

impl MaskableValue for LookupOutcome {
    fn masked(self, mask: &Mask) -> Self {
        match self {
            Self::Found(outcome) => Self::Found(outcome.masked(mask)),
            Self::Absent(failure) => Self::Absent(failure.masked(mask)),
            Self::Unclear(failure) => Self::Unclear(failure.masked(mask)),
        }
    }
}

impl MaskableValue for TokenUnavailable {
    fn masked(self, mask: &Mask) -> Self {
        Self { failure: self.failure.masked(mask), ..self }
    }
}

impl MaskableValue for CredentialCheck {
    fn masked(self, mask: &Mask) -> Self {
        match self {
            Self::Accepted => Self::Accepted,
            Self::Refused(failure) => Self::Refused(failure.masked(mask)),
            Self::Unreachable(failure) => Self::Unreachable(failure.masked(mask)),
            Self::Unclear(failure) => Self::Unclear(failure.masked(mask)),
        }
    }
}
