//! The daemon: builds running lanes from a configuration, and stops them in order.
//!
//! To stop, the daemon ends its consumers, gives back every delivery that was not started, lets
//! those in flight finish within the grace period, flushes every confirm and closes the
//! connections.

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
use crate::config::Webhooks;
use crate::failpoint::{ShortenedWait, shorten_wait};
use crate::jobs::{JobContext, run_jobs};
use crate::operator::Operator;
use crate::pipeline::Pipeline;
use crate::pipeline::in_flight::InFlight;
use crate::pipeline::lane::Lanes;
use crate::pipeline::memory::Memory;
use crate::pipeline::outbox::Outbox;
use crate::pipeline::publisher_rules::PublisherRules;
use crate::pipeline::sweep::sweep;
use crate::web::Desk;
use crate::web::access::Tokens;
use crate::web::recorded::Recorded;
use crate::web::serving::serve_api;
use crate::web::webhooks::Endpoint;
use crate::web::webhooks::queue::Queues;
use ferryd_broker::broker::Broker;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::consumer::{StoppedConsumer, consume};
use ferryd_broker::message::short_or_empty;
use ferryd_broker::stream::{Place, Stream};
use ferryd_broker::topology::{Names, Subscriber, Topology};
use ferryd_domain::lifecycle::State;
use ferryd_ledger::exchanges::{Exchanges, note_offsets};
use ferryd_ledger::index::Index;
use ferryd_ledger::{Ledger, LedgerRetention, LedgerSettings};
use ferryd_provider::Provider;
use ferryd_provider::registry::Registry;
use ferryd_serve::network::Network;
use ferryd_serve::server::{Limits, Listener};
use ferryd_transport::certificates::CertificateCache;

/// The largest body in bytes of a webhook call that another instance may have accepted, for an
/// instance that accepts none.
const LARGEST_CALL: usize = 8 << 20;

/// Everything the daemon runs on, checked.
pub struct Setup {
    /// The URI of the broker.
    pub amqp: AmqpSettings,
    /// The topology's prefix.
    pub names: Names,
    /// The providers.
    pub registry: Registry,
    /// The states that are published as events.
    pub states: Vec<State>,
    /// Queues to declare for subscribers.
    pub subscribers: Vec<Subscriber>,
    /// The longest time that deliveries in flight may take to finish once the daemon is to stop.
    pub grace: Duration,
    /// The most bytes of a body in the log of calls.
    pub log_body_cap: usize,
    /// The settings of the ledger.
    pub ledger: LedgerSetup,
    /// The HTTP API; `None` for none.
    pub api: Option<ApiSetup>,
    /// The endpoint for webhook calls; `None` for none.
    pub webhooks: Option<WebhooksSetup>,
}

/// The endpoint for webhook calls, which already listens.
pub struct WebhooksSetup {
    /// The listening socket.
    pub listener: Listener,
    /// The acceptor with the endpoint's certificate; `None` for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// All other settings of the endpoint.
    pub settings: Webhooks,
}

/// The HTTP API, which already listens.
pub struct ApiSetup {
    /// The listening socket.
    pub listener: Listener,
    /// The tokens with which clients may use the API.
    pub tokens: Tokens,
    /// The proxies in front of the API.
    pub proxies: Vec<Network>,
}

/// The settings of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSetup {
    /// The folder of the index.
    pub dir: PathBuf,
    /// The times for which ended commands are kept.
    pub retention: LedgerRetention,
    /// The time that a claim holds beyond the longest duration of its call.
    pub slack: Duration,
}

/// The way in which the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything in flight was finished or given back.
    Drained,
    /// The grace period ran out first. The broker delivers again what was left.
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
    // The link closes the connection to the broker, which also flushes the last acks.
    let _ = link.await;
    info!("stopped");
    Ok(ending)
}

/// Serves the HTTP API until ferryd stops.
async fn answer(api: ApiSetup, amqp: AmqpSettings, pipeline: Arc<Pipeline>, registry: Arc<Registry>) {
    let ApiSetup { listener, tokens, proxies } = api;
    let stop = pipeline.stop.clone();
    let desk = Desk::new(Arc::new(Recorded::new(pipeline, amqp, Arc::clone(&registry))), registry, tokens, stop);
    serve_api(listener, desk, Limits::default(), proxies).await;
}

/// Accepts webhook calls until ferryd stops.
async fn take_in(webhooks: WebhooksSetup, pipeline: Arc<Pipeline>, registry: Arc<Registry>) {
    let WebhooksSetup { listener, tls, settings } = webhooks;
    let certificates = CertificateCache::new();
    let queues = Queues::new(pipeline.broker.clone(), pipeline.names.clone());
    let endpoint = Endpoint::new(registry, Arc::new(queues), Arc::new(certificates), settings, pipeline.stop.clone());
    Arc::new(endpoint).serve(listener, tls).await;
}

/// Opens the ledger, and begins to read the stream.
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

/// Consumes while decisions can be made. Returns the channels of the deliveries that are still
/// being worked on.
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
        // Logged only once the consumers are to end: the broker goes on delivering until it has
        // ended them.
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
