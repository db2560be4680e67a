//! The sizes of futures: thousands of them wait at the same time.

use super::lane::{CallPermit, Lane, ProviderLanes};
use super::messages::Effects;
use super::*;
use ferryd_provider::Operation;

/// The most bytes of the future of a delivery, from its beginning to its ack.
const MOST: usize = 3 * 1024 + 512;

type SharedPipeline = &'static Pipeline;
type HeldCommand = &'static mut CommandMessage;
type AttemptArguments =
    (SharedPipeline, &'static Lane, &'static Operation, HeldCommand, CallPermit);

fn size_of_future<I, F: Future>(_: impl FnOnce(I) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_delivery_that_waits_for_its_provider_costs_little_memory() {
    let handling = size_of_future(
        |(pipeline, lanes, delivery): (SharedPipeline, &'static ProviderLanes, _)| {
            pipeline.handle_delivery(lanes, delivery)
        },
    );
    let attempt =
        size_of_future(|(pipeline, lane, operation, message, permit): AttemptArguments| {
            pipeline.attempt(lane, operation, message, permit)
        });
    let publishing = size_of_future(|(pipeline, effects): (SharedPipeline, &'static Effects)| {
        pipeline.publish(effects)
    });
    assert!(
        handling <= MOST,
        "{handling} bytes, of which {attempt} are for a call and {publishing} for publishing: box what few commands need"
    );
}
