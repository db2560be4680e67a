//! Keeps prompts in the state of a command, and the queries of its provider that they led to.

use jiff::Timestamp;

use super::command_state::CommandState;
use super::prompt::{MadeQuery, PromptNote, PromptRecord, QueryNote};
use super::record::FinishedRecord;
use super::ruling::{Ruling, RulingGrant};

/// The maximum number of prompts that are kept of one command: the first and the latest.
const MAX_PROMPTS: usize = 16;
/// The maximum number of queries that are kept of one command: the first and the latest. Those in a
/// row that had the same reason and changed nothing count as one.
const MAX_QUERIES: usize = 32;

impl CommandState {
    /// Adds a prompt, unless the state has it already.
    pub(super) fn note_prompt(&mut self, at: Timestamp, prompted: &PromptRecord) -> Ruling {
        let PromptRecord { prompt, starts_query } = prompted;
        if *starts_query {
            self.prompted = Some(prompt.clone());
        }
        if self
            .prompts
            .iter()
            .any(|known| known.prompt == *prompt && known.starts_query == *starts_query)
            && !starts_query
        {
            return Ruling::Superseded;
        }
        if self.prompts.len() >= MAX_PROMPTS {
            self.prompts.remove(MAX_PROMPTS / 2);
        }
        self.prompts.push(PromptNote { at, prompt: prompt.clone(), starts_query: *starts_query });
        Ruling::Counts(RulingGrant::default())
    }

    /// Adds a query of the provider, and the result of its answer.
    pub(super) fn note_query(&mut self, at: Timestamp, finished: &FinishedRecord) {
        let Some(MadeQuery { purpose, early }) = finished.query else { return };
        let data = &finished.effects.event.data;
        // A query without an answer is repeated for the same reason.
        let again = || self.queries.last().and_then(|last| last.cause.clone());
        let cause = early.then(|| self.prompted.clone().or_else(again)).flatten();
        self.prompted.take_if(|_| early);
        let detail = data.error.as_ref().map(|error| error.message.clone());
        let (step, state) = (finished.step, data.state);
        if let Some(last) = self.queries.last_mut()
            && (last.purpose, last.state, &last.detail) == (purpose, state, &detail)
            && last.cause == cause
            && last.step.generation == step.generation
        {
            (last.times, last.latest, last.step) = (last.times.saturating_add(1), at, step);
            return;
        }
        if self.queries.len() >= MAX_QUERIES {
            self.queries.remove(MAX_QUERIES / 2);
        }
        self.queries.push(QueryNote {
            at,
            step,
            purpose,
            cause,
            state,
            detail,
            times: 1,
            latest: at,
        });
    }
}
