//! Wakes tasks that wait for changes of single commands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use ferryd_domain::command_id::CommandId;

/// The waiting tasks, by command.
#[derive(Default)]
pub(super) struct CommandWatchers {
    waiting: Mutex<HashMap<CommandId, watch::Sender<()>>>,
    /// The number of watched commands, so that applying a record costs nothing where there are
    /// none.
    count: AtomicUsize,
}

/// Waits for changes of one command, until it is dropped.
pub(super) struct CommandWatch {
    id: CommandId,
    news: watch::Receiver<()>,
    all: Arc<CommandWatchers>,
}

impl CommandWatchers {
    fn lock(&self) -> MutexGuard<'_, HashMap<CommandId, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for changes of a command. A state that is read after this call is not older
    /// than the first change reported.
    pub fn watch(self: &Arc<Self>, id: &CommandId) -> CommandWatch {
        let mut waiting = self.lock();
        let news = waiting.entry(id.clone()).or_insert_with(|| watch::channel(()).0).subscribe();
        self.count.store(waiting.len(), Ordering::SeqCst);
        CommandWatch { id: id.clone(), news, all: Arc::clone(self) }
    }

    /// Wakes the tasks that wait for a command.
    pub fn notify_watchers(&self, id: &CommandId) {
        if self.count.load(Ordering::SeqCst) > 0
            && let Some(sender) = self.lock().get(id)
        {
            sender.send_replace(());
        }
    }
}

impl CommandWatch {
    /// Resolves at the next change, or at once if there was one since the last call.
    pub async fn wait_for_change(&mut self) {
        // The sender stays as long as a task waits.
        let _ = self.news.changed().await;
    }
}

impl Drop for CommandWatch {
    fn drop(&mut self) {
        let mut waiting = self.all.lock();
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.id);
        }
        self.all.count.store(waiting.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn news_reach_whoever_waits_for_that_command_even_if_they_come_first() {
        let watchers = Arc::new(CommandWatchers::default());
        let [one, other] = ["a", "b"].map(|id| id.parse::<CommandId>().unwrap());
        let (mut first, mut second) = (watchers.watch(&one), watchers.watch(&one));
        watchers.notify_watchers(&other);
        assert!(first.wait_for_change().now_or_never().is_none());
        watchers.notify_watchers(&one);
        assert!(
            first.wait_for_change().now_or_never().is_some()
                && second.wait_for_change().now_or_never().is_some()
        );
        assert!(first.wait_for_change().now_or_never().is_none());
    }

    #[test]
    fn nothing_is_kept_once_nobody_waits() {
        let watchers = Arc::new(CommandWatchers::default());
        let id: CommandId = "a".parse().unwrap();
        let (first, second) = (watchers.watch(&id), watchers.watch(&id));
        drop(first);
        assert_eq!(watchers.count.load(Ordering::SeqCst), 1);
        drop(second);
        assert_eq!((watchers.count.load(Ordering::SeqCst), watchers.lock().len()), (0, 0));
    }
}
