//! Clicks, from the spool to the store. In every scrape
//! `accepted + adopted = stored + spooled + dropped + damaged`.

use super::{Label, Metric, When, counter, gauge, label};

const REASON: Label = label("reason", || vec!["no-space", "over-limit"]);
const UNCOUNTED: Label = label("reason", || vec!["missing-link", "later-release"]);

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    counter("signpost_clicks_accepted_total", &[],
        "Clicks of this process that were to be recorded",
        "",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.accepted))).only(When::Clicks),
    counter("signpost_clicks_adopted_total", &[],
        "Clicks taken over from ended processes on the same folder, or read again after the store went back",
        "A rise without a restart: the store was restored",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.adopted))).only(When::Clicks),
    counter("signpost_clicks_stored_total", &[],
        "Clicks that the store has counted",
        "",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.acknowledged))).only(When::Clicks),
    gauge("signpost_clicks_spooled", &[],
        "Clicks that wait for the store",
        "A steady rise: the store does not keep up",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.spooled))).only(When::Clicks),
    gauge("signpost_clicks_unclaimed", &[],
        "Clicks of ended processes of which the store has not said yet how many it has counted; not part of the balance",
        "Above 0 for long: the store is unavailable",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.unclaimed))).only(When::Clicks),
    counter("signpost_clicks_dropped_total", &[REASON],
        "Clicks that are lost: no room was ready on the disk, or the spool had reached clicks.spool_limit",
        "Any",
        |it, out| if let Some(clicks) = &it.clicks {
            out.each([("no-space", clicks.accounting.no_space), ("over-limit", clicks.accounting.over_limit)]);
        }).only(When::Clicks),
    counter("signpost_clicks_damaged_total", &[],
        "Clicks whose records cannot be read",
        "Any: the disk",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.damaged))).only(When::Clicks),
    counter("signpost_clicks_uncounted_total", &[UNCOUNTED],
        "Stored clicks that are in no count: their link is missing, or a later release wrote them",
        "later-release: do not go back to an older release",
        |it, out| if let Some(clicks) = &it.clicks {
            out.each([("missing-link", clicks.shipped.of_missing_links), ("later-release", clicks.shipped.unknown)]);
        }).only(When::Clicks),
    gauge("signpost_clicks_lag_seconds", &[],
        "Time since the last moment at which every click of this process was stored",
        "Above 60",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.lag))).only(When::Clicks),
    gauge("signpost_spool_bytes", &[],
        "Size of all segments of the spool",
        "The room on its disk",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.bytes))).only(When::Clicks),
    counter("signpost_spool_sync_failures_total", &[],
        "How often writing the spool through to the disk failed",
        "Any",
        |it, out| out.maybe(it.clicks.as_ref().map(|clicks| clicks.accounting.sync_failures))).only(When::Clicks),
];
