//! Providers: the outside services that ferryd calls, each described by a TOML file.
//!
//! An [`Adapter`] describes the request of a call and interprets its answer. Adapters are pure and
//! synchronous: they open no connection and read no clock; everything they need is an argument.
//! `ferryd_transport` does the I/O. The data that an adapter reads is an
//! [`UnmaskedValue`](ferryd_redact::UnmaskedValue), which the caller opens with a mask.

mod account;
mod adapter;
pub mod catalog;
mod catalog_merge;
pub mod certificate;
mod definition;
pub mod example;
#[cfg(any(test, feature = "fixtures", feature = "failpoints"))]
pub mod fake_webhook;
#[cfg(test)]
mod fixture;
pub mod misnamed;
#[cfg(test)]
mod overrides_tests;
mod parse;
mod payload;
mod proof;
mod provider_files;
mod publishers;
pub mod registry;
mod rest;
pub mod webhook;
pub mod webhook_links;

pub use self::account::{Account, NatsLogin, ProviderLink, account_schema};
pub use self::adapter::{Adapter, CallContext, WebhookReceiver};
pub use self::definition::{
    HttpSettings, IdempotencyPolicy, LogSettings, Operation, Provider, RecoveryOptions,
};
pub use self::parse::file_schema;
pub use self::payload::{PayloadSchema, SchemaError};

#[cfg(test)]
mod catalog_answers_tests;
#[cfg(test)]
mod catalog_query_tests;
#[cfg(test)]
mod catalog_requests_tests;
#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod catalog_verification_tests;
#[cfg(test)]
mod catalog_webhook_tests;
#[cfg(test)]
mod constraint_tests;
#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod file_error_tests;
#[cfg(test)]
mod payload_limits;
