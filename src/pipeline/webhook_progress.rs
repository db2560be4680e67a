//! The progress of a webhook, as the headers of its message say.

use std::collections::BTreeSet;

use lapin::message::Delivery;
use lapin::types::AMQPValue;

use ferryd_broker::message::{get_number, get_text};

/// The header with the number of times that a call has waited for its command to become known.
pub(super) const TRIED: &str = "ferry-tried";

/// The header with the indices of the call's notices that wait.
pub(super) const ITEMS: &str = "ferry-notices";

/// The header that is true once events about these notices are published.
pub(super) const PUBLISHED: &str = "ferry-published";

/// The state of a webhook, as its headers say.
#[derive(Debug, Clone, Default)]
pub(super) struct WebhookProgress {
    pub(super) tried: usize,
    pub(super) is_published: bool,
    /// The indices of the notices that are left; `None` for all of them.
    pub(super) items: Option<BTreeSet<usize>>,
}

pub(super) fn read_progress(delivery: &Delivery) -> WebhookProgress {
    let headers = delivery.properties.headers().as_ref();
    let tried = get_number(headers, TRIED)
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or_default();
    let is_published = headers.and_then(|headers| headers.inner().get(PUBLISHED))
        == Some(&AMQPValue::Boolean(true));
    let items = get_text(headers, ITEMS)
        .map(|items| items.split(',').filter_map(|item| item.parse().ok()).collect());
    WebhookProgress { tried, is_published, items }
}
