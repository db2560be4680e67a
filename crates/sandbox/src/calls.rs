//! The state of the sandbox: the number of calls of each caller, the transactions, and the answers
//! given under keys.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::transactions::TransactionLog;

/// Counters of calls since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallsSnapshot {
    /// The requests received, except queries about calls.
    pub total: u64,
    /// The number of transactions: money moved, messages sent.
    pub acted: u64,
    /// The requests that are being worked on or hanging now.
    pub concurrent: u64,
    /// The most requests at the same time.
    pub max_concurrent: u64,
    /// The number of requests by path.
    pub paths: BTreeMap<String, u64>,
    /// Calls by idempotency key.
    pub keys: BTreeMap<String, CallCounts>,
    /// Calls by `sandbox.id`, or else by the body's `id` or `reference`.
    pub ids: BTreeMap<String, CallCounts>,
    /// Queries about transactions, by the queried `id`.
    pub questions: BTreeMap<String, u64>,
}

/// Counters of the calls under one key or id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCounts {
    /// The requests received.
    pub calls: u64,
    /// The number of transactions. More than 1 under one key is the provider's fault, without a key
    /// the caller's.
    pub acted: u64,
}

/// The caller, by which failures and transactions are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct CallerCounts {
    pub(super) path: String,
    pub(super) key: Option<String>,
    pub(super) id: Option<String>,
}

impl CallerCounts {
    /// The name by which failures are counted.
    fn name(&self) -> &str {
        self.key.as_deref().or(self.id.as_deref()).unwrap_or(&self.path)
    }
}

/// A complete answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SandboxAnswer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// The state of an idempotency key.
enum KeyedAnswer {
    /// The first call still runs.
    Running(RequestFingerprint),
    /// The first call was answered.
    Done(RequestFingerprint, SandboxAnswer),
}

/// A hash that identifies a request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestFingerprint([u8; 32]);

impl RequestFingerprint {
    pub(super) fn of(path: &str, body: &[u8]) -> Self {
        Self(
            Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize().into(),
        )
    }
}

/// The result of claiming a key for a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyClaim {
    /// The call is the first one under the key, or the first after failed ones.
    Ours,
    /// The first call still runs.
    InUse,
    /// Another request was sent under the key before.
    OtherRequest,
    /// The key has its answer already.
    Known(SandboxAnswer),
}

/// All counters, keys and transactions.
#[derive(Default)]
pub(super) struct SandboxMemory {
    counted: CallsSnapshot,
    answers: HashMap<String, KeyedAnswer>,
    failures: HashMap<String, u32>,
    issued: u64,
    pub(super) transactions: TransactionLog,
}

impl SandboxMemory {
    /// Counts a request that came in.
    pub(super) fn note_arrival(&mut self, caller: &CallerCounts) {
        let counted = &mut self.counted;
        counted.total += 1;
        counted.concurrent += 1;
        counted.max_concurrent = counted.max_concurrent.max(counted.concurrent);
        *counted.paths.entry(caller.path.clone()).or_default() += 1;
        for calls in self.calls_of(caller) {
            calls.calls += 1;
        }
    }

    /// Counts a query about a transaction.
    pub(super) fn note_query(&mut self, id: &str) {
        *self.counted.questions.entry(id.to_owned()).or_default() += 1;
    }

    /// Counts a request that has ended, answered or not.
    pub(super) fn note_departure(&mut self) {
        self.counted.concurrent = self.counted.concurrent.saturating_sub(1);
    }

    /// Counts a transaction, and numbers it.
    pub(super) fn note_act(&mut self, caller: &CallerCounts) -> u64 {
        self.counted.acted += 1;
        for calls in self.calls_of(caller) {
            calls.acted += 1;
        }
        self.issued += 1;
        self.issued
    }

    fn calls_of(&mut self, caller: &CallerCounts) -> impl Iterator<Item = &mut CallCounts> {
        let key = caller.key.clone().map(|key| self.counted.keys.entry(key).or_default());
        let id = caller.id.clone().map(|id| self.counted.ids.entry(id).or_default());
        key.into_iter().chain(id)
    }

    /// Claims a key for a call.
    pub(super) fn claim(&mut self, key: &str, request: RequestFingerprint) -> KeyClaim {
        match self.answers.get(key) {
            Some(KeyedAnswer::Running(first) | KeyedAnswer::Done(first, _))
                if *first != request =>
            {
                KeyClaim::OtherRequest
            }
            Some(KeyedAnswer::Running(_)) => KeyClaim::InUse,
            Some(KeyedAnswer::Done(_, given)) => KeyClaim::Known(given.clone()),
            None => {
                self.answers.insert(key.to_owned(), KeyedAnswer::Running(request));
                KeyClaim::Ours
            }
        }
    }

    /// Keeps the answer of a key for later calls.
    pub(super) fn keep(&mut self, key: &str, given: &SandboxAnswer) {
        if let Some(kept) = self.answers.get_mut(key) {
            let (KeyedAnswer::Running(first) | KeyedAnswer::Done(first, _)) = *kept;
            *kept = KeyedAnswer::Done(first, given.clone());
        }
    }

    /// Releases a key that got no final answer.
    pub(super) fn release(&mut self, key: &str) {
        if matches!(self.answers.get(key), Some(KeyedAnswer::Running(_))) {
            self.answers.remove(key);
        }
    }

    /// Returns true if this call is one of the caller's first `times` calls, which fail.
    pub(super) fn fails(&mut self, caller: &CallerCounts, times: u32) -> bool {
        let failed = self.failures.entry(caller.name().to_owned()).or_default();
        let fails = *failed < times;
        *failed += u32::from(fails);
        fails
    }

    /// A copy of the counters.
    pub(super) fn snapshot(&self) -> CallsSnapshot {
        self.counted.clone()
    }

    /// Resets everything except the requests that are still running.
    pub(super) fn reset(&mut self) {
        let concurrent = self.counted.concurrent;
        *self = Self::default();
        self.counted.concurrent = concurrent;
        self.counted.max_concurrent = concurrent;
    }
}
