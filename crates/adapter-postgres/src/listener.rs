//! The listener: a connection of its own on which the server tells of links that others changed.

use std::{future::poll_fn, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    code::Code,
    link::Generation,
    ports::{ChangeFeed, LinkWatcher, RepositoryError, RepositoryErrorKind},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Config, Socket, tls::MakeTlsConnect};

use crate::{
    PostgresStore,
    connection::{AttemptError, Line},
};

/// As the trigger `links_notify` names it.
const LISTEN: &str = "LISTEN signpost_links";
/// How often the server is asked whether it is still there: a connection that is cut without a word tells nothing.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Bound of its answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn tell(&self, watcher: Arc<dyn LinkWatcher>) -> RepositoryError {
        let lost = |error: Box<dyn std::error::Error + Send + Sync>| {
            RepositoryError::new(RepositoryErrorKind::Unavailable, "listening for changes").caused_by(error)
        };
        let (client, _line) = match self.connector.connect_listener(&watcher).await {
            Ok(listening) => listening,
            Err(error) => return lost(error.into()),
        };
        watcher.missed_some();
        loop {
            sleep(HEARTBEAT).await;
            let asked = Instant::now();
            // What was notified before this question is told before its answer. Listening twice is listening once, and `pg_stat_activity` goes on showing what the session is for.
            match timeout(PATIENCE, client.batch_execute(LISTEN)).await {
                Ok(Ok(())) => watcher.heard_all(asked.elapsed()),
                Ok(Err(error)) => return lost(error.into()),
                Err(elapsed) => return lost(elapsed.into()),
            }
        }
    }
}

/// A session that listens; what it hears goes to `watcher` as long as the line is kept.
pub(crate) async fn establish<T>(
    config: Config,
    tls: T,
    watcher: Arc<dyn LinkWatcher>,
) -> Result<(Client, Line), AttemptError>
where
    T: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send + 'static> + Send,
    <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = config.connect(tls).await.map_err(AttemptError::Connect)?;
    let hearing = async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            // Everything else is a notice, for people at a terminal.
            if let AsyncMessage::Notification(told) = message {
                match changed_link(told.payload()) {
                    Some((code, generation)) => watcher.heard_of(&code, generation),
                    // Not one of ours: then anything may have changed.
                    None => watcher.missed_some(),
                }
            }
        }
    };
    let line = Line::spawn(hearing);
    client.batch_execute(LISTEN).await.map_err(AttemptError::Connect)?;
    Ok((client, line))
}

fn changed_link(payload: &str) -> Option<(Code, Generation)> {
    let (code, generation) = payload.split_once(' ')?;
    Some((code.parse().ok()?, Generation::new(generation.parse().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_a_code_and_a_generation() {
        let told = changed_link("h7RkQ2mX 12").expect("valid");
        assert_eq!((told.0.as_str(), told.1.get()), ("h7RkQ2mX", 12));
        for bad in ["", "h7RkQ2mX", "h7RkQ2mX 0", "h7RkQ2mX x", "? 1"] {
            assert_eq!(changed_link(bad), None, "{bad}");
        }
    }
}
