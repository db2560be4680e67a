//! Search in the ledger for the commands that a job is meant for.

use std::collections::HashSet;
use std::sync::Arc;

use super::context::JobContext;
use crate::operator::OperatorError;
use crate::operator::queues::{all_dead_queues, dead_queues};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobSpec, MAX_NAMED};
use ferryd_domain::name::Name;
use ferryd_ledger::command_filter::{CommandFilter, WantedKind};
use ferryd_ledger::index::{IndexError, LedgerIndex, MAX_PAGE};

/// Dead letters that were meant and that no queue gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MissingLetters {
    pub count: u64,
    /// The first of them.
    pub named: Vec<CommandId>,
}

impl JobContext {
    /// Asks the index, with everything in it that is in the ledger now.
    async fn query_index<T: Send + 'static>(
        &self,
        read: impl FnOnce(&LedgerIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, OperatorError> {
        self.ledger.wait_for_barrier().await?;
        self.ledger.flush().await;
        let index = Arc::clone(self.ledger.index());
        let answer = tokio::task::spawn_blocking(move || read(&index)).await;
        Ok(answer.unwrap_or_else(|error| Err(IndexError::Damaged(error.to_string())))?)
    }

    /// The dead letters that the ledger knows to be meant, but for those that are `known` to stay.
    pub(super) async fn find_meant(
        &self,
        spec: &JobSpec,
        known: HashSet<CommandId>,
    ) -> Result<MissingLetters, OperatorError> {
        if spec.filter.unreadable {
            return Ok(MissingLetters::default());
        }
        let filter = index_filter(spec);
        self.query_index(move |index| {
            let (mut missing, mut after) = (MissingLetters::default(), None);
            loop {
                let page = index.list(&filter, after.as_ref(), MAX_PAGE)?;
                for row in page.rows.into_iter().filter(|row| !known.contains(&row.id)) {
                    missing.count += 1;
                    if missing.named.len() < MAX_NAMED {
                        missing.named.push(row.id);
                    }
                }
                after = page.next;
                if after.is_none() {
                    return Ok(missing);
                }
            }
        })
        .await
    }

    /// The queues in which dead letters can lie that are meant.
    pub(super) async fn queues(&self, spec: &JobSpec) -> Result<Vec<String>, OperatorError> {
        let names = &self.operator.names;
        if let Some(provider) = &spec.filter.provider {
            return Ok(dead_queues(names, &[], Some(provider)));
        }
        if !spec.filter.ids.is_empty() {
            let ids: Vec<CommandId> = spec.filter.ids.iter().cloned().collect();
            if let Some(providers) = self.providers_of(&ids) {
                return all_dead_queues(&self.operator, &[], providers).await;
            }
        }
        let known = self.query_index(LedgerIndex::dead_providers).await?;
        let configured: Vec<Name> =
            self.registry.iter().map(|provider| provider.name.clone()).collect();
        all_dead_queues(&self.operator, &configured, known).await
    }

    /// The providers of these commands, where the ledger knows that of each.
    fn providers_of(&self, ids: &[CommandId]) -> Option<Vec<Name>> {
        let provider = |id: &CommandId| {
            self.ledger.command_state(id)?.identity.as_ref()?.command.provider.clone()
        };
        let mut providers = ids.iter().map(provider).collect::<Option<Vec<Name>>>()?;
        providers.sort();
        providers.dedup();
        Some(providers)
    }
}

fn index_filter(spec: &JobSpec) -> CommandFilter {
    let filter = spec.filter.clone();
    CommandFilter {
        ids: filter.ids.into_iter().collect(),
        r#type: filter.r#type,
        provider: filter.provider,
        account: filter.account,
        operation: filter.operation,
        reference: filter.reference,
        kind: filter.kind.map(WantedKind::Recorded),
        code: filter.code,
        http_status: filter.http_status,
        generation: filter.generation,
        older_than: Some(filter.older_than.map_or(spec.cut_off, |end| end.min(spec.cut_off))),
        newer_than: filter.newer_than,
        dead: true,
        scope: spec.scope.clone(),
        ..CommandFilter::default()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::index_filter;
    use ferryd_domain::job::JobSpec;

    /// The scope of a [`CommandFilter`](super::CommandFilter) is never written, so that it stands
    /// beside the filter.
    #[test]
    fn a_recorded_job_is_about_dead_letters_within_the_scope_of_its_token_and_before_its_cut_off() {
        let recorded = json!({
            "action": "discard",
            "filter": { "operation": "charge" },
            "scope": { "providers": ["bank"] },
            "cut_off": "2026-11-30T12:00:00Z",
            "actor": { "by": "api:narrow", "reason": "test" },
        });
        let spec: JobSpec = serde_json::from_value(recorded.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), recorded);
        let filter = index_filter(&spec);
        assert!(filter.dead && filter.scope.admits_names(None, Some("bank"), None));
        assert!(!filter.scope.admits_names(None, Some("acme"), None));
        assert_eq!(filter.older_than, Some("2026-11-30T12:00:00Z".parse::<Timestamp>().unwrap()));
    }
}
