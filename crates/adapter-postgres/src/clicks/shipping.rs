//! Counts a batch of clicks, in one transaction.
//!
//! Every transaction locks in the same order: the row of its stream, the totals of its links, the values of dimensions,
//! its owners; rows of one table in the order of their keys. So no two of them wait for each other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use diesel::{QueryResult, prelude::*};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    click::{
        ClickCounts, ClickKind, Day, Dimension, DimensionCounts, Month, OTHER, StoredValues, VisitorSketch,
        limit_values, open_values,
    },
    link::Owner,
    ports::{ClickBatch, LeftOut, Shipped},
};
use uuid::Uuid;

use super::{
    DEFAULT_DOMAIN,
    bulk::{
        AddDays, AddDimensionsOfDays, AddDimensionsOfMonths, AddHours, AddOwnerDimensions, AddOwnerHours, AddTotals,
        AddValues, BeginStream, BusyDays, CrowdedLinks, CrowdedOwners, Locks, MoveStream, Sketches, StoredValueIds,
        WriteSketches,
    },
    signed,
};
use crate::{
    rows::stored,
    schema::{click_streams, links},
    session::Progress,
};

/// The ids of values of dimensions.
type ValueIds = HashMap<(Dimension, Arc<str>), i64>;

/// Whose link each of these is; links that do not exist are missing. Owners never change and links are never removed,
/// so this may be asked before the transaction.
pub(super) async fn owners(
    connection: &mut AsyncPgConnection,
    batch: &ClickBatch,
) -> QueryResult<HashMap<Uuid, String>> {
    let clicked: BTreeSet<_> = batch.clicks.iter().map(|click| click.link).collect();
    if clicked.is_empty() {
        return Ok(HashMap::new());
    }
    let query = links::table.filter(links::id.eq_any(clicked)).select((links::id, links::owner_id));
    Ok(query.load::<(Uuid, String)>(connection).await?.into_iter().collect())
}

/// Counts the batch, unless its stream is counted up to another number.
pub(super) async fn ship(
    connection: &mut AsyncPgConnection,
    progress: &Progress,
    batch: &ClickBatch,
    counts: ClickCounts,
    left_out: &LeftOut,
) -> QueryResult<Shipped> {
    connection
        .transaction(async |connection| {
            if !move_stream(connection, batch).await? {
                // Another shipper that moved it has committed by now, so this reads its number.
                let acked = acked(connection, &batch.stream).await?;
                progress.commits();
                return Ok(Shipped::Elsewhere { acked });
            }
            let of_missing_links = counts.of_missing_links;
            if !counts.totals.is_empty() {
                add(connection, counts, left_out).await?;
            }
            progress.commits();
            QueryResult::Ok(Shipped::Stored { of_missing_links })
        })
        .await
}

/// The number up to which a stream is counted. A stream without a row is counted up to 0.
pub(super) async fn acked(connection: &mut AsyncPgConnection, stream: &Uuid) -> QueryResult<u64> {
    let acked = click_streams::table.find(stream).select(click_streams::acked);
    let acked: Option<i64> = acked.first(connection).await.optional()?;
    Ok(acked.map_or(0, |acked| u64::try_from(acked).expect("a constraint forbids negative numbers")))
}

/// Returns whether it moved.
async fn move_stream(connection: &mut AsyncPgConnection, batch: &ClickBatch) -> QueryResult<bool> {
    let (until, lost, at) = (signed(batch.until), signed(batch.lost), stored(batch.at));
    let moved = if batch.after == 0 {
        let mut statement = BeginStream::default();
        statement.push((batch.stream, until, lost, at));
        statement.execute(connection).await?
    } else {
        let mut statement = MoveStream::default();
        statement.push((batch.stream, signed(batch.after), until, lost, at));
        statement.execute(connection).await?
    };
    Ok(moved == 1)
}

async fn add(connection: &mut AsyncPgConnection, mut counts: ClickCounts, left_out: &LeftOut) -> QueryResult<()> {
    add_totals(connection, &counts).await?;
    add_days(connection, &counts).await?;
    let stored = stored_values_of_links(connection, &counts).await?;
    // Values beyond the limit of a link are not stored at all, so owners count them as other too.
    counts.dimensions = limit_values(counts.dimensions, stored);
    let ids = value_ids(connection, &counts.dimensions).await?;
    add_hours(connection, &counts).await?;
    add_dimensions(connection, &counts.dimensions, &ids).await?;
    add_visitors(connection, &counts, left_out).await?;
    lock_owners(connection, &counts).await?;
    add_owner_hours(connection, &counts).await?;
    add_owner_dimensions(connection, &counts, &ids).await
}

/// Also locks the links until the end of the transaction: everything else of a link is read and written under this.
async fn add_totals(connection: &mut AsyncPgConnection, counts: &ClickCounts) -> QueryResult<()> {
    let mut statement = AddTotals::default();
    for link in counts.links() {
        let owner = counts.owner(link).expect("a counted link has an owner").as_str();
        // The row of humans is the lock, also of a batch with bots alone.
        let humans = counts.totals.get(&(link, ClickKind::Human));
        let (clicks, last_at) = humans.map_or((0, None), |total| (signed(total.clicks), Some(stored(total.last_at))));
        statement.push((link, ClickKind::Human.number(), owner, clicks, last_at));
        if let Some(total) = counts.totals.get(&(link, ClickKind::Bot)) {
            let last_at = Some(stored(total.last_at));
            statement.push((link, ClickKind::Bot.number(), owner, signed(total.clicks), last_at));
        }
    }
    statement.execute(connection).await?;
    Ok(())
}

async fn add_days(connection: &mut AsyncPgConnection, counts: &ClickCounts) -> QueryResult<()> {
    let mut statement = AddDays::default();
    for ((link, day, kind), clicks) in &counts.days {
        statement.push((*link, day.0, kind.number(), signed(*clicks)));
    }
    statement.execute(connection).await?;
    Ok(())
}

async fn add_hours(connection: &mut AsyncPgConnection, counts: &ClickCounts) -> QueryResult<()> {
    let mut statement = AddHours::default();
    for ((link, hour, kind), clicks) in &counts.hours {
        statement.push((*link, hour.0, kind.number(), signed(*clicks)));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// The most values of a dimension, as statements take it.
fn most_values() -> i64 {
    i64::try_from(Dimension::MAX_VALUES).expect("a few hundred")
}

fn fresh_values(count: usize) -> i64 {
    i64::try_from(count).expect("a batch has fewer than 2^63 values")
}

/// The stored values of the links, days and dimensions that this batch may bring beyond the limit. Most cannot: a link
/// has no more values than clicks, and only some dimensions are [open](Dimension::is_open).
async fn stored_values_of_links(
    connection: &mut AsyncPgConnection,
    counts: &ClickCounts,
) -> QueryResult<StoredValues<Uuid>> {
    let mut days = BusyDays::default();
    let counted: BTreeSet<_> = counts.days.keys().map(|(link, day, _)| (*link, *day)).collect();
    for (link, day) in counted {
        days.push((link, day.0, most_values()));
    }
    let busy: HashSet<(Uuid, i32)> = days.load(connection).await?.into_iter().collect();
    let (mut crowded, mut is_any) = (CrowdedLinks::default(), false);
    for ((link, day, dimension), fresh) in open_values(&counts.dimensions) {
        if busy.contains(&(link, day.0)) {
            crowded.push((link, day.0, dimension.number(), fresh_values(fresh), most_values()));
            is_any = true;
        }
    }
    let mut values = StoredValues::new();
    if is_any {
        let rows: Vec<(Uuid, i32, i16, String)> = crowded.load(connection).await?;
        for (link, day, dimension, value) in rows {
            if let Some(dimension) = Dimension::of_number(dimension) {
                values.entry((link, Day(day), dimension)).or_default().insert(value.into());
            }
        }
    }
    Ok(values)
}

/// The same for owners, under their locks.
async fn stored_values_of_owners(
    connection: &mut AsyncPgConnection,
    counts: &DimensionCounts<Owner>,
) -> QueryResult<StoredValues<Owner>> {
    let open = open_values(counts);
    let mut crowded = CrowdedOwners::default();
    for ((owner, day, dimension), fresh) in &open {
        let fresh = fresh_values(*fresh);
        crowded.push((owner.as_str(), day.0, dimension.number(), DEFAULT_DOMAIN, fresh, most_values()));
    }
    let mut values = StoredValues::new();
    let rows: Vec<(String, i32, i16, String)> = crowded.load(connection).await?;
    for (owner, day, dimension, value) in rows {
        if let (Ok(owner), Some(dimension)) = (owner.parse(), Dimension::of_number(dimension)) {
            values.entry((owner, Day(day), dimension)).or_default().insert(value.into());
        }
    }
    Ok(values)
}

/// The ids of all values of these counts, and of [`OTHER`], which an owner may count instead. Stores those that are new.
async fn value_ids(connection: &mut AsyncPgConnection, counts: &DimensionCounts<Uuid>) -> QueryResult<ValueIds> {
    let others = Dimension::ALL.into_iter().filter(|dimension| dimension.is_open());
    let mut missing: BTreeSet<(Dimension, Arc<str>)> = others.map(|dimension| (dimension, OTHER.into())).collect();
    missing.extend(counts.keys().map(|key| (key.dimension, key.value.clone())));
    let mut ids = ValueIds::new();
    read_value_ids(connection, &mut missing, &mut ids).await?;
    if !missing.is_empty() {
        let mut statement = AddValues::default();
        for (dimension, value) in &missing {
            statement.push((dimension.number(), value));
        }
        statement.execute(connection).await?;
        read_value_ids(connection, &mut missing, &mut ids).await?;
    }
    Ok(ids)
}

/// Moves the values that are stored from `missing` to `ids`.
async fn read_value_ids(
    connection: &mut AsyncPgConnection,
    missing: &mut BTreeSet<(Dimension, Arc<str>)>,
    ids: &mut ValueIds,
) -> QueryResult<()> {
    let mut statement = StoredValueIds::default();
    for (dimension, value) in &*missing {
        statement.push((dimension.number(), value));
    }
    let rows: Vec<(i16, String, i64)> = statement.load(connection).await?;
    for (dimension, value, id) in rows {
        let dimension = Dimension::of_number(dimension).expect("it is one of those asked for");
        let key = (dimension, value.into());
        missing.remove(&key);
        ids.insert(key, id);
    }
    Ok(())
}

async fn add_dimensions(
    connection: &mut AsyncPgConnection,
    counts: &DimensionCounts<Uuid>,
    ids: &ValueIds,
) -> QueryResult<()> {
    let (mut days, mut months) = (BTreeMap::new(), BTreeMap::new());
    let mut month_of = HashMap::<Day, Month>::new();
    for (key, clicks) in counts {
        let id = ids[&(key.dimension, key.value.clone())];
        let month = month_of.entry(key.day).or_insert_with(|| key.day.month());
        let (dimension, kind) = (key.dimension.number(), key.kind.number());
        *days.entry((key.subject, key.day.0, dimension, kind, id)).or_insert(0) += signed(*clicks);
        *months.entry((key.subject, month.0, dimension, kind, id)).or_insert(0) += signed(*clicks);
    }
    let mut statement = AddDimensionsOfDays::default();
    for ((link, day, dimension, kind, id), clicks) in days {
        statement.push((link, day, dimension, kind, id, clicks));
    }
    statement.execute(connection).await?;
    let mut statement = AddDimensionsOfMonths::default();
    for ((link, month, dimension, kind, id), clicks) in months {
        statement.push((link, month, dimension, kind, id, clicks));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// Adds visitors to the stored sketches. A sketch that cannot be read is replaced: it would fail every later batch.
async fn add_visitors(connection: &mut AsyncPgConnection, counts: &ClickCounts, left_out: &LeftOut) -> QueryResult<()> {
    if counts.visitors.is_empty() {
        return Ok(());
    }
    let mut statement = Sketches::default();
    for (link, day) in counts.visitors.keys() {
        statement.push((*link, day.0));
    }
    let rows: Vec<(Uuid, i32, Vec<u8>)> = statement.load(connection).await?;
    let mut before: HashMap<_, _> = rows.into_iter().map(|(link, day, sketch)| ((link, Day(day)), sketch)).collect();
    let mut statement = WriteSketches::default();
    for (key, visitors) in &counts.visitors {
        let mut sketch = VisitorSketch::of(visitors.iter().copied());
        let known = before.remove(key).and_then(|bytes| super::read_sketch(left_out, key.0, key.1, &bytes));
        if let Some(known) = known {
            sketch = known.union(&sketch);
        }
        statement.push((key.0, key.1.0, sketch.to_bytes()));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// Advisory locks of owners: "clic" in ASCII.
const OWNERS: i32 = 0x636c_6963;

/// Locks the owners until the end of the transaction, so that the values of their dimensions can be counted. Owners
/// share 256 locks, because the server has room for some thousands only.
async fn lock_owners(connection: &mut AsyncPgConnection, counts: &ClickCounts) -> QueryResult<()> {
    let owners = counts.owner_hours.keys().map(|(owner, ..)| owner.as_str().bytes());
    let numbers: BTreeSet<u8> =
        owners.map(|bytes| bytes.fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte))).collect();
    let mut statement = Locks::default();
    for number in numbers {
        statement.push((OWNERS, number.into()));
    }
    statement.execute(connection).await?;
    Ok(())
}

async fn add_owner_hours(connection: &mut AsyncPgConnection, counts: &ClickCounts) -> QueryResult<()> {
    let mut statement = AddOwnerHours::default();
    for ((owner, hour, kind), clicks) in &counts.owner_hours {
        statement.push((owner.as_str(), hour.0, DEFAULT_DOMAIN, kind.number(), signed(*clicks)));
    }
    statement.execute(connection).await?;
    Ok(())
}

async fn add_owner_dimensions(
    connection: &mut AsyncPgConnection,
    counts: &ClickCounts,
    ids: &ValueIds,
) -> QueryResult<()> {
    let counts = counts.owner_dimensions();
    let stored = stored_values_of_owners(connection, &counts).await?;
    let counts = limit_values(counts, stored);
    let mut statement = AddOwnerDimensions::default();
    for (key, clicks) in &counts {
        let id = ids[&(key.dimension, key.value.clone())];
        let (dimension, kind) = (key.dimension.number(), key.kind.number());
        statement.push((key.subject.as_str(), dimension, key.day.0, DEFAULT_DOMAIN, kind, id, signed(*clicks)));
    }
    statement.execute(connection).await?;
    Ok(())
}
