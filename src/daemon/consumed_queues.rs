//! The queues that the daemon consumes, and the parts of ferryd that take their deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::types::ShortString;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::setup_error::SetupError;
use crate::pipeline::Pipeline;
use crate::pipeline::lane::ProviderLanes;
use crate::pipeline::lookup_limit::LookupLimit;
use crate::pipeline::unroutable::{UnroutableHandler, UnroutableSource};
use crate::pipeline::webhook_handler::WebhookHandler;
use ferryd_broker::delivery_acks::HeldDelivery;
use ferryd_broker::delivery_handler::DeliveryHandler;
use ferryd_broker::delivery_window::{DeliveryPermit, DeliveryWindow};
use ferryd_broker::message::short_string;
use ferryd_provider::registry::ProviderRegistry;

/// The most webhooks of a provider that are worked on at the same time.
const WEBHOOK_PREFETCH: u16 = 128;
/// The most bytes of webhooks that the broker pushes: enough for [`WEBHOOK_PREFETCH`] bodies of
/// the default `webhooks.max_body_size`.
const WEBHOOK_BYTES: usize = 128 << 20;
/// A queue that the daemon consumes.
#[derive(Clone)]
pub(super) struct ConsumedQueue {
    pub(super) queue: ShortString,
    pub(super) window: DeliveryWindow,
    pub(super) dispatch: Arc<DeliveryDispatch>,
}

/// Finds the queues of all lanes, of webhooks, and of unroutable messages.
pub(super) fn find_consumed_queues(
    pipeline: &Arc<Pipeline>,
    registry: Arc<ProviderRegistry>,
    lanes: Vec<Arc<ProviderLanes>>,
    largest_call: usize,
    work: &TaskTracker,
) -> Result<Vec<ConsumedQueue>, SetupError> {
    let unroutable = Arc::new(UnroutableHandler { pipeline: Arc::clone(pipeline), registry });
    let names = &pipeline.names;
    let number = DeliveryWindow::of_number;
    let mut routes: Vec<(String, DeliveryWindow, DeliveryRoute)> = vec![
        (
            names.unroutable(),
            number(1),
            DeliveryRoute::Unroutable(Arc::clone(&unroutable), UnroutableSource::Unroutable),
        ),
        (
            names.poison().to_owned(),
            number(1),
            DeliveryRoute::Unroutable(unroutable, UnroutableSource::Poison),
        ),
    ];
    for lanes in lanes {
        if lanes.provider.is_called_back() {
            let (pipeline, provider) = (Arc::clone(pipeline), Arc::clone(&lanes.provider));
            let unverified_lookups = LookupLimit::default();
            let webhooks = WebhookHandler {
                pipeline,
                provider,
                lanes: Arc::clone(&lanes),
                unverified_lookups,
            };
            let queue = names.webhooks_of(&lanes.provider.name);
            let window = DeliveryWindow::of_bytes(
                WEBHOOK_PREFETCH,
                largest_call,
                WEBHOOK_BYTES,
                WEBHOOK_BYTES / 4,
            );
            routes.push((queue, window, DeliveryRoute::Webhooks(Arc::new(webhooks))));
        }
        let queue = names.commands_of(&lanes.provider.name);
        routes.push((queue, lanes.window(), DeliveryRoute::Lanes(Arc::clone(pipeline), lanes)));
    }
    let missing = Arc::new(AtomicUsize::new(routes.len()));
    let consumed = |(queue, window, route): (String, DeliveryWindow, DeliveryRoute)| {
        let once = AtomicUsize::new(1);
        let dispatch = Arc::new(DeliveryDispatch {
            route,
            work: work.clone(),
            missing: Arc::clone(&missing),
            once,
        });
        Ok(ConsumedQueue { queue: short_string(&queue)?, window, dispatch })
    };
    routes.into_iter().map(consumed).collect()
}

/// The part of ferryd that takes the deliveries of a queue.
enum DeliveryRoute {
    Lanes(Arc<Pipeline>, Arc<ProviderLanes>),
    Unroutable(Arc<UnroutableHandler>, UnroutableSource),
    Webhooks(Arc<WebhookHandler>),
}

/// Routes the deliveries of a queue to the part of ferryd that takes them.
pub(super) struct DeliveryDispatch {
    route: DeliveryRoute,
    work: TaskTracker,
    /// The number of consumers that were never attached yet.
    missing: Arc<AtomicUsize>,
    once: AtomicUsize,
}

impl DeliveryDispatch {
    /// Runs the task for a delivery. The delivery's place is free again when the task is done.
    fn dispatch_delivery(
        &self,
        place: DeliveryPermit,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.work.spawn(async move {
            task.await;
            drop(place);
        });
    }
}

impl DeliveryHandler for DeliveryDispatch {
    fn take_delivery(&self, delivery: HeldDelivery, place: DeliveryPermit) {
        match &self.route {
            DeliveryRoute::Lanes(pipeline, lanes) => {
                let (pipeline, lanes) = (Arc::clone(pipeline), Arc::clone(lanes));
                let delivery = Box::new(delivery);
                // Boxed once: a task that is spawned is moved several times.
                let handling =
                    Box::pin(async move { pipeline.handle_delivery(&lanes, delivery).await });
                self.dispatch_delivery(place, handling);
            }
            DeliveryRoute::Unroutable(unroutable, source) => {
                let (unroutable, source) = (Arc::clone(unroutable), *source);
                self.dispatch_delivery(place, async move {
                    Box::pin(unroutable.take(source, delivery)).await;
                });
            }
            DeliveryRoute::Webhooks(webhooks) => {
                let webhooks = Arc::clone(webhooks);
                self.dispatch_delivery(place, async move { webhooks.take(delivery).await });
            }
        }
    }

    fn queue_attached(&self) {
        if self.once.swap(0, Ordering::SeqCst) == 1
            && self.missing.fetch_sub(1, Ordering::SeqCst) == 1
        {
            info!("ready");
        }
    }
}
