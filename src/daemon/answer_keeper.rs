//! Keeps the answers that a provider writes to a queue of its own broker.
//!
//! ```text
//! message → body small enough? → publish to the queue of webhooks and confirm → ack
//! ```
//!
//! A message is acked only once ferryd's own broker has it, so it can come twice and is never
//! lost. What it means is found out by the consumer of the queue of webhooks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::setup_error::SetupError;
use crate::failpoint::{Failpoint, pass_failpoint};
use crate::pipeline::Pipeline;
use crate::pipeline::lane::LaneSetupError;
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::{OutgoingMessage, TextTooLong};
use ferryd_broker::names::TopologyNames;
use ferryd_broker::webhook_message::{WebhookMessage, WebhookOrigin, to_message};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::webhook::RawWebhook;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_transport::amqp_consume::{
    AmqpLinkSettings, MESSAGE_ID, QueueConsumer, QueueSource, QueuedAnswer,
};

/// The shortest and the longest pause before ferryd connects again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The age from which on a consumer counts as stable: after it the pauses begin anew.
const SETTLED: Duration = Duration::from_secs(10);

/// The method of a message in the queue of webhooks, where a call has that of HTTP.
const METHOD: &str = "MESSAGE";

/// The queue with the answers to an account's commands.
pub(super) struct AnswerQueue {
    provider: Name,
    account: Name,
    source: QueueSource,
}

/// Finds the queues of all accounts.
pub(super) fn find_answer_queues(
    registry: &ProviderRegistry,
) -> Result<Vec<AnswerQueue>, SetupError> {
    let mut queues = Vec::new();
    for provider in registry.iter() {
        for account in provider.accounts.values() {
            let settings = AmqpLinkSettings::of(provider, account);
            let Some((inbound, settings)) = account.inbound.as_ref().zip(settings) else {
                continue;
            };
            let source = QueueSource::new(&settings, &inbound.queue).map_err(|source| {
                let provider = provider.name.to_string();
                SetupError::Http { provider, source: LaneSetupError::Broker(source.into()) }
            })?;
            let (provider, account) = (provider.name.clone(), account.name.clone());
            queues.push(AnswerQueue { provider, account, source });
        }
    }
    Ok(queues)
}

/// Keeps the answers of one queue.
pub(super) struct AnswerKeeper {
    queue: AnswerQueue,
    /// The connection to ferryd's own broker.
    broker: BrokerHandle,
    names: TopologyNames,
    /// The largest body that is kept, in bytes.
    max_body_size: usize,
}

impl AnswerKeeper {
    /// Makes a keeper that publishes as the pipeline does.
    pub(super) fn new(pipeline: &Arc<Pipeline>, queue: AnswerQueue, max_body_size: usize) -> Self {
        let (broker, names) = (pipeline.broker.clone(), pipeline.names.clone());
        Self { queue, broker, names, max_body_size }
    }

    /// Consumes until `stop` is cancelled, through outages of any length.
    pub(super) async fn run(self, stop: CancellationToken) {
        let AnswerQueue { provider, account, source } = &self.queue;
        let (mut pause, mut is_away) = (PAUSES.0, false);
        while !stop.is_cancelled() {
            let opened = tokio::select! {
                opened = source.open() => opened,
                () = stop.cancelled() => return,
            };
            let failure = match opened {
                Ok(consumer) => {
                    let queue = source.url().as_str();
                    info!(%provider, %account, queue, "consuming the provider's answers");
                    is_away = false;
                    let began = Instant::now();
                    let Some(failure) = self.consume(consumer, &stop).await else { return };
                    if began.elapsed() >= SETTLED {
                        pause = PAUSES.0;
                    }
                    failure
                }
                Err(failure) => failure,
            };
            log_outage(&self.queue, &failure, std::mem::replace(&mut is_away, true));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Keeps the messages of a consumer until it ends; `None` where ferryd is to stop. The broker
    /// bounds the messages under way.
    async fn consume(
        &self,
        mut consumer: QueueConsumer,
        stop: &CancellationToken,
    ) -> Option<Failure> {
        let unwanted = CancellationToken::new();
        let mut keeping = FuturesUnordered::new();
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break None,
                message = consumer.next() => match message {
                    Ok(message) => keeping.push(self.keep(message, &unwanted)),
                    Err(failure) => break Some(failure),
                },
                Some(()) = keeping.next(), if !keeping.is_empty() => {}
            }
        };
        // What was not handed to ferryd's broker yet comes again. The rest is confirmed and acked.
        unwanted.cancel();
        while keeping.next().await.is_some() {}
        consumer.close().await;
        ended
    }

    /// Keeps one message, and takes it out of the provider's queue.
    async fn keep(&self, message: QueuedAnswer, unwanted: &CancellationToken) {
        let AnswerQueue { provider, account, source } = &self.queue;
        let id = message.header(MESSAGE_ID).unwrap_or_default().to_owned();
        let (size, queue) = (message.body.len(), source.url().as_str());
        if size > self.max_body_size {
            let limit = self.max_body_size;
            error!(
                %provider, %account, queue, message.id = id, size, limit,
                "an answer is larger than ferryd keeps; it is rejected and not read"
            );
            message.refuse().await;
            return;
        }
        let published = match self.webhook_of(&message) {
            Ok(kept) => self.broker.publish_unless(&kept, unwanted).await.map_err(KeepError::from),
            Err(error) => Err(error.into()),
        };
        match published {
            Ok(()) => {
                pass_failpoint(Failpoint::Kept);
                message.ack().await;
            }
            Err(KeepError::Broker(BrokerError::Stopping)) => {
                debug!(%provider, %account, message.id = id, "an answer is not kept yet; it comes again");
            }
            Err(error) => {
                error!(%provider, %account, queue, message.id = id, %error, "failed to keep an answer; it stays in its queue");
            }
        }
    }

    /// Builds the message by which an answer is kept.
    fn webhook_of(&self, message: &QueuedAnswer) -> Result<OutgoingMessage, TextTooLong> {
        let AnswerQueue { provider, account, source } = &self.queue;
        let webhook = WebhookMessage {
            id: Uuid::now_v7(),
            provider: provider.clone(),
            account: account.clone(),
            received_at: Timestamp::now(),
            origin: WebhookOrigin::Queue,
            is_verified: true,
            call: RawWebhook {
                method: METHOD.to_owned(),
                url: source.url().clone(),
                headers: message.headers.clone(),
                body: message.body.clone(),
                certificate: None,
            },
        };
        to_message(&webhook, &self.names)
    }
}

/// The reason why an answer was not kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Name(#[from] TextTooLong),
}

/// Warns of an outage once.
fn log_outage(queue: &AnswerQueue, failure: &Failure, is_known: bool) {
    let AnswerQueue { provider, account, source } = queue;
    let (queue, message) = (source.url().as_str(), failure.message.as_str());
    let code = failure.code.as_deref().unwrap_or_default();
    if is_known {
        debug!(%provider, %account, queue, code, reason = message, "the provider's answers can still not be consumed");
    } else {
        warn!(%provider, %account, queue, code, reason = message, "the provider's answers cannot be consumed; trying again");
    }
}
