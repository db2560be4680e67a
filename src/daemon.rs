//! The daemon: builds running lanes from a configuration, and stops them in order.
//!
//! To stop, the daemon ends its consumers, gives back every delivery that was not started, lets
//! those in flight finish within the grace period, flushes every confirm and closes the
//! connections.

mod answer_keeper;
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

use self::answer_keeper::{AnswerKeeper, find_answer_queues};
use self::consumed_queues::{ConsumedQueue, find_consumed_queues};
pub use self::setup_error::SetupError;
use crate::config::WebhooksConfig;
use crate::failpoint::{ShortenedWait, shorten_wait};
use crate::jobs::{JobContext, run_jobs};
use crate::operator::OperatorContext;
use crate::pipeline::Pipeline;
use crate::pipeline::event_recovery::recover_events;
use crate::pipeline::in_flight::InFlight;
use crate::pipeline::lane::ProviderLanes;
use crate::pipeline::ledger_gate::LedgerGate;
use crate::pipeline::messages::MessageFactory;
use crate::pipeline::publisher_rules::PublisherRules;
use crate::web::ApiState;
use crate::web::access::TokenRegistry;
use crate::web::ledger_service::LedgerCommandService;
use crate::web::serving::serve_api;
use crate::web::webhooks::EndpointState;
use crate::web::webhooks::sink::QueueSink;
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::consumer::{StoppedConsumer, consume};
use ferryd_broker::message::short_or_empty;
use ferryd_broker::stream::{BrokerStream, StreamPosition};
use ferryd_broker::topology::{SubscriberQueue, Topology, TopologyNames};
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_ledger::call_log::{CallLog, note_offsets};
use ferryd_ledger::index::LedgerIndex;
use ferryd_ledger::{Ledger, LedgerRetention, LedgerSettings};
use ferryd_provider::Provider;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_serve::network::IpNetwork;
use ferryd_serve::server::{BoundListener, ConnectionLimits};
use ferryd_transport::certificates::CertificateCache;

/// The largest body in bytes of a webhook that another instance may have accepted, and of an answer
/// by a message, for an instance without an endpoint.
const LARGEST_CALL: usize = 8 << 20;

/// Everything the daemon runs on, checked.
pub struct DaemonSetup {
    /// The URI of the broker.
    pub amqp: AmqpSettings,
    /// The topology's prefix.
    pub names: TopologyNames,
    /// The providers.
    pub registry: ProviderRegistry,
    /// The states that are published as events.
    pub states: Vec<LifecycleState>,
    /// Queues to declare for subscribers.
    pub subscribers: Vec<SubscriberQueue>,
    /// The longest time that deliveries in flight may take to finish once the daemon is to stop.
    pub grace: Duration,
    /// The most bytes of a body in the log of calls.
    pub max_logged_body_size: usize,
    /// The settings of the ledger.
    pub ledger: LedgerSetup,
    /// The HTTP API; `None` for none.
    pub api: Option<ApiSetup>,
    /// The endpoint for webhooks; `None` for none.
    pub webhooks: Option<WebhooksSetup>,
}

/// The endpoint for webhooks, which already listens.
pub struct WebhooksSetup {
    /// The listening socket.
    pub listener: BoundListener,
    /// The acceptor with the endpoint's certificate; `None` for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// All other settings of the endpoint.
    pub settings: WebhooksConfig,
}

/// The HTTP API, which already listens.
pub struct ApiSetup {
    /// The listening socket.
    pub listener: BoundListener,
    /// The tokens with which clients may use the API.
    pub tokens: TokenRegistry,
    /// The proxies in front of the API.
    pub proxies: Vec<IpNetwork>,
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
pub enum DaemonEnd {
    /// Everything in flight was finished or given back.
    Drained,
    /// The grace period ran out first. The broker delivers again what was left.
    Overrun,
}

impl DaemonSetup {
    /// The topology of this set-up.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let providers = self.registry.iter().map(|provider| &provider.name);
        let calling_back = self.registry.iter().filter(|provider| provider.is_called_back());
        Topology::new(&self.names, providers, self.registry.routes(), &self.subscribers)
            .with_webhooks(&self.names, calling_back.map(|provider| &provider.name))
            .with_retry_groups(
                &self.names,
                self.registry.iter().filter_map(|provider| provider.retry_group.as_ref()),
            )
    }
}

/// Runs until `stop` is cancelled, then drains.
///
/// # Errors
/// [`SetupError`] before anything is connected.
pub async fn run(setup: DaemonSetup, stop: CancellationToken) -> Result<DaemonEnd, SetupError> {
    let topology = setup.topology();
    let DaemonSetup {
        amqp,
        names,
        registry,
        states,
        grace,
        max_logged_body_size,
        ledger,
        api,
        webhooks,
        ..
    } = setup;
    let registry = Arc::new(registry);
    let grouped = registry
        .iter()
        .filter_map(|provider| provider.retry_group.clone().map(|g| (provider.name.clone(), g)));
    let retry_groups = grouped.collect();
    let lanes = lanes(&registry)?;
    let key = names.ledger_key(&amqp.first_address());
    let answers = find_answer_queues(&registry)?;
    let index = LedgerIndex::open(&ledger.dir, &key)?;
    let hang_up = CancellationToken::new();
    let (broker, link) = BrokerHandle::start(amqp.clone(), topology, hang_up.clone());
    let flush = CancellationToken::new();
    let (call_log, flushing) = CallLog::start(broker.clone(), &names.calls(), flush.clone())?;
    let (ledger_gate, keeping) =
        start_ledger(&broker, &names, ledger, (index, &call_log), &hang_up);
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let pipeline = Arc::new(Pipeline {
        messages: MessageFactory::new(names.clone(), states, host).with_retry_groups(retry_groups),
        publisher_rules: PublisherRules::new(&registry, amqp.user.clone()),
        names,
        broker,
        ledger_gate,
        call_log,
        in_flight: InFlight::default(),
        max_logged_body_size,
        stop: stop.clone(),
        detached: CancellationToken::new(),
    });
    let work = TaskTracker::new();
    let context = JobContext {
        pipeline: Arc::clone(&pipeline),
        registry: Arc::clone(&registry),
        ledger: pipeline.ledger_gate.ledger.clone(),
        operator: OperatorContext { amqp: amqp.clone(), names: pipeline.names.clone() },
    };
    work.spawn(run_jobs(Arc::new(context), stop.clone()));
    let api = api.map(|api| {
        tokio::spawn(serve_http(api, amqp, Arc::clone(&pipeline), Arc::clone(&registry)))
    });
    let largest_call =
        webhooks.as_ref().map_or(LARGEST_CALL, |webhooks| webhooks.settings.max_body_size);
    for queue in answers {
        let keeper = AnswerKeeper::new(&pipeline, queue, largest_call);
        work.spawn(keeper.run(stop.clone()));
    }
    let webhooks = webhooks.map(|webhooks| {
        tokio::spawn(take_in(webhooks, Arc::clone(&pipeline), Arc::clone(&registry)))
    });
    let consumed = find_consumed_queues(&pipeline, registry, lanes, largest_call, &work)?;
    work.spawn(recover_events(Arc::clone(&pipeline), stop.clone()));
    let mut serving =
        tokio::spawn(serve(Arc::clone(&pipeline), consumed, work.clone(), stop.clone()));
    stop.cancelled().await;
    info!(
        in_flight = pipeline.in_flight.count_running(),
        grace_period_s = grace.as_secs(),
        "stopping: no new work is taken"
    );
    let drained = tokio::time::timeout(grace, async {
        // Channels are kept until their deliveries are acked: closing one gives its unacked
        // deliveries back.
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
    let ending = if drained.is_ok() { DaemonEnd::Drained } else { DaemonEnd::Overrun };
    if ending == DaemonEnd::Overrun {
        let left = pipeline.in_flight.count_running();
        warn!(in_flight = left, "the grace period ended; the broker redelivers what was in flight");
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
async fn serve_http(
    api: ApiSetup,
    amqp: AmqpSettings,
    pipeline: Arc<Pipeline>,
    registry: Arc<ProviderRegistry>,
) {
    let ApiSetup { listener, tokens, proxies } = api;
    let stop = pipeline.stop.clone();
    let state = ApiState::new(
        Arc::new(LedgerCommandService::new(pipeline, amqp, Arc::clone(&registry))),
        registry,
        tokens,
        stop,
    );
    serve_api(listener, state, ConnectionLimits::default(), proxies).await;
}

/// Accepts webhooks until ferryd stops.
async fn take_in(
    webhooks: WebhooksSetup,
    pipeline: Arc<Pipeline>,
    registry: Arc<ProviderRegistry>,
) {
    let WebhooksSetup { listener, tls, settings } = webhooks;
    let certificates = CertificateCache::new();
    let queues = QueueSink::new(pipeline.broker.clone(), pipeline.names.clone());
    let endpoint = EndpointState::new(
        registry,
        Arc::new(queues),
        Arc::new(certificates),
        settings,
        pipeline.stop.clone(),
    );
    Arc::new(endpoint).serve(listener, tls).await;
}

/// Opens the ledger, and begins to read the stream.
fn start_ledger(
    broker: &BrokerHandle,
    names: &TopologyNames,
    LedgerSetup { retention, slack, .. }: LedgerSetup,
    (index, call_log): (LedgerIndex, &CallLog),
    stop: &CancellationToken,
) -> (LedgerGate, Vec<JoinHandle<()>>) {
    let defaults = LedgerSettings::default();
    let forget_every = shorten_wait(ShortenedWait::Forget, defaults.forget_every);
    let settings = LedgerSettings { retention, forget_every, ..defaults };
    let (ledger, mut tasks) = Ledger::start(broker.clone(), names, index, settings, stop.clone());
    let calls = short_or_empty(&names.calls());
    let calls = BrokerStream::new(broker.clone(), calls, StreamPosition::First);
    let (index, call_log) = (Arc::clone(ledger.index()), call_log.clone());
    tasks.push(tokio::spawn(note_offsets(calls, index, call_log, stop.clone())));
    (LedgerGate { ledger, slack }, tasks)
}

/// Consumes while decisions can be made. Returns the channels of the deliveries that are still
/// being worked on.
async fn serve(
    pipeline: Arc<Pipeline>,
    consumed: Vec<ConsumedQueue>,
    work: TaskTracker,
    stop: CancellationToken,
) -> Vec<StoppedConsumer> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Vec::new(),
            () = pipeline.ledger_gate.wait_until_ready() => {}
        }
        let pause = stop.child_token();
        let mut consumers = JoinSet::new();
        for ConsumedQueue { queue, window, dispatch } in consumed.iter().cloned() {
            consumers.spawn(consume(
                pipeline.broker.clone(),
                queue,
                window,
                dispatch,
                pause.clone(),
            ));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = pipeline.ledger_gate.wait_until_lost() => pause.cancel(),
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
        warn!("ledger is lagging; consumption paused");
        for consumer in stopped {
            work.spawn(consumer.close());
        }
    }
}

fn lanes(registry: &ProviderRegistry) -> Result<Vec<Arc<ProviderLanes>>, SetupError> {
    let lanes = |provider: &Arc<Provider>| {
        let name = provider.name.to_string();
        let lanes = ProviderLanes::new(provider);
        lanes.map(Arc::new).map_err(|source| SetupError::Http { provider: name, source })
    };
    registry.iter().map(lanes).collect()
}
