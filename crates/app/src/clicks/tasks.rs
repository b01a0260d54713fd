//! The background tasks of clicks, each under the supervisor.

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use adapter_enrich::Lists;
use domain::{
    click::{Day, Hour},
    ports::{Clock, RepositoryErrorKind},
};
use slog::{Logger, info};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{losses::Losses, parts::Clicks, salts, shipper::Shipper};
use crate::{
    effects::SystemClock,
    supervisor::{Failure, Report, Supervisor},
};

/// Pause between two shipments.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure. Each pause after a failure is twice as long as the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long the last shipment may take at the end.
const LONGEST_LAST: Duration = Duration::from_secs(2);
/// How often the files of the operator and the salts are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often old salts are deleted and old hours forgotten.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

/// The names of the tasks.
pub(crate) const NAMES: &[&str] = &["click-retention", "click-shipper", "visitor-salts", "click-lists"];

/// Starts the tasks, and returns the shipper, for the end.
pub(crate) fn watch_over(supervisor: &Supervisor, clicks: &Clicks, log: &Logger) -> Option<Arc<Mutex<Shipper>>> {
    let kept = clicks.clone();
    supervisor.watch("click-retention", HOUSEKEEPING, move |report| {
        let clicks = kept.clone();
        async move { match keep_house(clicks, report).await {} }
    });
    let shipper = Arc::new(Mutex::new(Shipper::new(clicks)?));
    let (ship, orphans, losses) = (Arc::clone(&shipper), clicks.clone(), Losses::new(log));
    supervisor.watch("click-shipper", LONGEST_PAUSE, move |report| {
        let (shipper, clicks, losses) = (Arc::clone(&ship), orphans.clone(), losses.clone());
        async move { match keep_shipping(shipper, clicks, report, losses).await {} }
    });
    let salted = clicks.clone();
    supervisor.watch("visitor-salts", LOOK, move |report| {
        let clicks = salted.clone();
        async move { match keep_salts(clicks, report).await {} }
    });
    let describer = clicks.describer.as_ref()?;
    let lists = describer.lock().unwrap_or_else(PoisonError::into_inner).lists();
    supervisor.watch("click-lists", LOOK, move |report| {
        let lists = lists.clone();
        async move { match keep_lists(lists, report).await {} }
    });
    Some(shipper)
}

/// Ships the visits that led nowhere, and what was recorded, once a second.
async fn keep_shipping(shipper: Arc<Mutex<Shipper>>, clicks: Clicks, report: Report, losses: Losses) -> Infallible {
    let mut pause = PAUSE;
    loop {
        let orphans = ship_orphans(&clicks).await;
        let mut shipper = shipper.lock().await;
        let shipped = shipper.ship_all(|| report.is_busy()).await;
        let totals = shipper.totals();
        drop(shipper);
        clicks.shipped.set(totals);
        losses.tell(&clicks, totals);
        match shipped.and_then(|unreadable| orphans.map(|()| unreadable)) {
            Ok(unreadable) => {
                match &unreadable {
                    None => report.succeeded(),
                    Some(_) => report.succeeded_but("a part of the click spool cannot be read"),
                }
                losses.tell_unreadable(unreadable);
                pause = PAUSE;
            }
            Err(failure) => {
                report.failed(failure);
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
        sleep(pause).await;
    }
}

/// Ships what was recorded until now, for at most [`LONGEST_LAST`]. What is left is shipped by the next start, or by
/// another process on the same volume.
pub(crate) async fn ship_the_last(clicks: &Clicks, shipper: &Mutex<Shipper>, log: &Logger) {
    let shipping = async {
        let shipped = shipper.lock().await.ship_all(|| ()).await;
        shipped.and(ship_orphans(clicks).await)
    };
    match timeout(LONGEST_LAST, shipping).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => info!(log, "some clicks wait for the next start: {}", failure.details();
            "event.name" => "clicks.left", "error.message" => failure.details()),
        Err(_elapsed) => info!(log, "some clicks wait for the next start: shipping them takes too long";
            "event.name" => "clicks.left"),
    }
}

/// Stores the visits that led nowhere since the last call.
async fn ship_orphans(clicks: &Clicks) -> Result<(), Failure> {
    let counts = clicks.orphans.take(Day::of(SystemClock.now()));
    if counts.is_empty() {
        return Ok(());
    }
    let stored = clicks.repository.add_orphans(&counts).await;
    stored.map_err(|error| {
        // If the outcome is unknown, they may be counted: rather none than twice.
        if error.kind() != RepositoryErrorKind::Indeterminate {
            clicks.orphans.give_back(&counts);
        }
        Failure::from(&error)
    })
}

async fn keep_salts(clicks: Clicks, report: Report) -> Infallible {
    loop {
        match salts::refresh(&clicks).await {
            Ok(()) => report.succeeded(),
            Err(error) => report.failed(Failure::from(&error)),
        }
        sleep(LOOK).await;
    }
}

/// Reads the operator's lists of bots and countries again when they change.
async fn keep_lists(lists: Lists, report: Report) -> Infallible {
    loop {
        let lists = lists.clone();
        match spawn_blocking(move || lists.refresh()).await {
            Ok(Ok(_reread)) => report.succeeded(),
            Ok(Err(error)) => {
                report.failed(Failure::new(
                    "a file of clicks cannot be read",
                    format!("{:#}", anyhow::Error::from(error)),
                ));
            }
            Err(panicked) => report.failed(Failure::new("it panicked", panicked.to_string())),
        }
        sleep(LOOK).await;
    }
}

/// Removes segments of the spool that were counted, and whose clicks are as old as the salts that are deleted. `None` if
/// there is no spool.
async fn remove_old_segments(clicks: &Clicks) -> Option<Result<(), String>> {
    let spool = clicks.spool.clone()?;
    let moment = salts::first_kept_day().begin();
    let since = Duration::from_micros(u64::try_from(moment.unix_micros()).unwrap_or_default());
    let removing = spawn_blocking(move || spool.remove_kept_before(UNIX_EPOCH + since));
    Some(match removing.await {
        Ok(Ok(streams)) => {
            for stream in streams {
                // If this fails, the row stays, and does no harm.
                let _kept = clicks.repository.forget_stream(&stream).await;
            }
            Ok(())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(panicked) => Err(panicked.to_string()),
    })
}

/// Deletes salts after two days, and forgets hours after `clicks.keep_hours`.
async fn keep_house(clicks: Clicks, report: Report) -> Infallible {
    let statistics = clicks.statistics();
    loop {
        let removed = remove_old_segments(&clicks).await;
        let hours: Hour = statistics.first_kept_day().first_hour();
        let forgotten = clicks.repository.forget(salts::first_kept_day(), hours).await;
        let forgotten = forgotten.map_err(|error| Failure::from(&error));
        match (removed, forgotten) {
            (_, Err(failure)) => {
                report.failed(failure);
                sleep(LONGEST_PAUSE).await;
                continue;
            }
            (Some(Err(error)), Ok(())) => report.failed(Failure::new("the click spool cannot be read", error)),
            (Some(Ok(())) | None, Ok(())) => report.succeeded(),
        }
        sleep(HOUSEKEEPING).await;
    }
}
