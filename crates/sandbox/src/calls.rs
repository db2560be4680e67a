//! The state of the sandbox: the number of calls of each caller, the transactions, and the answers
//! given under keys.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::deeds::Deeds;

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
    pub keys: BTreeMap<String, Calls>,
    /// Calls by `sandbox.id`, or else by the body's `id` or `reference`.
    pub ids: BTreeMap<String, Calls>,
    /// Queries about transactions, by the queried `id`.
    pub questions: BTreeMap<String, u64>,
}

/// Counters of the calls under one key or id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// The requests received.
    pub calls: u64,
    /// The number of transactions. More than 1 under one key is the provider's fault, without a key
    /// the caller's.
    pub acted: u64,
}

/// The caller, by which failures and transactions are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    pub(super) path: String,
    pub(super) key: Option<String>,
    pub(super) id: Option<String>,
}

impl Caller {
    /// The name by which failures are counted.
    fn name(&self) -> &str {
        self.key.as_deref().or(self.id.as_deref()).unwrap_or(&self.path)
    }
}

/// A complete answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// The state of an idempotency key.
enum Kept {
    /// The first call still runs.
    Running(Fingerprint),
    /// The first call was answered.
    Done(Fingerprint, Given),
}

/// A hash that identifies a request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(path: &str, body: &[u8]) -> Self {
        Self(Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize().into())
    }
}

/// The result of claiming a key for a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The call is the first one under the key, or the first after failed ones.
    Ours,
    /// The first call still runs.
    InUse,
    /// Another request was sent under the key before.
    OtherRequest,
    /// The key has its answer already.
    Known(Given),
}

/// All counters, keys and transactions.
#[derive(Default)]
pub(super) struct Memory {
    counted: CallsSnapshot,
    kept: HashMap<String, Kept>,
    failures: HashMap<String, u32>,
    issued: u64,
    pub(super) deeds: Deeds,
}

impl Memory {
    /// Counts a request that came in.
    pub(super) fn arrived(&mut self, caller: &Caller) {
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
    pub(super) fn asked(&mut self, id: &str) {
        *self.counted.questions.entry(id.to_owned()).or_default() += 1;
    }

    /// Counts a request that has ended, answered or not.
    pub(super) fn left(&mut self) {
        self.counted.concurrent = self.counted.concurrent.saturating_sub(1);
    }

    /// Counts a transaction, and numbers it.
    pub(super) fn acted(&mut self, caller: &Caller) -> u64 {
        self.counted.acted += 1;
        for calls in self.calls_of(caller) {
            calls.acted += 1;
        }
        self.issued += 1;
        self.issued
    }

    fn calls_of(&mut self, caller: &Caller) -> impl Iterator<Item = &mut Calls> {
        let key = caller.key.clone().map(|key| self.counted.keys.entry(key).or_default());
        let id = caller.id.clone().map(|id| self.counted.ids.entry(id).or_default());
        key.into_iter().chain(id)
    }

    /// Claims a key for a call.
    pub(super) fn claim(&mut self, key: &str, request: Fingerprint) -> Claim {
        match self.kept.get(key) {
            Some(Kept::Running(first) | Kept::Done(first, _)) if *first != request => Claim::OtherRequest,
            Some(Kept::Running(_)) => Claim::InUse,
            Some(Kept::Done(_, given)) => Claim::Known(given.clone()),
            None => {
                self.kept.insert(key.to_owned(), Kept::Running(request));
                Claim::Ours
            }
        }
    }

    /// Keeps the answer of a key for later calls.
    pub(super) fn keep(&mut self, key: &str, given: &Given) {
        if let Some(kept) = self.kept.get_mut(key) {
            let (Kept::Running(first) | Kept::Done(first, _)) = *kept;
            *kept = Kept::Done(first, given.clone());
        }
    }

    /// Releases a key that got no final answer.
    pub(super) fn release(&mut self, key: &str) {
        if matches!(self.kept.get(key), Some(Kept::Running(_))) {
            self.kept.remove(key);
        }
    }

    /// Returns true if this call is one of the caller's first `times` calls, which fail.
    pub(super) fn fails(&mut self, caller: &Caller, times: u32) -> bool {
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
