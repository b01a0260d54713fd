//! A signal that this process created links, so that the change feed notifies other processes.

use tokio::sync::Notify;

/// Signals that this process created links. Several creations before one [`Creations::next`] count as one signal.
#[derive(Default)]
pub(crate) struct Creations(Notify);

impl Creations {
    /// Signals that links were committed.
    pub(crate) fn committed(&self) {
        self.0.notify_one();
    }

    /// Waits until links were committed since the last call.
    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }
}
