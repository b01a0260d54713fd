//! The parameters of a question about clicks.

use domain::{
    link::Tags,
    ports::StatisticsOf,
    service::{Bots, Edge, Interval, InvalidQuery, StatisticsQuery, Zone},
    time::Timestamp,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::common_fields::text_fault,
    problem::{FieldProblem, Problem},
    request::{
        json::{Fault, field_problem},
        query::Query,
    },
};

/// Which clicks, in which parts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct Filters {
    /// Their begin: RFC 3339, or a date in the time zone. Some thirty intervals before the end if not given
    #[param(example = "2026-11-01", format = Date)]
    from: Option<String>,
    /// Their end: RFC 3339, or a date, which is included. Now if not given
    #[param(example = "2026-11-30", format = Date)]
    to: Option<String>,
    /// Length of the parts of the series; `day` if not given
    interval: Option<IntervalSchema>,
    /// Time zone of the series, by its IANA name; UTC if not given
    #[param(example = "Europe/Berlin", max_length = 64)]
    tz: Option<String>,
    /// Whether clicks of bots count; `exclude` if not given
    bots: Option<BotsSchema>,
    /// `previous`: the totals of the time of the same length before are added
    compare: Option<CompareSchema>,
}

/// Which clicks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct Range {
    /// The first UTC day: RFC 3339 or a date. 30 days before the end if not given
    #[param(example = "2026-11-01", format = Date)]
    from: Option<String>,
    /// The last UTC day: RFC 3339 or a date. Today if not given
    #[param(example = "2026-11-30", format = Date)]
    to: Option<String>,
    /// Whether clicks of bots count; `exclude` if not given
    bots: Option<BotsSchema>,
}

/// Length of the parts of a series.
#[derive(ToSchema)]
#[schema(as = Interval, rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) enum IntervalSchema {
    Hour,
    Day,
    Week,
    Month,
}

/// Whether clicks of bots count.
#[derive(ToSchema)]
#[schema(as = Bots, rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) enum BotsSchema {
    Exclude,
    Only,
    Include,
}

/// What is compared.
#[derive(ToSchema)]
#[schema(as = Compare, rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) enum CompareSchema {
    Previous,
}

/// The parameters of a question.
pub(crate) struct Question {
    from: Timestamp,
    to: Timestamp,
    interval: Interval,
    zone: Zone,
    bots: Bots,
    compare: bool,
}

impl Question {
    /// Reads all parameters. Fails with everything that is wrong.
    pub(crate) fn of(mut query: Query, now: Timestamp) -> Result<Self, Problem> {
        let interval = query.take("interval", interval).unwrap_or(Interval::Day);
        let zone = query.take("tz", zone).unwrap_or(Zone::UTC);
        let bots = query.take("bots", bots).unwrap_or_default();
        let compare = query.take("compare", compare).unwrap_or_default();
        let (from, to) = edges(&mut query, zone, interval, now);
        query.finish("question")?;
        Ok(Self { from, to, interval, zone, bots, compare })
    }

    /// The question about these clicks.
    pub(crate) fn query(&self, of: StatisticsOf) -> StatisticsQuery {
        let Self { from, to, interval, zone, bots, compare } = *self;
        StatisticsQuery { of, from, to, interval, zone, bots, compare }
    }
}

/// A range of UTC days, and whether bots count. Fails with everything that is wrong.
pub(crate) fn range(mut query: Query, now: Timestamp) -> Result<(Timestamp, Timestamp, Bots), Problem> {
    let bots = query.take("bots", bots).unwrap_or_default();
    let (from, to) = edges(&mut query, Zone::UTC, Interval::Day, now);
    if to <= from {
        query.fault("to", &Fault::new("not-after-begin", InvalidQuery::Empty));
    }
    query.finish("question")?;
    // A date stands for its whole day, whose end is the next day's begin.
    let last = Timestamp::from_unix_micros(to.unix_micros() - 1).expect("it is later than the begin");
    Ok((from, last, bots))
}

fn edges(query: &mut Query, zone: Zone, interval: Interval, now: Timestamp) -> (Timestamp, Timestamp) {
    let mut edge = |name, edge| query.take(name, |text| moment(text, zone, edge));
    let (from, to) = (edge("from", Edge::Begin), edge("to", Edge::End).unwrap_or(now));
    (from.or_else(|| to.plus_seconds(-interval.usual_seconds())).unwrap_or(to), to)
}

/// What is wrong with a question whose parameters are valid by themselves.
pub(crate) fn fault(invalid: InvalidQuery) -> FieldProblem {
    let (name, code) = match invalid {
        InvalidQuery::Empty => ("to", "not-after-begin"),
        InvalidQuery::TooLong => ("interval", "too-many-parts"),
        InvalidQuery::NoHours => ("tz", "no-whole-hours"),
    };
    field_problem(format!("query/{name}"), code, &invalid.to_string())
}

pub(crate) fn tag(text: &str) -> Result<String, Fault> {
    Tags::check(text).map_err(text_fault)?;
    Ok(text.to_owned())
}

fn moment(text: &str, zone: Zone, edge: Edge) -> Result<Timestamp, Fault> {
    let wrong = "must be a date such as 2026-11-30, or a time such as 2026-11-30T12:00:00Z, from 1970 on";
    // Dates before that are dates, but there is no statistic of them.
    let code = if text.parse::<Timestamp>().is_ok() || is_date(text) { "before-1970" } else { "not-a-time" };
    zone.moment(text, edge).ok_or_else(|| Fault::new(code, wrong))
}

/// `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    text.len() == "2026-11-30".len() && format!("{text}T00:00:00Z").parse::<Timestamp>().is_ok()
}

fn zone(text: &str) -> Result<Zone, Fault> {
    text.parse().map_err(|error| Fault::new("unknown-zone", error))
}

fn interval(text: &str) -> Result<Interval, Fault> {
    let found = Interval::ALL.into_iter().find(|interval| interval.name() == text);
    found.ok_or_else(|| Fault::new("unknown-value", "must be hour, day, week or month"))
}

fn bots(text: &str) -> Result<Bots, Fault> {
    let found = Bots::ALL.into_iter().find(|bots| bots.name() == text);
    found.ok_or_else(|| Fault::new("unknown-value", "must be exclude, only or include"))
}

fn compare(text: &str) -> Result<bool, Fault> {
    if text == "previous" { Ok(true) } else { Err(Fault::new("unknown-value", "must be previous")) }
}
