//! The verification of a call step by step, for a person who wants to know why a call is refused.
//!
//! No step shows a secret. A signature that was expected is described by its first characters.

use serde::Serialize;

/// The number of characters of an expected signature that are shown.
const SHOWN: usize = 6;

/// One step of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerificationStep {
    /// The expected thing, such as a header.
    pub looked_for: String,
    /// The thing that was found in its place.
    pub found: String,
    /// The result of the step.
    pub result: StepResult,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// The step found what is expected.
    Passed,
    /// The step found something that matters to a person, but not to the result.
    Noted,
    /// The step is the reason why the call is refused.
    Failed,
}

/// Records the steps of a verification, if a person will read them.
#[derive(Debug)]
pub(super) struct VerificationTrace(Option<Vec<VerificationStep>>);

impl VerificationTrace {
    /// Makes a trace that records nothing.
    pub(super) fn silent() -> Self {
        Self(None)
    }

    /// Makes a trace that records every step.
    pub(super) fn recording() -> Self {
        Self(Some(Vec::new()))
    }

    /// Returns true if steps are recorded.
    pub(super) fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Records a step that found what is expected.
    pub(super) fn note_passed(&mut self, looked_for: &str, found: impl FnOnce() -> String) {
        self.step(looked_for, found, StepResult::Passed);
    }

    /// Records a step that matters to a person only.
    pub(super) fn note_observation(&mut self, looked_for: &str, found: impl FnOnce() -> String) {
        self.step(looked_for, found, StepResult::Noted);
    }

    /// Records a step for which the call is refused.
    pub(super) fn note_failed(&mut self, looked_for: &str, found: impl FnOnce() -> String) {
        self.step(looked_for, found, StepResult::Failed);
    }

    /// The recorded steps.
    pub(super) fn into_steps(self) -> Vec<VerificationStep> {
        self.0.unwrap_or_default()
    }

    fn step(&mut self, looked_for: &str, found: impl FnOnce() -> String, result: StepResult) {
        if let Some(steps) = &mut self.0 {
            steps.push(VerificationStep {
                looked_for: looked_for.to_owned(),
                found: found(),
                result,
            });
        }
    }
}

/// The beginning of a signature, enough to distinguish it from another.
pub(super) fn beginning(signature: &str) -> String {
    let shown: String = signature.chars().take(SHOWN).collect();
    if shown.len() < signature.len() { format!("`{shown}…`") } else { format!("`{shown}`") }
}
