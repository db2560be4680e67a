//! What the sandbox has done, for those who ask: `GET /sandbox/deeds?id=…` finds it by its caller's name, `GET
//! /sandbox/deeds/sb_1` by the sandbox's own.
//!
//! What was only accepted finishes after a while, or when it is told to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Something that was done, or is being done.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    /// The sandbox's own number for it.
    pub(super) number: u64,
    /// Whose it is.
    pub(super) caller: Option<String>,
    /// What it is about.
    pub(super) amount: Option<Value>,
    /// When it was done or begun.
    pub(super) at: Instant,
    /// How long it can't be found by its caller's name.
    pub(super) hidden: Duration,
    /// How it stands.
    pub(super) standing: Standing,
}

/// How something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has ended so.
    Ended(String),
    /// It ends so after a while, or never by itself.
    Accepted {
        /// How.
        end: String,
        /// After how long.
        after: Option<Duration>,
    },
}

impl Deed {
    /// The id that the caller is told.
    pub(super) fn id(number: u64) -> String {
        format!("sb_{number}")
    }

    fn status(&self) -> &str {
        match &self.standing {
            Standing::Ended(end) => end,
            Standing::Accepted { end, after: Some(after) } if self.at.elapsed() >= *after => end,
            Standing::Accepted { .. } => "processing",
        }
    }

    fn told(&self) -> Value {
        json!({ "id": Self::id(self.number), "status": self.status(), "amount": self.amount, "caller": self.caller })
    }
}

/// Everything that was done.
#[derive(Debug, Default)]
pub(super) struct Deeds(Vec<Deed>);

impl Deeds {
    pub(super) fn add(&mut self, deed: Deed) {
        self.0.push(deed);
    }

    /// By the sandbox's own id.
    pub(super) fn get(&self, id: &str) -> Option<Value> {
        self.0.iter().find(|deed| Deed::id(deed.number) == id).map(Deed::told)
    }

    /// By the caller's name, the oldest first.
    pub(super) fn of(&self, caller: &str) -> Value {
        let shown = |deed: &&Deed| deed.caller.as_deref() == Some(caller) && deed.at.elapsed() >= deed.hidden;
        json!({ "data": self.0.iter().filter(shown).map(Deed::told).collect::<Vec<_>>() })
    }

    /// Ends what a caller has begun.
    pub(super) fn end(&mut self, caller: &str, status: &str) {
        for deed in self.0.iter_mut().filter(|deed| deed.caller.as_deref() == Some(caller)) {
            deed.standing = Standing::Ended(status.to_owned());
        }
    }
}
