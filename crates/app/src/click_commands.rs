//! The commands on clicks: `signpost stats` and `signpost spool`.

use std::{path::Path, process::ExitCode, sync::Arc};

use adapter_spool::{SegmentReport, Spool, StreamReport, Survey, inspect};
use anyhow::{Context, anyhow, bail};
use domain::{
    address::Address,
    click::{Dimension, KindCounts},
    code::Code,
    ports::{Clock, StatisticsOf},
    service::{Bots, Edge, Interval, Statistics, StatisticsQuery, Zone},
};

use crate::{
    cli::{SpoolAction, StatsArguments, tell},
    clicks::{self, Clicks, Shipper},
    config::Config,
    domain_commands::named_domain,
    effects::SystemClock,
    stores::{Backend, Store},
    unreadable::NotedRows,
};

/// Shows the clicks of a link or of all links, or deletes those of a link.
pub(crate) async fn stats(
    config: &Config,
    code: Option<&str>,
    domain: Option<&str>,
    question: &StatsArguments,
    erase: bool,
) -> anyhow::Result<()> {
    let query = query(question)?;
    let (store, clicks) = open(config).await?;
    let of = match code {
        None => StatisticsOf::Everyone,
        Some(code) => {
            let found = match code.parse::<Code>() {
                Ok(code) => store.links.find(&Address::new(named_domain(&store, domain).await?, code)).await?,
                Err(_) => None,
            };
            StatisticsOf::Link(found.with_context(|| format!("no link has the code {code}"))?.id)
        }
    };
    if erase {
        let StatisticsOf::Link(link) = of else { bail!("name the link whose clicks to delete") };
        clicks.repository.erase(&link).await?;
        return tell("the clicks of this link are deleted");
    }
    let query = StatisticsQuery { of, ..query };
    let statistics = clicks.services().statistics.statistics(&query).await??;
    show(&statistics, &query)
}

/// Reads the question. Whose clicks it asks for is filled in later.
fn query(question: &StatsArguments) -> anyhow::Result<StatisticsQuery> {
    let zone: Zone = question.tz.parse().context("--tz")?;
    let named = |name: &str| Interval::ALL.into_iter().find(|interval| interval.name() == name);
    let interval = named(&question.interval).context("--interval")?;
    let bots = Bots::ALL.into_iter().find(|bots| bots.name() == question.bots).context("--bots")?;
    let moment = |text: &Option<String>, name: &str, edge| match text {
        None => Ok(None),
        Some(text) => zone.moment(text, edge).map(Some).ok_or_else(|| {
            anyhow!("{name}: expected a date such as 2026-11-30, or a time such as 2026-11-30T12:00:00Z")
        }),
    };
    let to = moment(&question.to, "--to", Edge::End)?.unwrap_or_else(|| SystemClock.now());
    let from = moment(&question.from, "--from", Edge::Begin)?;
    let from = from.or_else(|| to.plus_seconds(-interval.usual_seconds())).context("--from")?;
    Ok(StatisticsQuery { of: StatisticsOf::Everyone, from, to, interval, zone, bots, compare: false })
}

/// Width of the longest bar.
const WIDTH: u64 = 50;
/// Values shown of each breakdown.
const VALUES: usize = 5;

fn show(statistics: &Statistics, query: &StatisticsQuery) -> anyhow::Result<()> {
    let KindCounts { humans, bots } = statistics.totals;
    tell(&format!("{} to {} ({})", statistics.from, statistics.to, query.zone.name()))?;
    tell(&format!("clicks: {humans} by people, {bots} by bots"))?;
    if let Some(visitors) = statistics.daily_visitors {
        tell(&format!("visitors: {visitors} (those of each UTC day, added up)"))?;
    }
    let most = statistics.series.iter().map(|(_, counts)| counts.of(query.bots)).max().unwrap_or_default().max(1);
    tell("")?;
    for (start, counts) in &statistics.series {
        let clicks = counts.of(query.bots);
        let bar = "█".repeat(usize::try_from((clicks * WIDTH).div_ceil(most)).unwrap_or_default());
        tell(&format!("{}  {clicks:>8}  {bar}", query.zone.label(*start, query.interval)))?;
    }
    for (dimension, values) in &statistics.breakdowns.by {
        if values.is_empty() || *dimension == Dimension::HourOfWeek {
            continue;
        }
        tell(&format!("\n{}", dimension.name()))?;
        for (value, clicks) in values.iter().take(VALUES) {
            tell(&format!("  {clicks:>8}  {value}"))?;
        }
    }
    Ok(())
}

/// Looks at the spool, or ships what dead processes left.
pub(crate) async fn spool(config: &Config, action: SpoolAction) -> anyhow::Result<ExitCode> {
    match action {
        SpoolAction::Status => status(config).await,
        SpoolAction::Check => check(config),
        SpoolAction::Ship => ship(config).await,
    }
}

async fn status(config: &Config) -> anyhow::Result<ExitCode> {
    let folder = clicks::folder(&config.data_dir);
    let streams = streams(&folder)?;
    if streams.is_empty() {
        tell("no clicks are on disk")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (_store, clicks) = open(config).await?;
    let mut waiting = 0;
    for stream in &streams {
        let acked = clicks.repository.acked(&stream.id).await?;
        let waits: u64 = stream.segments.iter().map(|segment| waiting_in(segment, acked)).sum();
        let bytes: u64 = stream.segments.iter().map(|segment| segment.bytes).sum();
        waiting += waits;
        let owner = if stream.is_locked { "in use" } else { "left behind" };
        tell(&format!(
            "{}  {owner}  {} segments, {bytes} bytes, counted up to {acked}, {waits} waiting, {} damaged",
            stream.id,
            stream.segments.len(),
            stream.damaged()
        ))?;
    }
    let is_unknown = |segment: &SegmentReport| matches!(segment.survey, Survey::OtherVersion | Survey::Unreadable);
    let unknown = streams.iter().flat_map(|stream| &stream.segments).filter(|segment| is_unknown(segment)).count();
    if unknown > 0 {
        tell(&format!("{unknown} segments cannot be read by this release: `signpost spool check` names them"))?;
    }
    tell(&format!("{waiting} clicks wait for the store"))?;
    Ok(if unknown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(config: &Config) -> anyhow::Result<ExitCode> {
    let folder = clicks::folder(&config.data_dir);
    let (mut clicks, mut unknown, mut damaged, mut unreadable, mut others) = (0, 0, 0, 0, 0);
    for stream in streams(&folder)? {
        for segment in &stream.segments {
            let words = match segment.survey {
                Survey::Unreadable => "no segment",
                Survey::OtherVersion => "a segment of another release, which this one cannot read",
                Survey::Segment { .. } | Survey::Unused => continue,
            };
            others += u64::from(segment.survey == Survey::OtherVersion);
            tell(&format!("{}: {words}", segment.path.display()))?;
        }
        clicks += stream.clicks();
        unknown += stream.unknown();
        damaged += stream.damaged();
        unreadable += stream.unreadable();
    }
    tell(&format!(
        "{clicks} clicks, {unknown} records of a later release, {unreadable} segments that cannot be read, {damaged} damaged"
    ))?;
    Ok(if damaged + unreadable + others == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The streams on disk; none before the first start.
fn streams(folder: &Path) -> anyhow::Result<Vec<StreamReport>> {
    if !folder.try_exists()? {
        return Ok(Vec::new());
    }
    inspect(folder).with_context(|| folder.display().to_string())
}

/// How many records of a segment the store has not counted, if it has counted the stream up to `acked`.
fn waiting_in(segment: &SegmentReport, acked: u64) -> u64 {
    match segment.survey {
        Survey::Segment { first, clicks, unknown, damaged, .. } => {
            (first + clicks + unknown + damaged).saturating_sub(first.max(acked + 1))
        }
        Survey::Unused | Survey::OtherVersion | Survey::Unreadable => 0,
    }
}

async fn ship(config: &Config) -> anyhow::Result<ExitCode> {
    let (_store, clicks) = open(config).await?;
    let spool = Spool::open(clicks::spool_options(config), clicks::new_stream_id)?;
    let clicks = clicks.with_spool(spool.clone(), clicks::describer(config)?);
    let mut shipper = Shipper::new(&clicks).context("there is no spool")?;
    let shipped = shipper.ship_all(|| ()).await;
    spool.close();
    shipped.map_err(|failure| anyhow!("{}", failure.details()))?;
    let (totals, accounting) = (shipper.totals(), spool.accounting());
    tell(&format!(
        "{} clicks counted, {} of links that the store does not have, {} lost",
        totals.stored,
        totals.of_missing_links,
        accounting.over_limit + accounting.damaged + totals.unknown
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn open(config: &Config) -> anyhow::Result<(Store, Clicks)> {
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    backend.must_be_migrated().await?;
    let store = backend.open(Arc::<NotedRows>::default())?;
    let clicks = Clicks::without_spool(config, store.clicks.clone());
    Ok((store, clicks))
}
