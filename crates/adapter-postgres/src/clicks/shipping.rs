//! Counts a batch of clicks, in one transaction.
//!
//! Every transaction locks in the same order: the row of its stream, the totals of its links, its owners; rows of one
//! table in the order of their keys. So no two of them wait for each other.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use diesel::{QueryResult, prelude::*};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    click::{ClickCounts, Day, FreshCounts, KindCounts, LinkDay, LinkTotal, OwnerDay, VisitorSketch},
    ports::{ClickBatch, LeftOut, Shipped, in_column},
};
use uuid::Uuid;

use super::{
    bulk::{AddTotals, BeginStream, DaysOfLinks, DaysOfOwners, Locks, MoveStream, WriteDaysOfLinks, WriteDaysOfOwners},
    read_sketch, signed,
};
use crate::{
    rows::stored,
    schema::{click_streams, links},
    session::Progress,
};

/// The counts and the visitors of a link on a day, as they are stored.
type StoredDay = (Uuid, i32, Vec<u8>, Option<Vec<u8>>);

/// Whose link each of these is, and on which short domain; links that do not exist are missing. Owners never change and links are never removed,
/// so this may be asked before the transaction.
pub(super) async fn owners(
    connection: &mut AsyncPgConnection,
    batch: &ClickBatch,
) -> QueryResult<Vec<(Uuid, String, i16)>> {
    let clicked: BTreeSet<_> = batch.clicks.iter().map(|click| click.link).collect();
    if clicked.is_empty() {
        return Ok(Vec::new());
    }
    let query = links::table.filter(links::id.eq_any(clicked)).select((links::id, links::owner_id, links::domain_id));
    query.load(connection).await
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
            if !counts.links.is_empty() {
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

async fn add(connection: &mut AsyncPgConnection, counts: ClickCounts, left_out: &LeftOut) -> QueryResult<()> {
    add_totals(connection, &counts.links).await?;
    lock_owners(connection, &counts).await?;
    add_days_of_links(connection, counts.days, left_out).await?;
    add_days_of_owners(connection, &counts.owners, left_out).await
}

/// Also locks the links until the end of the transaction: everything else of a link is read and written under this.
async fn add_totals(connection: &mut AsyncPgConnection, totals: &[LinkTotal]) -> QueryResult<()> {
    let mut statement = AddTotals::default();
    for LinkTotal { link, owner, clicks: KindCounts { humans, bots }, last_at } in totals {
        statement.push((*link, owner.owner.as_str(), signed(*humans), signed(*bots), stored(*last_at)));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// Adds to the stored counts and visitors. Those that cannot be read are replaced: they would fail every later batch.
async fn add_days_of_links(
    connection: &mut AsyncPgConnection,
    days: Vec<LinkDay>,
    left_out: &LeftOut,
) -> QueryResult<()> {
    let mut statement = DaysOfLinks::default();
    for day in &days {
        statement.push((day.link, day.day.0));
    }
    let rows: Vec<StoredDay> = statement.load(connection).await?;
    let mut before: HashMap<_, _> =
        rows.into_iter().map(|(link, day, counts, visitors)| ((link, Day(day)), (counts, visitors))).collect();
    let mut statement = WriteDaysOfLinks::default();
    for LinkDay { link, day, clicks: KindCounts { humans, bots }, counts, visitors } in days {
        let (counts_before, known) = before.remove(&(link, day)).map_or((None, None), |(counts, v)| (Some(counts), v));
        let sum = counts_before.and_then(|bytes| sum_of(left_out, "link_days", (day, link), &counts, &bytes));
        let known = known.and_then(|bytes| read_sketch(left_out, (day, link), &bytes).map(|sketch| (bytes, sketch)));
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
        statement.push((link, day.0, signed(humans), signed(bots), counts, visitors));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// The same for owners.
async fn add_days_of_owners(
    connection: &mut AsyncPgConnection,
    days: &[OwnerDay],
    left_out: &LeftOut,
) -> QueryResult<()> {
    let mut statement = DaysOfOwners::default();
    for day in days {
        statement.push((day.owner.owner.as_str(), day.day.0, day.owner.domain.into()));
    }
    let rows: Vec<(String, i32, i16, Vec<u8>)> = statement.load(connection).await?;
    let before: HashMap<_, _> =
        rows.iter().map(|(owner, day, domain, counts)| ((owner.as_str(), Day(*day), *domain), counts)).collect();
    let mut statement = WriteDaysOfOwners::default();
    for OwnerDay { owner, day, clicks: KindCounts { humans, bots }, counts } in days {
        let (owner, domain) = (owner.owner.as_str(), i16::from(owner.domain));
        let sum = before.get(&(owner, *day, domain));
        let sum = sum.and_then(|bytes| sum_of(left_out, "owner_days", (*day, owner), counts, bytes));
        let counts = sum.unwrap_or_else(|| counts.to_stored());
        statement.push((owner, day.0, domain, signed(*humans), signed(*bots), counts));
    }
    statement.execute(connection).await?;
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

/// Advisory locks of owners: "clic" in ASCII.
const OWNERS: i32 = 0x636c_6963;

/// Locks the owners until the end of the transaction, so that their days can be read and written. Owners
/// share 256 locks, because the server has room for some thousands only.
async fn lock_owners(connection: &mut AsyncPgConnection, counts: &ClickCounts) -> QueryResult<()> {
    let owners = counts.owners.iter().map(|day| day.owner.owner.as_str().bytes());
    let numbers: BTreeSet<u8> =
        owners.map(|bytes| bytes.fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte))).collect();
    let mut statement = Locks::default();
    for number in numbers {
        statement.push((OWNERS, number.into()));
    }
    statement.execute(connection).await?;
    Ok(())
}
