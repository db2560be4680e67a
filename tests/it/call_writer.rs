//! The writer of calls without its daemon, for tests of the stream of calls.

use std::sync::Arc;
use std::time::Duration;

use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::stream::{BrokerStream, StreamPosition};
use ferryd_broker::topology::{Topology, TopologyNames};
use ferryd_ledger::call_log::{CallLog, CallWindow, FoundCalls, find, note_offsets};
use ferryd_ledger::index::LedgerIndex;
use ferryd_transport::call_log::HttpCall;
use ferryd_transport::encoded_call::EncodedCall;
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const ACME: &str = "name = 'acme'\ntype = 'notification'\nprotocol = 'rest'\nbase_url = 'https://api.example.com'\n\
                    [operations.send]\nrequest = { method = 'POST', path = '/send' }\n";

pub(crate) const STREAM: &str = "ferry.calls";

pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A daemon's link to the broker with only the writer of calls.
pub(crate) struct CallWriter {
    pub(crate) broker: BrokerHandle,
    pub(crate) calls: CallLog,
    publishing: JoinHandle<()>,
    link: JoinHandle<()>,
    stop: CancellationToken,
    hang_up: CancellationToken,
}

impl CallWriter {
    pub(crate) fn start(uri: &str) -> Self {
        let (stop, hang_up) = (CancellationToken::new(), CancellationToken::new());
        let topology = Topology::new(&TopologyNames::new("ferry".parse().unwrap()), [], [], &[]);
        let stream = topology.queues.into_iter().filter(|queue| queue.name == STREAM).collect();
        let topology = Topology { queues: stream, ..Topology::default() };
        let (broker, link) = BrokerHandle::start(settings(uri), topology, hang_up.clone());
        let (calls, publishing) = CallLog::start(broker.clone(), STREAM, stop.clone()).unwrap();
        Self { broker, calls, publishing, link, stop, hang_up }
    }

    /// Writes a call as the daemon does.
    pub(crate) async fn write(&self, call: &HttpCall<'static>) {
        self.calls.write(EncodedCall::new(call).line(), &call.command, call.at).await;
    }

    /// Starts recording the offsets of calls in `index`, as a daemon does.
    pub(crate) fn note_offsets(&self, index: &Arc<LedgerIndex>) {
        let stream = BrokerStream::new(self.broker.clone(), STREAM.into(), StreamPosition::First);
        let (index, call_log) = (Arc::clone(index), self.calls.clone());
        tokio::spawn(note_offsets(stream, index, call_log, self.hang_up.clone()));
    }

    /// Ends in order.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.publishing.await.unwrap();
        self.hang_up.cancel();
        self.link.await.unwrap();
    }
}

pub(crate) fn settings(uri: &str) -> AmqpSettings {
    AmqpSettings {
        nodes: uri.parse::<lapin::uri::AMQPUri>().unwrap().into(),
        user: None,
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(5),
        publish_timeout: Duration::from_secs(5),
        max_unconfirmed: 100,
    }
}

pub(crate) fn call(command: &str, attempt: u32, at: Timestamp, body: &str) -> HttpCall<'static> {
    let call = json!({
        "at": at, "command": command, "provider": "acme", "operation": "send", "generation": 0, "attempt": attempt,
        "host": "a", "request": {"method": "POST", "url": "https://a.example/", "headers": {"a": "b"}, "body": body},
        "sent": "yes", "response": {"status": 201, "headers": {}, "body": "{\"ok\":true}"}, "duration_ms": 7
    });
    serde_json::from_value(call).unwrap()
}

/// Returns the window from a second before `from` to now.
pub(crate) fn since(from: Timestamp) -> CallWindow {
    CallWindow { from: from - Duration::from_secs(1), to: Timestamp::now() }
}

pub(crate) async fn search(
    uri: &str,
    command: &str,
    window: CallWindow,
) -> FoundCalls<HttpCall<'static>> {
    find::<HttpCall<'static>>(&settings(uri), STREAM, &command.parse().unwrap(), &[window], None)
        .await
        .unwrap()
}

pub(crate) fn attempts(found: &FoundCalls<HttpCall<'static>>) -> Vec<u32> {
    found.calls.iter().map(|call| call.attempt).collect()
}
