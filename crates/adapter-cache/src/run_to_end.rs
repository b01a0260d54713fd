//! Work that goes on when its caller leaves. A caller can leave at any await: the client hung up, or its time is over.
//! Work that it started may be committed a moment later, and the cache must still learn of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A future that, once polled, is driven to its end on the runtime of its caller, even if the caller drops it. There is
/// no other cost: until the caller leaves, the work is part of the caller's task.
pub(crate) struct RunToEnd<T: Send + 'static> {
    work: Option<Work<T>>,
    begun: bool,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T: Send + 'static> RunToEnd<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), begun: false }
    }
}

impl<T: Send + 'static> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out first: work that panics must not be polled again.
        let mut work = self.work.take().expect("a future is not polled after its end");
        self.begun = true;
        let outcome = work.as_mut().poll(context);
        if outcome.is_pending() {
            self.work = Some(work);
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        // Without a runtime the process ends, and its cache with it.
        if let (true, Some(work), Ok(runtime)) = (self.begun, self.work.take(), Handle::try_current()) {
            runtime.spawn(async move { drop(work.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc, time::Duration};

    use tokio::{
        sync::{Notify, oneshot},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn started_work_ends_without_its_caller() {
        let go_on = Arc::new(Notify::new());
        let (end, ended) = oneshot::channel();
        let work = RunToEnd::new({
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.notified().await;
                end.send(()).expect("the test waits");
            }
        });
        timeout(Duration::from_millis(1), work).await.expect_err("it waits");
        go_on.notify_one();
        ended.await.expect("it was driven to its end");
    }

    #[tokio::test]
    async fn work_that_was_never_polled_never_runs() {
        let (end, ended) = oneshot::channel::<()>();
        drop(RunToEnd::new(async move {
            end.send(()).expect("the test waits");
        }));
        ended.await.expect_err("it was dropped");
    }

    #[tokio::test]
    async fn work_that_panics_is_not_polled_again() {
        let work = tokio::spawn(RunToEnd::new(async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        }));
        work.await.expect_err("it panicked");
        // A second poll would panic in a task of its own, and this one would never end.
        timeout(Duration::from_millis(1), RunToEnd::new(pending::<()>())).await.expect_err("it waits");
    }
}
