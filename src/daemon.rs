//! The daemon: from a configuration to running lanes, and back down in order.
//!
//! Down means: stop consuming, give back what was not started, let what is in flight finish within the grace, flush every
//! confirm, close the connections.

mod consumed_queues;
mod setup_error;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::consumed_queues::{Consumed, consumed};
pub use self::setup_error::SetupError;
use crate::amqp::broker::Broker;
use crate::amqp::connection::AmqpSettings;
use crate::amqp::consumer::{StoppedConsumer, consume};
use crate::amqp::message::short_or_empty;
use crate::amqp::stream::{Place, Stream};
use crate::amqp::topology::{Names, Subscriber, Topology};
use crate::config::Webhooks;
use crate::domain::lifecycle::State;
use crate::failpoint::{ShortenedWait, shorten_wait};
use crate::jobs::{JobContext, run_jobs};
use crate::ledger::exchanges::{Exchanges, note_offsets};
use crate::ledger::index::Index;
use crate::ledger::{Ledger, LedgerRetention, LedgerSettings};
use crate::operator::Operator;
use crate::pipeline::Pipeline;
use crate::pipeline::in_flight::InFlight;
use crate::pipeline::lane::Lanes;
use crate::pipeline::memory::Memory;
use crate::pipeline::outbox::Outbox;
use crate::pipeline::publisher_rules::PublisherRules;
use crate::pipeline::sweep::sweep;
use crate::provider::Provider;
use crate::provider::registry::Registry;
use crate::serve::network::Network;
use crate::serve::server::{Limits, Listener};
use crate::transport::certificates::CertificateCache;
use crate::web::Desk;
use crate::web::access::Tokens;
use crate::web::recorded::Recorded;
use crate::web::serving::serve_api;
use crate::web::webhooks::Endpoint;
use crate::web::webhooks::queue::Queues;

/// The largest webhook call that another instance may have taken in, where this one takes none in.
const LARGEST_CALL: usize = 8 << 20;

/// Everything the daemon runs on, checked.
pub struct Setup {
    /// The broker.
    pub amqp: AmqpSettings,
    /// The topology's prefix.
    pub names: Names,
    /// The providers.
    pub registry: Registry,
    /// The states that are told as events.
    pub states: Vec<State>,
    /// Queues to declare for subscribers.
    pub subscribers: Vec<Subscriber>,
    /// How long what is in flight may take to finish once ferryd is told to stop.
    pub grace: Duration,
    /// The most bytes of a body in the exchange log.
    pub log_body_cap: usize,
    /// How commands are remembered.
    pub ledger: LedgerSetup,
    /// The HTTP API; `None` for none.
    pub api: Option<ApiSetup>,
    /// The endpoint for webhook calls; `None` for none.
    pub webhooks: Option<WebhooksSetup>,
}

/// The endpoint for webhook calls, which already listens.
pub struct WebhooksSetup {
    /// Where.
    pub listener: Listener,
    /// Its certificate; `None` for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Everything else.
    pub settings: Webhooks,
}

/// The HTTP API, which already listens.
pub struct ApiSetup {
    /// Where.
    pub listener: Listener,
    /// Who may use it.
    pub tokens: Tokens,
    /// The proxies in front of it.
    pub proxies: Vec<Network>,
}

/// How commands are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSetup {
    /// The folder of the index.
    pub dir: PathBuf,
    /// The times for which ended commands are kept.
    pub retention: LedgerRetention,
    /// How much longer a claim holds than a call may take.
    pub slack: Duration,
}

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything in flight was finished or given back.
    Drained,
    /// The grace ran out first; what was left comes back from the broker.
    Overrun,
}

impl Setup {
    /// The topology of this set-up.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let providers = self.registry.iter().map(|provider| &provider.name);
        let calling_back = self.registry.iter().filter(|provider| provider.is_called_back());
        Topology::new(&self.names, providers, self.registry.routes(), &self.subscribers)
            .with_callbacks(&self.names, calling_back.map(|provider| &provider.name))
            .with_retry_groups(&self.names, self.registry.iter().filter_map(|provider| provider.retry_group.as_ref()))
    }
}

/// Runs until `stop` is cancelled, then drains.
///
/// # Errors
/// [`SetupError`] before anything is connected.
pub async fn run(setup: Setup, stop: CancellationToken) -> Result<Ending, SetupError> {
    let topology = setup.topology();
    let Setup { amqp, names, registry, states, grace, log_body_cap, ledger, api, webhooks, .. } = setup;
    let registry = Arc::new(registry);
    let grouped =
        registry.iter().filter_map(|provider| provider.retry_group.clone().map(|g| (provider.name.clone(), g)));
    let retry_groups = grouped.collect();
    let lanes = lanes(&registry)?;
    let key = names.ledger_key(&amqp.first_address());
    let index = Index::open(&ledger.dir, &key)?;
    let hang_up = CancellationToken::new();
    let (broker, link) = Broker::start(amqp.clone(), topology, hang_up.clone());
    let flush = CancellationToken::new();
    let (exchanges, flushing) = Exchanges::start(broker.clone(), &names.exchanges(), flush.clone())?;
    let (memory, keeping) = remember(&broker, &names, ledger, index, &hang_up);
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let pipeline = Arc::new(Pipeline {
        outbox: Outbox::new(names.clone(), states, host).with_retry_groups(retry_groups),
        publisher_rules: PublisherRules::new(&registry, amqp.user.clone()),
        names,
        broker,
        memory,
        exchanges,
        in_flight: InFlight::default(),
        log_body_cap,
        stop: stop.clone(),
        detached: CancellationToken::new(),
    });
    let work = TaskTracker::new();
    let context = JobContext {
        pipeline: Arc::clone(&pipeline),
        registry: Arc::clone(&registry),
        ledger: pipeline.memory.ledger.clone(),
        operator: Operator { amqp: amqp.clone(), names: pipeline.names.clone() },
    };
    work.spawn(run_jobs(Arc::new(context), stop.clone()));
    let api = api.map(|api| tokio::spawn(answer(api, amqp, Arc::clone(&pipeline), Arc::clone(&registry))));
    let largest_call = webhooks.as_ref().map_or(LARGEST_CALL, |webhooks| webhooks.settings.max_body);
    let webhooks =
        webhooks.map(|webhooks| tokio::spawn(take_in(webhooks, Arc::clone(&pipeline), Arc::clone(&registry))));
    let consumed = consumed(&pipeline, registry, lanes, largest_call, &work)?;
    work.spawn(sweep(Arc::clone(&pipeline), stop.clone()));
    let mut serving = tokio::spawn(serve(Arc::clone(&pipeline), consumed, work.clone(), stop.clone()));
    stop.cancelled().await;
    info!(in_flight = pipeline.in_flight.running(), grace_s = grace.as_secs(), "stopping: no new work is taken");
    let drained = tokio::time::timeout(grace, async {
        // Channels are kept until their deliveries are acked: closing one gives its unacked deliveries back.
        let channels: Vec<StoppedConsumer> = (&mut serving).await.unwrap_or_default();
        pipeline.detached.cancel();
        work.close();
        work.wait().await;
        for listening in [api, webhooks].into_iter().flatten() {
            let _ = listening.await;
        }
        channels
    });
    let drained = drained.await;
    let ending = if drained.is_ok() { Ending::Drained } else { Ending::Overrun };
    if ending == Ending::Overrun {
        let left = pipeline.in_flight.running();
        warn!(in_flight = left, "the grace ran out; the broker will deliver what was left again");
    }
    flush.cancel();
    let _ = flushing.await;
    hang_up.cancel();
    for task in keeping {
        let _ = task.await;
    }
    // The link says goodbye to the broker, which is also when the last acks are flushed.
    let _ = link.await;
    info!("stopped");
    Ok(ending)
}

/// Answers over HTTP until ferryd stops.
async fn answer(api: ApiSetup, amqp: AmqpSettings, pipeline: Arc<Pipeline>, registry: Arc<Registry>) {
    let ApiSetup { listener, tokens, proxies } = api;
    let stop = pipeline.stop.clone();
    let desk = Desk::new(Arc::new(Recorded::new(pipeline, amqp, Arc::clone(&registry))), registry, tokens, stop);
    serve_api(listener, desk, Limits::default(), proxies).await;
}

/// Takes webhook calls in until ferryd stops.
async fn take_in(webhooks: WebhooksSetup, pipeline: Arc<Pipeline>, registry: Arc<Registry>) {
    let WebhooksSetup { listener, tls, settings } = webhooks;
    let certificates = CertificateCache::new();
    let queues = Queues::new(pipeline.broker.clone(), pipeline.names.clone());
    let endpoint = Endpoint::new(registry, Arc::new(queues), Arc::new(certificates), settings, pipeline.stop.clone());
    Arc::new(endpoint).serve(listener, tls).await;
}

/// Begins to remember.
fn remember(
    broker: &Broker,
    names: &Names,
    LedgerSetup { retention, slack, .. }: LedgerSetup,
    index: Index,
    stop: &CancellationToken,
) -> (Memory, Vec<JoinHandle<()>>) {
    let defaults = LedgerSettings::default();
    let forget_every = shorten_wait(ShortenedWait::Forget, defaults.forget_every);
    let settings = LedgerSettings { retention, forget_every, ..defaults };
    let (ledger, mut tasks) = Ledger::start(broker.clone(), names, index, settings, stop.clone());
    let exchanges = short_or_empty(&names.exchanges());
    let exchanges = Stream::new(broker.clone(), exchanges, Place::First);
    tasks.push(tokio::spawn(note_offsets(exchanges, Arc::clone(ledger.index()), stop.clone())));
    (Memory { ledger, slack }, tasks)
}

/// Consumes while decisions can be made, and returns the channels of the deliveries that are still being worked on.
async fn serve(
    pipeline: Arc<Pipeline>,
    consumed: Vec<Consumed>,
    work: TaskTracker,
    stop: CancellationToken,
) -> Vec<StoppedConsumer> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Vec::new(),
            () = pipeline.memory.ready() => {}
        }
        let pause = stop.child_token();
        let mut consumers = JoinSet::new();
        for Consumed { queue, window, dispatch } in consumed.iter().cloned() {
            consumers.spawn(consume(pipeline.broker.clone(), queue, window, dispatch, pause.clone()));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = pipeline.memory.lost() => pause.cancel(),
        }
        let mut stopped = Vec::new();
        while let Some(consumer) = consumers.join_next().await {
            stopped.extend(consumer.ok().flatten());
        }
        if stop.is_cancelled() {
            return stopped;
        }
        // Said once it is true: until the broker has ended the consumers it goes on delivering.
        warn!("the ledger does not get on; no commands are taken until it does");
        for consumer in stopped {
            work.spawn(consumer.close());
        }
    }
}

fn lanes(registry: &Registry) -> Result<Vec<Arc<Lanes>>, SetupError> {
    let lanes = |provider: &Arc<Provider>| {
        let name = provider.name.to_string();
        let lanes = Lanes::new(provider);
        lanes.map(Arc::new).map_err(|source| SetupError::Http { provider: name, source })
    };
    registry.iter().map(lanes).collect()
}
