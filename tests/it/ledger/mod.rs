//! Tests the ledger on a real broker: order, races, outages, and indexes that are lost.

mod loss;
mod measure;
mod order;
mod outage;
pub(crate) mod site;
