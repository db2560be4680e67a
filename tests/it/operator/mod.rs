//! The operator's and publisher's commands, on a real broker and without a daemon: dead letters and events are published
//! by hand.

mod bench;
mod discard;
mod events;
mod look;
mod publish;
mod replay;
mod topology;
