//! The daemon: from a configuration to running lanes, and back down in order.
//!
//! Down means: stop consuming, give back what was not started, let what is in flight finish within the grace, flush every
//! confirm, close the connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::Channel;
use lapin::message::Delivery;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::amqp::broker::Broker;
use crate::amqp::connection::AmqpSettings;
use crate::amqp::consumer::{Handler, consume};
use crate::amqp::message::{TooLong, short};
use crate::amqp::topology::{Names, Subscriber, Topology};
use crate::domain::lifecycle::State;
use crate::pipeline::{Pipeline, control};
use crate::pipeline::in_flight::InFlight;
use crate::pipeline::lane::Lane;
use crate::pipeline::memory::Memory;
use crate::pipeline::outbox::Outbox;
use crate::pipeline::stray::{Stray, Strays};
use crate::provider::registry::Registry;
use crate::transport::http::HttpSetupError;

/// How many words to ferryd are heeded at the same time.
const CONTROL_PREFETCH: u16 = 16;

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
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A provider's TLS settings can't be used.
    #[error("provider `{provider}`: {source}")]
    Http {
        /// The provider.
        provider: String,
        /// What is wrong.
        source: HttpSetupError,
    },
    /// A queue's name is too long.
    #[error("queue name {0}; choose a shorter `prefix` or provider name")]
    QueueName(#[from] TooLong),
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
        Topology::new(&self.names, providers, self.registry.routes(), &self.subscribers)
    }
}

/// Runs until `stop` is cancelled, then drains.
///
/// # Errors
/// [`SetupError`] before anything is connected.
pub async fn run(setup: Setup, stop: CancellationToken) -> Result<Ending, SetupError> {
    let topology = setup.topology();
    let Setup { amqp, names, registry, states, grace, log_body_cap, .. } = setup;
    let registry = Arc::new(registry);
    let lanes = lanes(&registry)?;
    let hang_up = CancellationToken::new();
    let (broker, link) = Broker::start(amqp, topology, hang_up.clone());
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let pipeline = Arc::new(Pipeline {
        outbox: Outbox::new(names.clone(), states, host),
        names,
        broker,
        memory: Memory::Messages,
        in_flight: InFlight::default(),
        log_body_cap,
        stop: stop.clone(),
        detached: CancellationToken::new(),
    });
    let work = TaskTracker::new();
    let mut consumers = start_consumers(&pipeline, registry, lanes, &work)?;
    stop.cancelled().await;
    info!(in_flight = pipeline.in_flight.running(), grace_s = grace.as_secs(), "stopping: no new work is taken");
    // Channels are kept until their deliveries are acked: closing one gives its unacked deliveries back.
    let mut channels: Vec<Channel> = Vec::new();
    let drained = tokio::time::timeout(grace, async {
        while let Some(channel) = consumers.join_next().await {
            channels.extend(channel.ok().flatten());
        }
        pipeline.detached.cancel();
        work.close();
        work.wait().await;
    });
    let ending = if drained.await.is_ok() { Ending::Drained } else { Ending::Overrun };
    if ending == Ending::Overrun {
        let left = pipeline.in_flight.running();
        warn!(in_flight = left, "the grace ran out; the broker will deliver what was left again");
    }
    hang_up.cancel();
    // The link says goodbye to the broker, which is also when the last acks are flushed.
    let _ = link.await;
    info!("stopped");
    Ok(ending)
}

fn lanes(registry: &Registry) -> Result<Vec<Arc<Lane>>, SetupError> {
    let lane = |provider: &Arc<crate::provider::Provider>| {
        let name = provider.name.to_string();
        Lane::new(Arc::clone(provider)).map(Arc::new).map_err(|source| SetupError::Http { provider: name, source })
    };
    registry.iter().map(lane).collect()
}

type Consumers = JoinSet<Option<Channel>>;

fn start_consumers(
    pipeline: &Arc<Pipeline>,
    registry: Arc<Registry>,
    lanes: Vec<Arc<Lane>>,
    work: &TaskTracker,
) -> Result<Consumers, SetupError> {
    let strays = Arc::new(Strays { pipeline: Arc::clone(pipeline), registry });
    let names = &pipeline.names;
    let mut routes: Vec<(String, u16, Route)> = vec![
        (names.unroutable(), 1, Route::Strays(Arc::clone(&strays), Stray::Unroutable)),
        (names.poison(), 1, Route::Strays(strays, Stray::Poison)),
        (names.control(), CONTROL_PREFETCH, Route::Control(Arc::clone(pipeline))),
    ];
    for lane in lanes {
        let queue = names.commands_of(&lane.provider.name);
        routes.push((queue, lane.provider.max_in_flight, Route::Lane(Arc::clone(pipeline), lane)));
    }
    let missing = Arc::new(AtomicUsize::new(routes.len()));
    let mut consumers = JoinSet::new();
    for (queue, prefetch, route) in routes {
        let once = AtomicUsize::new(1);
        let handler = Arc::new(Dispatch { route, work: work.clone(), missing: Arc::clone(&missing), once });
        consumers.spawn(consume(pipeline.broker.clone(), short(&queue)?, prefetch, handler, pipeline.stop.clone()));
    }
    Ok(consumers)
}

/// Where the deliveries of a queue go.
enum Route {
    Lane(Arc<Pipeline>, Arc<Lane>),
    Strays(Arc<Strays>, Stray),
    Control(Arc<Pipeline>),
}

struct Dispatch {
    route: Route,
    work: TaskTracker,
    /// Consumers that were never attached yet.
    missing: Arc<AtomicUsize>,
    once: AtomicUsize,
}

impl Handler for Dispatch {
    fn take(&self, delivery: Delivery) {
        match &self.route {
            Route::Lane(pipeline, lane) => {
                let (pipeline, lane) = (Arc::clone(pipeline), Arc::clone(lane));
                let delivery = Box::new(delivery);
                self.work.spawn(async move { pipeline.carry(&lane, delivery).await });
            }
            Route::Strays(strays, stray) => {
                let (strays, stray) = (Arc::clone(strays), *stray);
                self.work.spawn(async move { strays.take(stray, delivery).await });
            }
            Route::Control(pipeline) => {
                self.work.spawn(control::take(Arc::clone(pipeline), delivery));
            }
        }
    }

    fn attached(&self) {
        if self.once.swap(0, Ordering::SeqCst) == 1 && self.missing.fetch_sub(1, Ordering::SeqCst) == 1 {
            info!("ready");
        }
    }
}
