//! The connection that all calls of an account share.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use ferryd_domain::outcome::Failure;

/// The connection of an account, opened for the first call and kept for as long as it is usable.
pub(super) struct SharedLink<L>(Mutex<LinkSlot<L>>);

/// The connection, and the latest failure to open one.
struct LinkSlot<L> {
    link: Option<Arc<L>>,
    failed: Option<(Instant, Failure)>,
}

impl<L> SharedLink<L> {
    /// Begins without a connection.
    pub(super) fn new() -> Self {
        Self(Mutex::new(LinkSlot { link: None, failed: None }))
    }

    /// Returns the connection where it is usable, or opens one. Calls that wait meanwhile share the
    /// result.
    pub(super) async fn link(
        &self,
        is_usable: impl Fn(&L) -> bool,
        open: impl Future<Output = Result<L, Failure>>,
    ) -> Result<Arc<L>, Failure> {
        let began = Instant::now();
        let mut slot = self.0.lock().await;
        if let Some(link) = slot.link.as_ref().filter(|link| is_usable(link)) {
            return Ok(Arc::clone(link));
        }
        if let Some((_, failure)) = slot.failed.as_ref().filter(|(at, _)| *at >= began) {
            return Err(failure.clone());
        }
        slot.link = None;
        match open.await {
            Ok(link) => Ok(Arc::clone(slot.link.insert(Arc::new(link)))),
            Err(failure) => {
                slot.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }
}
