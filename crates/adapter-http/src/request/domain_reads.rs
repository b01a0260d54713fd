//! Reads of the short domains that callers cause.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// Reads the short domains again for callers that name one which this process does not know. Callers cannot make it
/// read often: all that wait share a read, and reads begin half a second apart.
#[derive(Default)]
pub(crate) struct DomainReads(Mutex<LastReads>);

#[derive(Default)]
struct LastReads {
    /// When the last one began.
    begun: Option<Instant>,
    /// When the last one that succeeded began.
    succeeded: Option<Instant>,
}

impl DomainReads {
    const PAUSE: Duration = Duration::from_millis(500);

    /// Returns after a read that began after this call. Dropping the future harms nothing.
    pub(crate) async fn read_again<E>(&self, read: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if last.succeeded.is_some_and(|begun| begun >= asked) {
            return Ok(());
        }
        if let Some(begun) = last.begun {
            sleep_until(begun + Self::PAUSE).await;
        }
        let begun = Instant::now();
        last.begun = Some(begun);
        read.await?;
        last.succeeded = Some(begun);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_that_wait_share_a_read() {
        let (reads, count) = (DomainReads::default(), Cell::new(0));
        let read = || {
            reads.read_again(async {
                sleep(Duration::from_millis(20)).await;
                count.set(count.get() + 1);
                Ok::<_, u8>(())
            })
        };
        let begun = Instant::now();
        assert_eq!(read().await, Ok(()));
        assert_eq!((count.get(), begun.elapsed()), (1, Duration::from_millis(20)), "the first does not wait");
        let crowd = join_all((0..100).map(|_| read())).await;
        assert!(crowd.iter().all(Result::is_ok));
        assert_eq!((count.get(), begun.elapsed()), (2, Duration::from_millis(520)));
        assert_eq!(reads.read_again(async { Err(7) }).await, Err(7));
        assert_eq!(read().await, Ok(()));
        assert_eq!((count.get(), begun.elapsed()), (3, Duration::from_millis(1_520)), "after a failure too");
    }
}
