//! The supervisor: connects, enters the epoch as soon as its entries can be trusted, and holds it with a heartbeat
//! every second. If the connection is lost, it starts again after one second.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use domain::ports::{ChangeSubscriber, Identify};
use futures_util::StreamExt;
use redis::{Value, aio::PubSub};
use slog::{debug, info, warn};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::{
    entry::{self, Names},
    epoch::{EpochCommand, Membership},
    session::{NO_ANSWER, Session},
    shared::{Connection, Shared},
};

const PAUSE: Duration = Duration::from_secs(1);
/// Timeout of the ping on the subscription. The subscription only makes changes known sooner.
const SILENCE: Duration = Duration::from_secs(1);

pub(crate) async fn keep(shared: &Shared, store: &dyn Identify, subscriber: Arc<dyn ChangeSubscriber>) -> Infallible {
    let mut names = names(shared, store).await;
    let mut away = String::new();
    loop {
        // Another store may have replaced the last one. If the identity cannot be read, no entry is trusted until it
        // can.
        if let Ok(identity) = store.identity().await {
            names = Names::new(identity);
        }
        let reason = match connect(shared, &names).await {
            Ok((connection, subscription)) => {
                info!(shared.log, "connected to Redis"; "event.name" => "redis.connected");
                away.clear();
                shared.connected(Arc::clone(&connection));
                let reason = hold(shared, &connection, store, subscription, subscriber.as_ref()).await;
                // Marks this session as lost: a command that still waits on it must not end the next session.
                connection.session.lose(&reason);
                shared.disconnected();
                reason
            }
            Err(reason) => reason,
        };
        shared.away.lock().expect("no thread panics while it holds this lock").clone_from(&reason);
        // Logged again only if the reason has changed.
        if away != reason {
            warn!(shared.log, "Redis is not used, and tried once a second: redirects come from this process and the store, and each \
                process allows its share of every limit";
                "event.name" => "redis.disconnected", "error.message" => &reason, "processes" => shared.processes.load(Ordering::Acquire));
            away = reason;
        }
        sleep(PAUSE).await;
    }
}

/// The names of everything about this store. Waits until the identity of the store is known.
async fn names(shared: &Shared, store: &dyn Identify) -> Names {
    loop {
        match store.identity().await {
            Ok(identity) => return Names::new(identity),
            Err(error) => debug!(shared.log, "Redis is not used yet: the identity of the store is unknown";
                "event.name" => "redis.waiting", "error.message" => error.to_string()),
        }
        sleep(PAUSE).await;
    }
}

async fn connect(shared: &Shared, names: &Names) -> Result<(Arc<Connection>, PubSub), String> {
    let command_timeout = shared.options.timeout;
    let client = shared.endpoint.client().await?;
    let session = Session::open(&client, command_timeout, Arc::clone(&shared.is_connected)).await?;
    let subscribing = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(names.channel()).await?;
        Ok(subscription)
    };
    let subscription = timeout(command_timeout * 2, subscribing).await;
    let subscription = subscription.map_err(|_| NO_ANSWER.to_owned())?;
    let subscription = subscription.map_err(|error: redis::RedisError| error.to_string())?;
    Ok((Arc::new(Connection { session, names: names.clone() }), subscription))
}

/// Holds the epoch until the connection is lost. Returns why it was lost.
async fn hold(
    shared: &Shared,
    connection: &Connection,
    store: &dyn Identify,
    subscription: PubSub,
    subscriber: &dyn ChangeSubscriber,
) -> String {
    let (mut subscription, mut changes) = subscription.split();
    // Start of the watermark for which the identity of the store was last checked against the names in use.
    let mut identified = None;
    let mut membership = Membership::new();
    let mut every = interval(PAUSE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            reason = connection.session.lost() => return reason,
            _ = every.tick() => {
                let since = shared.watermark().map(|watermark| watermark.since);
                if since.is_some() && since != identified && let Ok(identity) = store.identity().await {
                    if Names::new(identity) != connection.names {
                        return "another store, or another timeline of it, has taken the place of the last".to_owned();
                    }
                    identified = since;
                }
                if since.is_none() || since == identified {
                    while heartbeat(shared, connection, &mut membership).await {}
                }
                if connection.session.is_lost() {
                    continue;
                }
                if let Some(processes) = connection.session.presence(&connection.names.processes(), &shared.name).await {
                    shared.set_processes(processes);
                }
                // A connection that was cut silently reports no error, so it is pinged.
                if !matches!(timeout(SILENCE, subscription.ping::<Value>()).await, Ok(Ok(_))) {
                    return "the subscription is silent".to_owned();
                }
            }
            message = changes.next() => match message {
                // Any client of Redis can write to this channel: what is no valid change is ignored.
                Some(message) => if let Some((code, generation)) =
                    message.get_payload::<String>().ok().as_deref().and_then(entry::read_change)
                {
                    // Redis first: a cache that drops the link reads Redis next.
                    shared.outdate(&[(code.clone(), generation)]).await;
                    subscriber.changed(&code, generation);
                },
                None => return "the subscription ended".to_owned(),
            },
        }
    }
}

/// Sends one heartbeat. Returns whether the next one should follow at once.
async fn heartbeat(shared: &Shared, connection: &Connection, membership: &mut Membership) -> bool {
    let (watermark, fresh) = (shared.watermark(), shared.draw_name());
    if connection.session.is_lost() {
        // A change may not have been written to Redis.
        return false;
    }
    let command = membership.command(watermark, &fresh);
    let asked = Instant::now();
    let trusted = |membership: &Membership| membership.epoch().is_some_and(|(_, trusted)| trusted);
    let before = trusted(membership);
    let Some(reply) = connection.session.epoch(&connection.names.epoch(), &command).await else {
        // Without a reply the membership stays. If the epoch ends meanwhile, no other process uses its name.
        return false;
    };
    shared.clock(asked, reply.now);
    membership.reply(reply, watermark, &fresh);
    shared.set_epoch(membership.epoch(), watermark);
    if before != trusted(membership) {
        info!(shared.log, "{}", if before { "entries in Redis are not trusted" } else { "entries in Redis are trusted" };
            "event.name" => "redis.epoch");
    }
    membership.may_begin() && matches!(command, EpochCommand::Look)
}
