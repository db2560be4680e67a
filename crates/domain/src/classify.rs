//! Classifies an answer as an outcome: the order of the rules and the built-in table, as pure
//! functions.
//!
//! The order is: nothing sent, no complete answer, `in_progress`, the file's `classify` rules
//! (first match), then for a 2xx `accepted` and `success`, then the [built-in table](by_status).

use super::outcome::OutcomeName;

/// The shape of an answer, as far as the table uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerShape {
    /// Nothing reached the provider.
    NotSent,
    /// A part of the request reached the provider, and no complete answer came back.
    Incomplete,
    /// A complete answer.
    Answered {
        /// The HTTP status.
        status: u16,
        /// True if the answer had a readable `Retry-After`.
        retry_after: bool,
    },
}

/// The results of the provider file's conditions on a complete answer. `None` means that the file
/// does not have the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnswerConditions {
    /// The outcome of the first `classify` rule that matched.
    pub rule: Option<OutcomeName>,
    /// True if ferryd's own first call is still running at the provider
    /// (`idempotency.in_progress`).
    pub in_progress: bool,
    /// The result of `response.accepted`.
    pub accepted: Option<bool>,
    /// The result of `response.success`.
    pub success: Option<bool>,
}

/// Returns the outcome that an answer means.
#[must_use]
pub fn classify(shape: AnswerShape, conditions: AnswerConditions) -> OutcomeName {
    let (status, retry_after) = match shape {
        AnswerShape::NotSent => return OutcomeName::Transient,
        AnswerShape::Incomplete => return OutcomeName::Unknown,
        AnswerShape::Answered { status, retry_after } => (status, retry_after),
    };
    if conditions.in_progress {
        return OutcomeName::Transient;
    }
    if let Some(outcome) = conditions.rule {
        return outcome;
    }
    if !(200..300).contains(&status) {
        return by_status(status, retry_after);
    }
    match (conditions.accepted, conditions.success) {
        (Some(true), _) => OutcomeName::Waiting,
        (_, Some(false)) => OutcomeName::Unknown,
        (_, Some(true) | None) => OutcomeName::Completed,
    }
}

/// Looks up the outcome of a status for which the provider file has no rule (RFC 9110, section 15).
///
/// A status that a proxy or an overloaded server may send *after* the provider acted is unknown,
/// not transient.
#[must_use]
pub fn by_status(status: u16, retry_after: bool) -> OutcomeName {
    match status {
        200..=299 => OutcomeName::Completed,
        425 | 429 => OutcomeName::Transient,
        503 if retry_after => OutcomeName::Transient,
        408 | 500 | 502 | 503 | 504 => OutcomeName::Unknown,
        _ => OutcomeName::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> AnswerShape {
        AnswerShape::Answered { status, retry_after: false }
    }

    #[test]
    fn the_built_in_table_reads_every_status() {
        let table: &[(&[u16], bool, OutcomeName)] = &[
            (&[200, 201, 202, 204, 299], false, OutcomeName::Completed),
            (&[425, 429], false, OutcomeName::Transient),
            (&[429, 503], true, OutcomeName::Transient),
            (&[408, 500, 502, 503, 504], false, OutcomeName::Unknown),
            (&[408, 500, 502, 504], true, OutcomeName::Unknown),
            (
                &[501, 505, 301, 302, 307, 308, 400, 401, 402, 403, 404, 409, 410, 422, 100, 599],
                false,
                OutcomeName::Rejected,
            ),
        ];
        for (statuses, retry_after, expected) in table {
            for &status in *statuses {
                let shape = AnswerShape::Answered { status, retry_after: *retry_after };
                assert_eq!(
                    classify(shape, AnswerConditions::default()),
                    *expected,
                    "{status} retry_after={retry_after}"
                );
            }
        }
    }

    #[test]
    fn without_a_complete_answer_no_condition_is_evaluated() {
        let all = AnswerConditions {
            rule: Some(OutcomeName::Completed),
            in_progress: true,
            accepted: Some(true),
            success: Some(true),
        };
        assert_eq!(classify(AnswerShape::NotSent, all), OutcomeName::Transient);
        assert_eq!(classify(AnswerShape::Incomplete, all), OutcomeName::Unknown);
    }

    #[test]
    fn conditions_are_evaluated_in_order() {
        let table = [
            // status, rule, in_progress, accepted, success, expected
            (409, Some(OutcomeName::Declined), true, None, None, OutcomeName::Transient),
            (
                200,
                Some(OutcomeName::Declined),
                false,
                Some(true),
                Some(true),
                OutcomeName::Declined,
            ),
            (500, Some(OutcomeName::Completed), false, None, None, OutcomeName::Completed),
            (200, None, false, Some(true), Some(true), OutcomeName::Waiting),
            (200, None, false, Some(false), Some(true), OutcomeName::Completed),
            (200, None, false, None, Some(true), OutcomeName::Completed),
            (200, None, false, None, Some(false), OutcomeName::Unknown),
            (200, None, false, Some(false), Some(false), OutcomeName::Unknown),
            (202, None, false, Some(false), None, OutcomeName::Completed),
        ];
        for (status, rule, in_progress, accepted, success, expected) in table {
            let conditions = AnswerConditions { rule, in_progress, accepted, success };
            assert_eq!(classify(answered(status), conditions), expected, "{status} {conditions:?}");
        }
    }

    #[test]
    fn success_and_accepted_speak_only_of_a_2xx() {
        for status in [302, 404, 500] {
            let conditions = AnswerConditions {
                accepted: Some(true),
                success: Some(true),
                ..AnswerConditions::default()
            };
            assert_eq!(
                classify(answered(status), conditions),
                by_status(status, false),
                "{status}"
            );
        }
    }
}
