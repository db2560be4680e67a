//! A verification told step by step, for a person who wonders why a call is refused.
//!
//! Steps never show a secret. A signature that was expected is described by its first characters.

use serde::Serialize;

/// How many characters of an expected signature are shown.
const SHOWN: usize = 6;

/// One step of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked for.
    pub looked_for: String,
    /// What was found.
    pub found: String,
    /// What that means.
    pub result: StepResult,
}

/// What a step found means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// As it should be.
    Passed,
    /// Neither good nor bad.
    Noted,
    /// The call is refused for it.
    Failed,
}

/// Where steps are written down, if anyone reads them.
#[derive(Debug)]
pub(super) struct Trail(Option<Vec<Step>>);

impl Trail {
    /// Writes nothing down.
    pub(super) fn untold() -> Self {
        Self(None)
    }

    /// Writes everything down.
    pub(super) fn told() -> Self {
        Self(Some(Vec::new()))
    }

    /// Whether anyone reads it.
    pub(super) fn is_told(&self) -> bool {
        self.0.is_some()
    }

    /// Something is as it should be.
    pub(super) fn passed(&mut self, looked_for: &str, found: impl FnOnce() -> String) {
        self.step(looked_for, found, StepResult::Passed);
    }

    /// Something is worth knowing.
    pub(super) fn noted(&mut self, looked_for: &str, found: impl FnOnce() -> String) {
        self.step(looked_for, found, StepResult::Noted);
    }

    /// The call is refused for something.
    pub(super) fn failed(&mut self, looked_for: &str, found: impl FnOnce() -> String) {
        self.step(looked_for, found, StepResult::Failed);
    }

    /// What was written down.
    pub(super) fn into_steps(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }

    fn step(&mut self, looked_for: &str, found: impl FnOnce() -> String, result: StepResult) {
        if let Some(steps) = &mut self.0 {
            steps.push(Step { looked_for: looked_for.to_owned(), found: found(), result });
        }
    }
}

/// The beginning of a signature, enough to tell it from another.
pub(super) fn beginning(signature: &str) -> String {
    let shown: String = signature.chars().take(SHOWN).collect();
    if shown.len() < signature.len() { format!("`{shown}…`") } else { format!("`{shown}`") }
}
