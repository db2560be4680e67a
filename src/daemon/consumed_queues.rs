//! The queues that the daemon consumes, and the parts of ferryd that take their deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::message::Delivery;
use lapin::types::ShortString;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::setup_error::SetupError;
use crate::pipeline::Pipeline;
use crate::pipeline::callbacks::Callbacks;
use crate::pipeline::lane::Lanes;
use crate::pipeline::lookup_limit::LookupLimit;
use crate::pipeline::stray::{Stray, Strays};
use ferryd_broker::consumer::Handler;
use ferryd_broker::message::short;
use ferryd_broker::window::{DeliveryPlace, DeliveryWindow};
use ferryd_provider::registry::Registry;

/// The most webhook calls of a provider that are worked on at the same time.
const CALLBACK_PREFETCH: u16 = 128;
/// The most bytes of webhook calls that the broker pushes: enough for [`CALLBACK_PREFETCH`] bodies of
/// the default `webhooks.max_body`.
const CALLBACK_BYTES: usize = 128 << 20;
/// A queue that the daemon consumes.
#[derive(Clone)]
pub(super) struct Consumed {
    pub(super) queue: ShortString,
    pub(super) window: DeliveryWindow,
    pub(super) dispatch: Arc<Dispatch>,
}

/// Finds the queues of all lanes, of webhook calls, and of what nobody took.
pub(super) fn consumed(
    pipeline: &Arc<Pipeline>,
    registry: Arc<Registry>,
    lanes: Vec<Arc<Lanes>>,
    largest_call: usize,
    work: &TaskTracker,
) -> Result<Vec<Consumed>, SetupError> {
    let strays = Arc::new(Strays { pipeline: Arc::clone(pipeline), registry });
    let names = &pipeline.names;
    let number = DeliveryWindow::of_number;
    let mut routes: Vec<(String, DeliveryWindow, Route)> = vec![
        (names.unroutable(), number(1), Route::Strays(Arc::clone(&strays), Stray::Unroutable)),
        (names.poison(), number(1), Route::Strays(strays, Stray::Poison)),
    ];
    for lanes in lanes {
        if lanes.provider.is_called_back() {
            let (pipeline, provider) = (Arc::clone(pipeline), Arc::clone(&lanes.provider));
            let unverified_lookups = LookupLimit::default();
            let callbacks = Callbacks { pipeline, provider, lanes: Arc::clone(&lanes), unverified_lookups };
            let queue = names.callbacks_of(&lanes.provider.name);
            let window = DeliveryWindow::of_bytes(CALLBACK_PREFETCH, largest_call, CALLBACK_BYTES, CALLBACK_BYTES / 4);
            routes.push((queue, window, Route::Callbacks(Arc::new(callbacks))));
        }
        let queue = names.commands_of(&lanes.provider.name);
        routes.push((queue, lanes.window(), Route::Lanes(Arc::clone(pipeline), lanes)));
    }
    let missing = Arc::new(AtomicUsize::new(routes.len()));
    let consumed = |(queue, window, route): (String, DeliveryWindow, Route)| {
        let once = AtomicUsize::new(1);
        let dispatch = Arc::new(Dispatch { route, work: work.clone(), missing: Arc::clone(&missing), once });
        Ok(Consumed { queue: short(&queue)?, window, dispatch })
    };
    routes.into_iter().map(consumed).collect()
}

/// The part of ferryd that takes the deliveries of a queue.
enum Route {
    Lanes(Arc<Pipeline>, Arc<Lanes>),
    Strays(Arc<Strays>, Stray),
    Callbacks(Arc<Callbacks>),
}

/// Routes the deliveries of a queue to the part of ferryd that takes them.
pub(super) struct Dispatch {
    route: Route,
    work: TaskTracker,
    /// The number of consumers that were never attached yet.
    missing: Arc<AtomicUsize>,
    once: AtomicUsize,
}

impl Dispatch {
    /// Runs the task for a delivery. The delivery's place is free again when the task is done.
    fn work(&self, place: DeliveryPlace, task: impl Future<Output = ()> + Send + 'static) {
        self.work.spawn(async move {
            task.await;
            drop(place);
        });
    }
}

impl Handler for Dispatch {
    fn take(&self, delivery: Delivery, place: DeliveryPlace) {
        match &self.route {
            Route::Lanes(pipeline, lanes) => {
                let (pipeline, lanes) = (Arc::clone(pipeline), Arc::clone(lanes));
                let delivery = Box::new(delivery);
                self.work(place, async move { pipeline.carry(&lanes, delivery).await });
            }
            Route::Strays(strays, stray) => {
                let (strays, stray) = (Arc::clone(strays), *stray);
                self.work(place, async move { Box::pin(strays.take(stray, delivery)).await });
            }
            Route::Callbacks(callbacks) => {
                let callbacks = Arc::clone(callbacks);
                self.work(place, async move { callbacks.take(delivery).await });
            }
        }
    }

    fn attached(&self) {
        if self.once.swap(0, Ordering::SeqCst) == 1 && self.missing.fetch_sub(1, Ordering::SeqCst) == 1 {
            info!("ready");
        }
    }
}
