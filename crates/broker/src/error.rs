//! Errors between ferryd and the broker.

use std::path::PathBuf;
use std::time::Duration;

use super::failure::CloseCause;

/// An error of reaching or using the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker or the network refused.
    #[error("{action}: {source}")]
    Amqp {
        /// The action that failed.
        action: String,
        /// lapin's error.
        source: lapin::Error,
    },
    /// A stream can't be read.
    #[error("read stream {stream}: {source}{}", stream_hint(stream, source))]
    Stream {
        /// The name of the stream.
        stream: String,
        /// lapin's error.
        source: lapin::Error,
    },
    /// The broker did not begin to send a stream in time.
    #[error(
        "read stream {stream}: no answer from the broker within {} s; most of the nodes that have the stream are down, or it \
         was declared before this node was in the cluster: `rabbitmq-streams stream_status {stream}` on another node lists \
         those that have it, and `rabbitmq-streams add_replica {stream} <node>` there adds this one",
        after.as_secs()
    )]
    StreamTimeout {
        /// The name of the stream.
        stream: String,
        /// The time without an answer.
        after: Duration,
    },
    /// The broker did not answer in time.
    #[error("{action}: no answer from the broker within {} s", after.as_secs())]
    Timeout {
        /// The action that failed.
        action: String,
        /// The time without an answer.
        after: Duration,
    },
    /// The broker ended the action.
    #[error("{action}: the broker closed the channel; try again")]
    Closed {
        /// The action that failed.
        action: String,
    },
    /// No node of the cluster could be reached.
    #[error("{}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("; "))]
    NoNode(Vec<Self>),
    /// A TLS file can't be used.
    #[error("{path}: {message}", path = path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// The problem of the file, and its remedy.
        message: String,
    },
    /// The broker refuses a message, even published alone.
    #[error("the broker refuses the message: {}", cause.reason)]
    Refused {
        /// The broker's reason.
        cause: CloseCause,
    },
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
}

impl BrokerError {
    /// Joins the failures to connect to all nodes of a cluster.
    pub(super) fn of_all_nodes(mut failures: Vec<Self>) -> Self {
        match failures.pop() {
            Some(only) if failures.is_empty() => only,
            last => Self::NoNode(failures.into_iter().chain(last).collect()),
        }
    }

    /// Wraps lapin's error with the action that failed.
    pub fn while_doing(action: impl Into<String>) -> impl FnOnce(lapin::Error) -> Self {
        let action = action.into();
        move |source| Self::Amqp { action, source }
    }

    /// Wraps lapin's error with the stream that was to be read.
    pub fn while_reading(stream: &str) -> impl FnOnce(lapin::Error) -> Self + use<> {
        let stream = stream.to_owned();
        move |source| Self::Stream { stream, source }
    }

    /// Returns true if the broker itself failed (541, internal-error) at reading a stream.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self, Self::Stream { source, .. } if CloseCause::from(source).code == Some(INTERNAL_ERROR))
    }
}

/// The reply code for an internal error of the broker.
const INTERNAL_ERROR: u16 = 541;

/// Returns the cause of an error at reading a stream and the command that repairs it, where the
/// broker's text reveals them; else nothing.
fn stream_hint(stream: &str, error: &lapin::Error) -> String {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&["replica on the local node", "running local replica"]) {
        format!(
            "; the node that ferryd is connected to has no replica of the stream, or not a running one: \
             if `rabbitmq-streams stream_status {stream}` does not list it, run \
             `rabbitmq-streams add_replica {stream} <node>`; if it does, restart that node"
        )
    } else if says(&["Stream not found for"]) {
        format!(
            "; the queue is known and its stream is not: the nodes of a cluster do not agree on who coordinates streams, \
             as when the stream was declared before all of them were there. On the node that has it (`rabbitmq-streams \
             stream_status {stream}`), run `rabbitmq-streams add_replica {stream} <node>` for each other node"
        )
    } else if CloseCause::from(error).code == Some(INTERNAL_ERROR) {
        format!(
            "; the broker broke at it, as RabbitMQ 3.10 does where the stream was declared before this node was in the \
             cluster: if `rabbitmq-streams stream_status {stream}` on another node does not list this one, let no ferryd \
             connect to it, run `rabbitmq-streams add_replica {stream} <node>` there, and wait half a minute"
        )
    } else if says(&["Stream coordinator unavailable"]) {
        "; most of the nodes that coordinate streams are down: bring them back".to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    #[test]
    fn an_error_at_reading_a_stream_names_the_command_that_mends_it() {
        // The texts of RabbitMQ 3.10, 4.0 and 4.3.
        let add = "run `rabbitmq-streams add_replica ferry.ledger <node>`";
        for (text, hint) in [
            (
                "queue 'queue 'ferry.ledger' in vhost '/'' does not have a replica on the local node",
                add,
            ),
            (
                "stream queue 'ferry.ledger' in vhost '/' does not have a running replica on the local node",
                add,
            ),
            ("queue 'ferry.ledger' in vhost '/' does not have a running local replica", add),
            ("Stream not found for queue 'ferry.ledger' in vhost '/'", add),
            (
                "Stream coordinator unavailable for queue 'ferry.ledger' in vhost '/'",
                "bring them back",
            ),
        ] {
            let kind = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
            let error = AMQPError::new(kind, format!("PRECONDITION_FAILED - {text}").into());
            let source = lapin::Error::from(lapin::ErrorKind::ProtocolError(error));
            let message = BrokerError::while_reading("ferry.ledger")(source).to_string();
            assert!(
                message.starts_with("read stream ferry.ledger: ") && message.contains(text),
                "{message}"
            );
            assert!(message.contains(hint), "{message}");
        }
    }

    #[test]
    fn a_broker_that_breaks_at_reading_a_stream_has_a_hint_too() {
        let error = AMQPError::new(
            AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR),
            "INTERNAL_ERROR".into(),
        );
        let error = BrokerError::while_reading("ferry.ledger")(lapin::Error::from(
            lapin::ErrorKind::ProtocolError(error),
        ));
        assert!(error.is_internal());
        assert!(
            error.to_string().contains("run `rabbitmq-streams add_replica ferry.ledger <node>`"),
            "{error}"
        );
    }

    #[test]
    fn an_error_of_another_kind_has_no_hint() {
        let source = lapin::Error::from(lapin::ErrorKind::ChannelsLimitReached);
        let message = BrokerError::while_reading("ferry.ledger")(source).to_string();
        assert!(!message.contains("rabbitmq-streams"), "{message}");
    }
}
