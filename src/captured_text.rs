//! A writer for tests that keeps the text written to it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// The text that was written. Clones write to the same text.
#[derive(Clone, Default)]
pub(crate) struct CapturedText(Arc<Mutex<Vec<u8>>>);

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
