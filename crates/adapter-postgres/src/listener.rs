//! The listener: a connection of its own on which the server tells of links that others changed.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::managed::Manager;
use diesel::{dsl::sql, select, sql_query, sql_types::Text};
use diesel_async::RunQueryDsl;
use domain::{
    code::Code,
    link::Generation,
    ports::{ChangeFeed, LinkWatcher, RepositoryError, RepositoryErrorKind},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client, Config, Notification, Socket, tls::MakeTlsConnect};

use crate::{
    PostgresStore,
    connection::{AttemptError, Line},
};

/// As the trigger `links_notify` names it.
const LISTEN: &str = "LISTEN signpost_links";
/// Where every process sends messages to itself, to see that they come.
const ECHOES: &str = "signpost_echoes";
const LISTEN_ECHOES: &str = "LISTEN signpost_echoes";
const CALL: &str = "SELECT pg_notify('signpost_echoes', $1)";
/// Those of other processes, while nobody waits for ours.
const MOST_ECHOES: usize = 1_000;
/// How often: a connection that is cut without a word tells nothing, and behind a pooler that shares sessions it may be
/// fine and never be told anything.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Bound of each step.
const PATIENCE: Duration = Duration::from_secs(2);

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn tell(&self, watcher: Arc<dyn LinkWatcher>) -> RepositoryError {
        let Err(reason) = self.hear(watcher).await;
        RepositoryError::new(RepositoryErrorKind::Unavailable, "listening for changes").caused_by(reason)
    }
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

impl PostgresStore {
    async fn hear(&self, watcher: Arc<dyn LinkWatcher>) -> Result<Infallible, Anything> {
        let (heard, mut echoes) = mpsc::channel(MOST_ECHOES);
        let _listening = self.connector.connect_listener(&Ear { watcher: Arc::clone(&watcher), heard }).await?;
        // From another session: a message that one sends to itself may come although those of others do not.
        let mut caller = self.connector.create().await?;
        let unique = select(sql::<Text>("pg_backend_pid() || ' ' || clock_timestamp()"));
        let name: String = timeout(PATIENCE, unique.get_result(&mut caller.diesel)).await??;
        watcher.missed_some();
        let mut number = 0_u64;
        loop {
            sleep(HEARTBEAT).await;
            number += 1;
            let (asked, call) = (Instant::now(), format!("{name} {number}"));
            let calling = async {
                while echoes.try_recv().is_ok() {} // of others, while nobody waited
                sql_query(CALL).bind::<Text, _>(&call).execute(&mut caller.diesel).await?;
                // Messages come in the order of their transactions, so everything before it has been told by then.
                while echoes.recv().await.ok_or("the connection was closed")? != call {}
                Ok::<_, Anything>(())
            };
            timeout(PATIENCE, calling).await??;
            watcher.heard_all(asked.elapsed());
        }
    }
}

/// What hears the messages of a session.
#[derive(Clone)]
pub(crate) struct Ear {
    watcher: Arc<dyn LinkWatcher>,
    heard: mpsc::Sender<String>,
}

impl Ear {
    fn hear(&self, told: &Notification) {
        if told.channel() == ECHOES {
            // Nobody waits for those that do not fit.
            let _unheard = self.heard.try_send(told.payload().to_owned());
            return;
        }
        match changed_link(told.payload()) {
            Some((code, generation)) => self.watcher.heard_of(&code, generation),
            // Not one of ours: then anything may have changed.
            None => self.watcher.missed_some(),
        }
    }
}

/// A session that listens; what it hears goes to `ear` as long as the line is kept.
pub(crate) async fn establish<T>(config: Config, tls: T, ear: Ear) -> Result<(Client, Line), AttemptError>
where
    T: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send + 'static> + Send,
    <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = config.connect(tls).await.map_err(AttemptError::Connect)?;
    let hearing = async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            // Everything else is a notice, for people at a terminal.
            if let AsyncMessage::Notification(told) = message {
                ear.hear(&told);
            }
        }
    };
    let line = Line::spawn(hearing);
    // The last one is what `pg_stat_activity` goes on showing.
    for listen in [LISTEN_ECHOES, LISTEN] {
        client.batch_execute(listen).await.map_err(AttemptError::Connect)?;
    }
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
