//! The listener: its own connection, on which the server notifies that the history has grown. It only makes changes
//! known sooner. The change feed reads the history about once a second anyway, and misses nothing without it.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};
use tokio_postgres::{AsyncMessage, Config, Socket, tls::MakeTlsConnect};

use crate::connection::{AttemptError, ConnectError, Connector, Line};

/// The channel of the trigger `links_notify`.
pub(crate) const CHANNEL: &str = "signpost_links";
const LISTEN: &str = "LISTEN signpost_links";
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes `wake` at every notification. Never returns: one second after a connection fails or ends, it connects again.
pub(crate) async fn listen(connector: Connector, wake: Arc<Notify>) {
    loop {
        if let Ok(listening) = connector.connect_listener(&wake).await {
            listening.ended().await;
        }
        sleep(PAUSE).await;
    }
}

/// A session that listens. It ends when this is dropped.
pub(crate) struct Listening {
    /// Held because dropping it ends the session.
    _client: tokio_postgres::Client,
    line: Line,
    ended: Arc<Notify>,
}

impl Listening {
    async fn ended(self) {
        self.ended.notified().await;
        drop(self.line);
    }
}

/// Opens a session that listens and wakes `wake` at every notification.
pub(crate) async fn establish<T>(config: Config, tls: T, wake: Arc<Notify>) -> Result<Listening, AttemptError>
where
    T: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send + 'static> + Send,
    <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = config.connect(tls).await.map_err(AttemptError::Connect)?;
    let ended = Arc::new(Notify::new());
    let end = Arc::clone(&ended);
    let line = Line::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            // Every other message is a notice for interactive users.
            if let AsyncMessage::Notification(_) = message {
                wake.notify_one();
            }
        }
        end.notify_one();
    });
    client.batch_execute(LISTEN).await.map_err(AttemptError::Connect)?;
    Ok(Listening { _client: client, line, ended })
}

impl Connector {
    async fn connect_listener(&self, wake: &Arc<Notify>) -> Result<Listening, ConnectError> {
        let wake = Arc::clone(wake);
        self.connect_with(move |host, tls| {
            let wake = Arc::clone(&wake);
            async move {
                match tls {
                    Some(tls) => establish(host, tls, wake).await,
                    None => establish(host, tokio_postgres::NoTls, wake).await,
                }
            }
        })
        .await
    }
}
