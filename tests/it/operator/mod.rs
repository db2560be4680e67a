//! The operator's and publisher's commands, on a real broker. Most need no daemon: dead letters and
//! events are published by hand.

#[cfg(feature = "failpoints")]
mod aged;
mod api_client;
mod bulk;
mod copied_letters;
mod dead_letter_decisions;
mod dead_letters;
mod discard;
mod erase;
mod erase_api;
mod erase_refused;
mod events;
mod job_bench;
mod job_scopes;
mod jobs;
mod jobs_command;
mod operator_bench;
mod publish;
pub(crate) mod recorded;
mod replay;
mod stream;
mod topology;
