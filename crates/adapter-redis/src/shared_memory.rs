//! [`SharedMemory`]: what other crates use, and the ports it implements.

use std::{
    convert::Infallible,
    fmt,
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use domain::ports::{
    ChangeSubscriber, Entropy, FailureReason, Identify, LimiterReply, LimiterRequest, Ping, RepositoryError,
    RepositoryErrorKind, SharedLimiter,
};
use slog::Logger;
use tokio::runtime::Handle;

use crate::{
    endpoint::InvalidUrl, options::RedisOptions, session::Verb, shared::Shared, status::SharedMemoryStatus, supervisor,
};

/// The cache in Redis that all processes on one store share. Clones share their state.
#[derive(Clone)]
pub struct SharedMemory(pub(crate) Arc<Shared>);

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").finish_non_exhaustive()
    }
}

impl SharedMemory {
    /// A shared cache in the Redis of `options`. It connects only while [`keep`](Self::keep) runs.
    pub fn new(
        options: RedisOptions,
        entropy: Arc<dyn Entropy>,
        runtime: Handle,
        log: Logger,
    ) -> Result<Self, InvalidUrl> {
        Ok(Self(Arc::new(Shared::new(options, entropy, runtime, log)?)))
    }

    /// What the shared cache is doing.
    pub fn status(&self) -> SharedMemoryStatus {
        self.0.status()
    }

    /// Stays connected and in an epoch of `store`. Never returns. `subscriber` receives the changes that other
    /// processes publish.
    pub async fn keep(&self, store: &dyn Identify, subscriber: Arc<dyn ChangeSubscriber>) -> Infallible {
        supervisor::keep(&self.0, store, subscriber).await
    }
}

#[async_trait]
impl Ping for SharedMemory {
    async fn ping(&self) -> Result<(), RepositoryError> {
        let failed = |why: String| {
            let error = RepositoryError::new(RepositoryErrorKind::Unavailable, "pinging Redis");
            error.because(reason_of(&why)).caused_by(why)
        };
        let away = || self.0.away.lock().expect("no thread panics while it holds this lock").clone();
        let connection = self.0.connection().ok_or_else(|| failed(away()))?;
        connection.session.ping().await.map_err(failed)
    }
}

/// Why Redis is not used, for the operator, from the message of Redis or of the network.
fn reason_of(why: &str) -> FailureReason {
    let why = why.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["in time", "silent", "timed out"]) {
        FailureReason::TimedOut
    } else if has(&["refused"]) {
        FailureReason::ConnectionRefused
    } else if has(&["noauth", "wrongpass", "noperm", "authentic"]) {
        FailureReason::AuthenticationFailed
    } else if has(&["readonly"]) {
        FailureReason::ReadOnly
    } else if has(&["lookup", "no primary", "unreachable"]) {
        FailureReason::Unreachable
    } else {
        FailureReason::ConnectionLost
    }
}

#[async_trait]
impl SharedLimiter for SharedMemory {
    async fn acquire(&self, requests: &[LimiterRequest]) -> Option<LimiterReply> {
        self.0.charge(Verb::Acquire, requests).await
    }

    async fn record(&self, requests: &[LimiterRequest]) -> Option<LimiterReply> {
        self.0.charge(Verb::Record, requests).await
    }

    fn is_available(&self) -> bool {
        self.0.is_connected.load(Ordering::Acquire)
    }

    fn processes(&self) -> NonZeroU32 {
        NonZeroU32::new(self.0.processes.load(Ordering::Acquire)).unwrap_or(NonZeroU32::MIN)
    }
}
