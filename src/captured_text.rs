//! A writer for tests that keeps the text written to it.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// A subscriber beside the one that a test sets for its thread. While only one exists, tracing
/// considers the subscriber of the thread that first passes an event, which has none in another
/// test, and keeps for all threads that nobody is interested.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

/// The text that was written. Clones write to the same text.
#[derive(Clone)]
pub(crate) struct CapturedText(Arc<Mutex<Vec<u8>>>);

impl Default for CapturedText {
    fn default() -> Self {
        LazyLock::force(&SECOND);
        Self(Arc::default())
    }
}

impl CapturedText {
    /// Returns the whole text written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for CapturedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
