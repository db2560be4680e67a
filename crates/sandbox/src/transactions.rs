//! The transactions of the sandbox, and queries about them: `GET /sandbox/transactions?id=…` finds one by
//! the caller's name, `GET /sandbox/transactions/sb_1` by the sandbox's own id.
//!
//! An accepted transaction finishes after a while, or on request.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A transaction, finished or under way.
#[derive(Debug, Clone)]
pub(super) struct SandboxTransaction {
    /// The sandbox's own number of the transaction.
    pub(super) number: u64,
    /// The caller's name for the transaction.
    pub(super) caller: Option<String>,
    /// The amount in the payload.
    pub(super) amount: Option<Value>,
    /// The time at which the transaction was made or accepted.
    pub(super) at: Instant,
    /// The time for which the transaction can't be found by its caller's name.
    pub(super) hidden: Duration,
    /// The status of the transaction.
    pub(super) standing: TransactionStatus,
}

/// The status of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TransactionStatus {
    /// The transaction has ended with this status.
    Ended(String),
    /// The transaction is accepted, and ends after a while or never by itself.
    Accepted {
        /// The final status.
        end: String,
        /// The time after which the transaction ends; `None` for never.
        after: Option<Duration>,
    },
}

impl SandboxTransaction {
    /// The id of a transaction, as callers see it.
    pub(super) fn id(number: u64) -> String {
        format!("sb_{number}")
    }

    fn status(&self) -> &str {
        match &self.standing {
            TransactionStatus::Ended(end) => end,
            TransactionStatus::Accepted { end, after: Some(after) }
                if self.at.elapsed() >= *after =>
            {
                end
            }
            TransactionStatus::Accepted { .. } => "processing",
        }
    }

    fn status_json(&self) -> Value {
        json!({ "id": Self::id(self.number), "status": self.status(), "amount": self.amount, "caller": self.caller })
    }
}

/// All transactions.
#[derive(Debug, Default)]
pub(super) struct TransactionLog(Vec<SandboxTransaction>);

impl TransactionLog {
    pub(super) fn add(&mut self, transaction: SandboxTransaction) {
        self.0.push(transaction);
    }

    /// Finds a transaction by the sandbox's own id.
    pub(super) fn get(&self, id: &str) -> Option<Value> {
        self.0
            .iter()
            .find(|transaction| SandboxTransaction::id(transaction.number) == id)
            .map(SandboxTransaction::status_json)
    }

    /// Finds the transactions of a caller's name, the oldest first.
    pub(super) fn of(&self, caller: &str) -> Value {
        let shown = |transaction: &&SandboxTransaction| {
            transaction.caller.as_deref() == Some(caller)
                && transaction.at.elapsed() >= transaction.hidden
        };
        json!({ "data": self.0.iter().filter(shown).map(SandboxTransaction::status_json).collect::<Vec<_>>() })
    }

    /// Ends the accepted transactions of a caller.
    pub(super) fn end(&mut self, caller: &str, status: &str) {
        for transaction in
            self.0.iter_mut().filter(|transaction| transaction.caller.as_deref() == Some(caller))
        {
            transaction.standing = TransactionStatus::Ended(status.to_owned());
        }
    }
}
