//! Counts a batch of clicks, in one transaction. Only one connection writes, so no row needs a lock.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use diesel::{
    QueryResult,
    prelude::*,
    sql_query,
    sql_types::{SmallInt, Text},
};
use domain::{
    click::{ClickCounts, Day, FreshCounts, KindCounts, LinkDay, LinkOwner, OwnerDay, VisitorSketch},
    ports::{ClickBatch, LeftOut, Shipped, in_column},
};
use uuid::Uuid;

use super::{
    list_of, read_sketch,
    rows::{AddTotal, BeginStream, DayOfLink, DayOfOwner, MoveStream, WriteDayOfLink, WriteDayOfOwner},
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
) -> QueryResult<HashMap<Uuid, LinkOwner>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Binary)]
        id: Vec<u8>,
        #[diesel(sql_type = Text)]
        owner_id: String,
        #[diesel(sql_type = SmallInt)]
        domain_id: i16,
    }
    let query = "SELECT id, owner_id, domain_id FROM links WHERE id IN (SELECT unhex(value) FROM json_each(?))";
    let rows: Vec<Row> = sql_query(query).bind::<Text, _>(list_of(links)).load(connection)?;
    let read = |row: Row| {
        let owner = in_column("id", Uuid::from_slice(&row.id)).and_then(|link| {
            let domain = in_column("domain_id", row.domain_id.try_into())?;
            Ok((link, LinkOwner { owner: in_column("owner_id", row.owner_id.parse())?, domain }))
        });
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

fn add(connection: &mut SqliteConnection, counts: ClickCounts, left_out: &LeftOut) -> QueryResult<()> {
    for total in &counts.links {
        let KindCounts { humans, bots } = total.clicks;
        let (link_id, owner, last_at) =
            (total.link.as_bytes(), total.owner.owner.as_str(), total.last_at.unix_micros());
        AddTotal { link_id, owner, humans: signed(humans), bots: signed(bots), last_at }.execute(connection)?;
    }
    let mut days = counts.days;
    // In the order of their key, so that each page is written once.
    days.sort_unstable_by_key(|day| (day.day, day.link));
    days.into_iter().try_for_each(|day| add_day_of_link(connection, day, left_out))?;
    counts.owners.into_iter().try_for_each(|day| add_day_of_owner(connection, day, left_out))
}

/// Adds to the stored counts and visitors. Those that cannot be read are replaced: they would fail every later batch.
fn add_day_of_link(connection: &mut SqliteConnection, more: LinkDay, left_out: &LeftOut) -> QueryResult<()> {
    let LinkDay { link, day, clicks: KindCounts { humans, bots }, counts, visitors } = more;
    let (id, link_id) = ((day, link), link.as_bytes().as_slice());
    let stored: Option<(Vec<u8>, Option<Vec<u8>>)> =
        DayOfLink { day: day.0, link_id }.get_result(connection).optional()?;
    let (stored, known) = stored.map_or((None, None), |(counts, visitors)| (Some(counts), visitors));
    let sum = stored.and_then(|stored| sum_of(left_out, "link_days", id, &counts, &stored));
    let known = known.and_then(|bytes| read_sketch(left_out, id, &bytes).map(|sketch| (bytes, sketch)));
    let visitors = match known {
        Some((bytes, _)) if visitors.is_empty() => Some(bytes),
        None if visitors.is_empty() => None,
        known => {
            let mut sketch = known.map_or_else(VisitorSketch::default, |(_, sketch)| sketch);
            sketch.add(visitors);
            Some(sketch.to_bytes())
        }
    };
    let counts = sum.unwrap_or_else(|| counts.to_stored());
    let (humans, bots) = (signed(humans), signed(bots));
    WriteDayOfLink { day: day.0, link_id, humans, bots, counts, visitors }.execute(connection)?;
    Ok(())
}

/// The same for an owner.
fn add_day_of_owner(connection: &mut SqliteConnection, more: OwnerDay, left_out: &LeftOut) -> QueryResult<()> {
    let OwnerDay { owner, day, clicks: KindCounts { humans, bots }, counts } = more;
    let (owner, domain_id) = (owner.owner.as_str(), i16::from(owner.domain).into());
    let stored: Option<(Vec<u8>,)> = DayOfOwner { owner, day: day.0, domain_id }.get_result(connection).optional()?;
    let sum = stored.and_then(|(stored,)| sum_of(left_out, "owner_days", (day, owner), &counts, &stored));
    let counts = sum.unwrap_or_else(|| counts.to_stored());
    let (humans, bots) = (signed(humans), signed(bots));
    WriteDayOfOwner { owner, day: day.0, domain_id, humans, bots, counts }.execute(connection)?;
    Ok(())
}

/// Stored counts with `more`; `None` if the stored ones cannot be read.
fn sum_of(
    left_out: &LeftOut,
    table: &'static str,
    (day, of): (Day, impl fmt::Display),
    more: &FreshCounts,
    stored: &[u8],
) -> Option<Vec<u8>> {
    let sum = in_column("counts", more.added_to(stored));
    left_out.unless(table, format_args!("{} {of}", day.0), sum.map_err(Into::into))
}
