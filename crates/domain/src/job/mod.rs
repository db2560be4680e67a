//! Jobs: an operator's action on many dead letters, run by one instance and recorded in the ledger.
//!
//! A [`JobSpec`] describes the action; [`JobRecord`]s report the progress, and their order in the
//! ledger decides: [`JobState::apply`] is that decision. The first instance that claims a job runs
//! it. If that instance falls silent, the first later claim takes the job over, and records of the
//! former owner have no effect any more.

pub mod filter;
mod id;
mod progress;
mod rate;
pub mod record;
mod spec;
pub mod state;

pub use self::filter::DeadLetterFilter;
pub use self::id::{InstanceId, InvalidInstanceId, InvalidJobId, JobId};
pub use self::rate::{FailureLimit, InvalidFailureLimit, InvalidJobRate, JobRate, ramped_rate};
pub use self::record::{JobChange, JobRecord};
pub use self::spec::{JobAction, JobSpec, MAX_NAMED, ReplayTerms, Resolution};
pub use self::state::{JobRuling, JobState};
