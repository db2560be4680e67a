//! Makes single queues refuse messages, in one virtual host, on a node that is healthy otherwise.

use std::time::Duration;

use super::broker::TestBroker;
use super::vhost::TestVhost;
use super::wait::eventually;

/// The way in which a queue fails to take messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueTrouble {
    /// The queue is full, and its policy has the broker answer with a nack.
    Refuses,
    /// The process of the queue does not answer, as in a queue that has lost its quorum: no
    /// confirm, and no nack.
    Silent,
}

impl QueueTrouble {
    /// Makes a quorum queue fail. A queue that refuses is full of some messages `{}`.
    pub(crate) async fn begin(self, vhost: &TestVhost, broker: &TestBroker, queue: &str) {
        match self {
            Self::Silent => {
                vhost.eval_queue(queue, "ok = sys:suspend(Pid)").await;
            }
            Self::Refuses => {
                let pattern = format!("^{}$", queue.replace('.', "[.]"));
                vhost
                    .eval(&format!(
                        r#"ok = rabbit_policy:set(VHost, <<"{queue}">>, <<"{pattern}">>,
                           [{{<<"max-length">>, 1}}, {{<<"overflow">>, <<"reject-publish">>}}], 1, <<"queues">>, <<"ferry">>)"#
                    ))
                    .await;
                let full = async || broker.is_refused(queue).await.then_some(());
                eventually(Duration::from_secs(20), "the queue refuses messages", full).await;
            }
        }
    }

    /// Lets the queue take messages again.
    pub(crate) async fn end(self, vhost: &TestVhost, queue: &str) {
        match self {
            Self::Silent => {
                vhost.eval_queue(queue, "ok = sys:resume(Pid)").await;
            }
            Self::Refuses => {
                vhost
                    .eval(&format!(
                        r#"ok = rabbit_policy:delete(VHost, <<"{queue}">>, <<"ferry">>)"#
                    ))
                    .await;
            }
        }
    }
}
