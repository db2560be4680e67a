//! The ledger: what happened to every command.

pub mod index;

use std::sync::Arc;
use std::time::Duration;
use crate::amqp::error::BrokerError;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::{Record, RecordId};
use crate::domain::ledger::ruling::Ruling;
/// stub
#[derive(Clone)]
pub struct Ledger;
/// stub
pub struct Ruled {
    /// stub
    pub id: RecordId,
    /// stub
    pub ruling: Ruling,
    /// stub
    pub age: Duration,
}
impl Ledger {
    /// stub
    /// # Errors
    /// stub
    pub async fn append(&self, _record: Record) -> Result<Ruled, BrokerError> {
        Err(BrokerError::Stopping)
    }
    /// stub
    pub fn note(&self, _record: Record) {}
    /// stub
    #[must_use]
    pub fn case(&self, _id: &CommandId) -> Option<Arc<Case>> {
        None
    }
}
