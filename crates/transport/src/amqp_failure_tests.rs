use std::sync::Arc;

use lapin::protocol::{AMQPError, AMQPHardError, AMQPSoftError};
use lapin::{ChannelState, ConnectionState};

use super::*;

fn soft(error: AMQPSoftError) -> Error {
    ErrorKind::ProtocolError(AMQPError::new(error.into(), "the broker's text".into())).into()
}

fn hard(error: AMQPHardError) -> Error {
    ErrorKind::ProtocolError(AMQPError::new(error.into(), "the broker's text".into())).into()
}

fn io(error: io::Error) -> Error {
    ErrorKind::IOError(Arc::new(error)).into()
}

#[test]
fn only_a_channel_that_was_closed_over_the_message_proves_that_the_broker_has_not_taken_it() {
    let reset = || io(io::ErrorKind::ConnectionReset.into());
    let closed = |state, at| Error::from(ErrorKind::InvalidChannelState(state, at));
    let lost = || ErrorKind::InvalidConnectionState(ConnectionState::Closed).into();
    for (error, is_connected, is_sent, code) in [
        (soft(AMQPSoftError::NOTFOUND), true, false, "no_exchange"),
        (soft(AMQPSoftError::ACCESSREFUSED), true, false, "access_refused"),
        (soft(AMQPSoftError::PRECONDITIONFAILED), true, false, "refused"),
        (soft(AMQPSoftError::RESOURCELOCKED), true, true, "channel_closed"),
        // The same codes as reasons for which a connection ended.
        (soft(AMQPSoftError::NOTFOUND), false, true, "connection_lost"),
        (soft(AMQPSoftError::ACCESSREFUSED), false, true, "connection_lost"),
        (hard(AMQPHardError::CONNECTIONFORCED), false, true, "connection_lost"),
        (hard(AMQPHardError::INTERNALERROR), false, true, "connection_lost"),
        (reset(), false, true, "connection_lost"),
        (ErrorKind::MissingHeartbeatError.into(), false, true, "connection_lost"),
        (lost(), false, true, "connection_lost"),
        (closed(ChannelState::Error, "channel.close-ok sent"), true, true, "connection_lost"),
        // lapin has taken nothing.
        (closed(ChannelState::Error, PUBLISH), false, false, "connection_lost"),
        (closed(ChannelState::Closed, PUBLISH), true, false, "connection_lost"),
    ] {
        let result = publish_failure(&error, is_connected);
        let (failure, sent) = match &result {
            MessageResult::NotSent(failure) => (failure, false),
            MessageResult::Incomplete(failure) => (failure, true),
            other @ MessageResult::Acknowledged => panic!("{other:?}"),
        };
        assert_eq!((failure.code.as_deref(), sent), (Some(code), is_sent), "{error:?}");
    }
}

#[test]
fn a_broker_that_is_not_reached_says_what_refused_it() {
    let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    for (error, code, text) in [
        (hard(AMQPHardError::NOTALLOWED), "vhost_refused", "the broker's text"),
        (soft(AMQPSoftError::ACCESSREFUSED), "login_refused", "the broker's text"),
        (hard(AMQPHardError::INTERNALERROR), "connect_failed", "the broker's text"),
        (io(io::ErrorKind::ConnectionRefused.into()), "connect_failed", "connection refused"),
        (io(io::ErrorKind::TimedOut.into()), "connect_timeout", "timed out"),
        (io(io::Error::new(io::ErrorKind::InvalidData, certificate)), "tls", "UnknownIssuer"),
    ] {
        let failure = connect_failure("amqps://mq.example.com/shop", &error);
        assert_eq!(failure.code.as_deref(), Some(code), "{error:?}");
        let begin = "no connection to amqps://mq.example.com/shop: ";
        assert!(failure.message.starts_with(begin), "{}", failure.message);
        assert!(failure.message.contains(text), "{}", failure.message);
    }
}
