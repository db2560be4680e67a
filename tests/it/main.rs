//! The integration tests, in one binary that links once: real RabbitMQ, real TLS, real sockets, all
//! on 127.0.0.1.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail like tests"
)]

mod accounts;
mod amounts;
mod amqps;
mod api;
mod api_client;
mod api_tokens;
mod architecture;
mod broker_settings;
mod bulkhead;
mod bursts;
mod call_log;
mod call_log_fields;
mod call_writer;
mod cancel;
mod carry;
#[cfg(feature = "failpoints")]
mod chaos;
mod check;
mod check_connect;
mod cluster;
mod contract;
mod contradictions;
mod copies;
#[cfg(feature = "failpoints")]
mod crash;
mod destinations;
mod documents;
mod early_queries;
mod echoed_values;
mod echoes;
mod handshake;
mod harness;
mod headers;
mod hostile;
mod https;
mod invalid;
mod keys;
mod ledger;
mod link;
mod load;
mod lookup;
mod masking;
mod messaging;
mod nodes;
mod notices;
mod oauth;
mod operator;
mod operator_api;
mod outage;
mod poison;
mod poisoned;
mod publisher_routes;
mod publishers;
mod race;
mod refusals;
mod refused_dead_letters;
mod refused_messages;
mod removed_providers;
mod rig;
mod sandbox;
mod sandbox_client;
mod schedule;
mod shared_reference;
mod shutdown;
mod signed_webhooks;
mod tls_server;
mod truncated;
#[cfg(feature = "failpoints")]
mod unread_log;
mod unsigned_calls;
mod waiting;
mod webhook_send;
mod webhook_url;
#[cfg(feature = "failpoints")]
mod webhooks;
mod window;
mod without_records;
