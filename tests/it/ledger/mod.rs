//! Tests the ledger on a real broker: order, races, outages, and indexes that are lost.

pub(crate) mod ledger_instance;
mod loss;
mod measure;
mod order;
mod outage;
