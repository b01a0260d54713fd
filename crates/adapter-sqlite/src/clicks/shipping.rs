//! Counts a batch of clicks, in one transaction. Only one connection writes, so no row needs a lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use diesel::{QueryResult, prelude::*, sql_query, sql_types::Text};
use domain::{
    click::{
        ClickCounts, Day, Dimension, DimensionCounts, Month, StoredValues, VisitorSketch, limit_values, open_values,
    },
    link::Owner,
    ports::{ClickBatch, LeftOut, Shipped, in_column},
};
use uuid::Uuid;

use super::{
    DEFAULT_DOMAIN, list_of, read_sketch,
    rows::{
        AddDay, AddDimensionOfDay, AddDimensionOfMonth, AddHour, AddOwnerDimension, AddOwnerHour, AddTotal, AddValue,
        BeginStream, ClicksOfDay, KnownOfLink, KnownOfOwner, MoveStream, Sketch, ValueId, ValuesOfLink, ValuesOfOwner,
        WriteSketch,
    },
    schema::click_streams,
    signed,
};
use crate::{rows::hex, writer::Undo};

/// Which records of a stream a batch is.
pub(super) struct Records {
    stream: Uuid,
    after: i64,
    until: i64,
    lost: i64,
    at: i64,
}

impl From<&ClickBatch> for Records {
    fn from(batch: &ClickBatch) -> Self {
        Self {
            stream: batch.stream,
            after: signed(batch.after),
            until: signed(batch.until),
            lost: signed(batch.lost),
            at: batch.at.unix_micros(),
        }
    }
}

/// Whose link each of these is, from the file of links; links that do not exist are missing.
pub(super) fn owners(
    connection: &mut SqliteConnection,
    links: &BTreeSet<Uuid>,
    left_out: &LeftOut,
) -> QueryResult<HashMap<Uuid, Owner>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Binary)]
        id: Vec<u8>,
        #[diesel(sql_type = Text)]
        owner_id: String,
    }
    let query = "SELECT id, owner_id FROM links WHERE id IN (SELECT unhex(value) FROM json_each(?))";
    let rows: Vec<Row> = sql_query(query).bind::<Text, _>(list_of(links)).load(connection)?;
    let read = |row: Row| {
        let owner = in_column("id", Uuid::from_slice(&row.id))
            .and_then(|link| Ok((link, in_column("owner_id", row.owner_id.parse())?)));
        left_out.unless("links", hex(&row.id), owner.map_err(Into::into))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Counts the batch, unless its stream is counted up to another number.
pub(super) fn ship(
    connection: &mut SqliteConnection,
    records: &Records,
    counts: ClickCounts,
    left_out: &LeftOut,
) -> Result<Shipped, Undo<Shipped>> {
    if !move_stream(connection, records)? {
        return Ok(Shipped::Elsewhere { acked: acked(connection, &records.stream)? });
    }
    let of_missing_links = counts.of_missing_links;
    add(connection, counts, left_out).map_err(Undo::Half)?;
    Ok(Shipped::Stored { of_missing_links })
}

/// The number up to which a stream is counted. A stream without a row is counted up to 0.
pub(super) fn acked(connection: &mut SqliteConnection, stream: &Uuid) -> QueryResult<u64> {
    let acked = click_streams::table.find(stream.as_bytes().as_slice()).select(click_streams::acked);
    let acked: Option<i64> = acked.get_result(connection).optional()?;
    Ok(acked.map_or(0, |acked| u64::try_from(acked).expect("a constraint forbids negative numbers")))
}

/// Returns whether it moved.
fn move_stream(connection: &mut SqliteConnection, records: &Records) -> QueryResult<bool> {
    let Records { stream, after, until, lost, at } = *records;
    let id = stream.as_bytes();
    let moved = match after {
        0 => BeginStream { id, until, lost, at }.execute(connection)?,
        _ => MoveStream { id, after, until, lost, at }.execute(connection)?,
    };
    Ok(moved == 1)
}

fn add(connection: &mut SqliteConnection, mut counts: ClickCounts, left_out: &LeftOut) -> QueryResult<()> {
    for ((link, kind), total) in &counts.totals {
        let (link_id, kind, owner) = (link.as_bytes().as_slice(), kind.number().into(), total.owner.as_str());
        let (clicks, last_at) = (signed(total.clicks), total.last_at.unix_micros());
        AddTotal { link_id, kind, owner, clicks, last_at }.execute(connection)?;
    }
    for ((link, hour, kind), clicks) in &counts.hours {
        let (link_id, hour, kind, clicks) = (link.as_bytes().as_slice(), hour.0, kind.number().into(), signed(*clicks));
        AddHour { link_id, hour, kind, clicks }.execute(connection)?;
    }
    for ((link, day, kind), clicks) in &counts.days {
        let (link_id, day, kind, clicks) = (link.as_bytes().as_slice(), day.0, kind.number().into(), signed(*clicks));
        AddDay { link_id, day, kind, clicks }.execute(connection)?;
    }
    let stored = stored_values_of_links(connection, &counts.dimensions)?;
    // Values beyond the limit of a link are not stored at all, so owners count them as other too.
    counts.dimensions = limit_values(counts.dimensions, stored);
    let mut ids = ValueIds::default();
    add_dimensions(connection, &counts.dimensions, &mut ids)?;
    add_visitors(connection, &counts, left_out)?;
    for ((owner, hour, kind), clicks) in &counts.owner_hours {
        let (owner, hour, kind, clicks) = (owner.as_str(), hour.0, kind.number().into(), signed(*clicks));
        AddOwnerHour { owner, hour, domain_id: DEFAULT_DOMAIN, kind, clicks }.execute(connection)?;
    }
    add_owner_dimensions(connection, counts.owner_dimensions(), &mut ids)
}

/// Whether `fresh` new values may bring a dimension with `stored` ones beyond the limit.
fn may_be_too_many(stored: i64, fresh: usize) -> bool {
    usize::try_from(stored).is_ok_and(|stored| stored + fresh > Dimension::MAX_VALUES)
}

/// The stored values of the links, days and dimensions that this batch may bring beyond the limit. Most cannot: a link
/// has no more values than clicks, and only some dimensions are [open](Dimension::is_open).
fn stored_values_of_links(
    connection: &mut SqliteConnection,
    counts: &DimensionCounts<Uuid>,
) -> QueryResult<StoredValues<Uuid>> {
    let (mut values, mut clicks_of_days) = (StoredValues::new(), HashMap::<(Uuid, Day), i64>::new());
    for ((link, day, open), fresh) in open_values(counts) {
        let (link_id, dimension) = (link.as_bytes().as_slice(), open.number().into());
        let clicks = match clicks_of_days.get(&(link, day)) {
            Some(clicks) => *clicks,
            None => ClicksOfDay { link_id, day: day.0 }.get_result::<(i64,)>(connection)?.0,
        };
        clicks_of_days.insert((link, day), clicks);
        if usize::try_from(clicks).is_ok_and(|clicks| clicks <= Dimension::MAX_VALUES) {
            continue;
        }
        let (stored,): (i64,) = ValuesOfLink { link_id, day: day.0, dimension }.get_result(connection)?;
        if may_be_too_many(stored, fresh) {
            let known: Vec<(String,)> = KnownOfLink { link_id, day: day.0, dimension }.load(connection)?;
            values.insert((link, day, open), known.into_iter().map(|(value,)| value.into()).collect());
        }
    }
    Ok(values)
}

/// The same for owners.
fn stored_values_of_owners(
    connection: &mut SqliteConnection,
    counts: &DimensionCounts<Owner>,
) -> QueryResult<StoredValues<Owner>> {
    let mut values = StoredValues::new();
    for ((of, day, open), fresh) in open_values(counts) {
        let (owner, dimension, domain_id) = (of.as_str(), open.number().into(), DEFAULT_DOMAIN);
        let (stored,): (i64,) = ValuesOfOwner { owner, dimension, day: day.0, domain_id }.get_result(connection)?;
        if may_be_too_many(stored, fresh) {
            let known: Vec<(String,)> = KnownOfOwner { owner, dimension, day: day.0, domain_id }.load(connection)?;
            values.insert((of, day, open), known.into_iter().map(|(value,)| value.into()).collect());
        }
    }
    Ok(values)
}

/// The ids of values of dimensions. Values that are not stored yet are stored when they are asked for.
#[derive(Default)]
struct ValueIds(HashMap<(Dimension, Arc<str>), i64>);

impl ValueIds {
    fn of(&mut self, connection: &mut SqliteConnection, of: Dimension, value: &Arc<str>) -> QueryResult<i64> {
        if let Some(id) = self.0.get(&(of, value.clone())) {
            return Ok(*id);
        }
        let dimension = of.number().into();
        let known = ValueId { dimension, value }.get_result::<(i64,)>(connection).optional()?;
        let (id,) = match known {
            Some(id) => id,
            None => AddValue { dimension, value }.get_result(connection)?,
        };
        self.0.insert((of, value.clone()), id);
        Ok(id)
    }
}

fn add_dimensions(
    connection: &mut SqliteConnection,
    counts: &DimensionCounts<Uuid>,
    ids: &mut ValueIds,
) -> QueryResult<()> {
    let (mut days, mut months) = (BTreeMap::new(), BTreeMap::new());
    let mut month_of = HashMap::<Day, Month>::new();
    for (key, clicks) in counts {
        let id = ids.of(connection, key.dimension, &key.value)?;
        let month = month_of.entry(key.day).or_insert_with(|| key.day.month());
        let (dimension, kind): (i32, i32) = (key.dimension.number().into(), key.kind.number().into());
        *days.entry((key.subject, key.day.0, dimension, kind, id)).or_insert(0) += signed(*clicks);
        *months.entry((key.subject, month.0, dimension, kind, id)).or_insert(0) += signed(*clicks);
    }
    for ((link, day, dimension, kind, value_id), clicks) in days {
        let link_id = link.as_bytes();
        AddDimensionOfDay { link_id, day, dimension, kind, value_id, clicks }.execute(connection)?;
    }
    for ((link, month, dimension, kind, value_id), clicks) in months {
        let link_id = link.as_bytes();
        AddDimensionOfMonth { link_id, month, dimension, kind, value_id, clicks }.execute(connection)?;
    }
    Ok(())
}

/// Adds visitors to the stored sketches. A sketch that cannot be read is replaced: it would fail every later batch.
fn add_visitors(connection: &mut SqliteConnection, counts: &ClickCounts, left_out: &LeftOut) -> QueryResult<()> {
    for ((link, on), visitors) in &counts.visitors {
        let (link_id, day) = (link.as_bytes().as_slice(), on.0);
        let mut sketch = VisitorSketch::of(visitors.iter().copied());
        let stored: Option<(Vec<u8>,)> = Sketch { link_id, day }.get_result(connection).optional()?;
        if let Some(known) = stored.and_then(|(bytes,)| read_sketch(left_out, *link, *on, &bytes)) {
            sketch = known.union(&sketch);
        }
        WriteSketch { link_id, day, sketch: sketch.to_bytes() }.execute(connection)?;
    }
    Ok(())
}

fn add_owner_dimensions(
    connection: &mut SqliteConnection,
    counts: DimensionCounts<Owner>,
    ids: &mut ValueIds,
) -> QueryResult<()> {
    let stored = stored_values_of_owners(connection, &counts)?;
    for (key, clicks) in limit_values(counts, stored) {
        let value_id = ids.of(connection, key.dimension, &key.value)?;
        let (owner, dimension, kind) = (key.subject.as_str(), key.dimension.number().into(), key.kind.number().into());
        let (day, domain_id, clicks) = (key.day.0, DEFAULT_DOMAIN, signed(clicks));
        AddOwnerDimension { owner, dimension, day, domain_id, kind, value_id, clicks }.execute(connection)?;
    }
    Ok(())
}
