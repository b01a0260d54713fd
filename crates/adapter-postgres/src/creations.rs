//! Links that this process made, which the change feed notifies others of.

use tokio::sync::Notify;

/// Links that this process made, of which others are told together.
#[derive(Default)]
pub(crate) struct Creations(Notify);

impl Creations {
    /// Some were committed.
    pub(crate) fn committed(&self) {
        self.0.notify_one();
    }

    /// Waits until some were committed since the last time.
    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }
}
