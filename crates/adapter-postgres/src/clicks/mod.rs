//! Counts of clicks. Shipping and statistics have connections of their own, so that neither delays the other, nor
//! redirects, nor the API.

mod bulk;
mod shipping;
mod statistics;
mod upkeep;

use std::{collections::HashMap, ops::Range};

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use domain::{
    address::DomainId,
    click::{ClickCounts, ClickKind, Counted, DailySalt, Day, Hour, LinkOwner, Orphan, ValueCount, VisitorSketch},
    link::Owner,
    ports::{
        ClickBatch, ClickRepository, ClickTotals, LeftOut, RepositoryError, Shipped, StatisticsOf, UnreadableColumn,
        in_column,
    },
};
use uuid::Uuid;

use crate::{
    PostgresStore,
    error::{Effect, corrupt},
    schema::click_streams,
    session::{Progress, until},
};

#[async_trait]
impl ClickRepository for PostgresStore {
    async fn store(&self, batch: &ClickBatch) -> Result<Shipped, RepositoryError> {
        let mut session = self.shipping.open("storing clicks").await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let shipped = until(deadline, async {
            let owners = shipping::owners(connection, batch).await?;
            let read = |owner: String, domain: i16| -> Result<_, UnreadableColumn> {
                let domain = in_column("domain_id", DomainId::try_from(domain))?;
                Ok(LinkOwner { owner: in_column("owner_id", owner.parse())?, domain })
            };
            let readable = owners.into_iter().filter_map(|(link, owner, domain)| {
                let owner = self.left_out.unless("links", link, read(owner, domain).map_err(Into::into));
                Some((link, owner?))
            });
            let counts = ClickCounts::of(&batch.clicks, &readable.collect());
            shipping::ship(connection, &progress, batch, counts, &self.left_out).await
        })
        .await;
        session.close(progress.effect(), shipped)
    }

    async fn acked(&self, stream: &Uuid) -> Result<u64, RepositoryError> {
        let mut session = self.shipping.open("reading how far a stream is counted").await?;
        let deadline = session.deadline();
        let acked = until(deadline, shipping::acked(session.connection(), stream)).await;
        session.close(Effect::Read, acked)
    }

    async fn forget_stream(&self, stream: &Uuid) -> Result<(), RepositoryError> {
        let mut session = self.shipping.open("forgetting a stream of clicks").await?;
        let deadline = session.deadline();
        let gone = diesel::delete(click_streams::table.find(stream)).execute(session.connection());
        let gone = until(deadline, gone).await;
        session.close(Effect::Write, gone).map(drop)
    }

    async fn add_orphans(&self, orphans: &HashMap<Orphan, u64>) -> Result<(), RepositoryError> {
        if orphans.values().all(|count| *count == 0) {
            return Ok(());
        }
        let mut session = self.shipping.open("counting visits that led nowhere").await?;
        let deadline = session.deadline();
        let added = until(deadline, upkeep::add_orphans(session.connection(), orphans)).await;
        session.close(Effect::Write, added)
    }

    async fn salt(&self, fresh: &DailySalt) -> Result<DailySalt, RepositoryError> {
        const DOING: &str = "agreeing on a salt";
        let mut session = self.shipping.open(DOING).await?;
        let deadline = session.deadline();
        let kept = until(deadline, upkeep::keep_salt(session.connection(), fresh)).await;
        let key = session.close(Effect::Write, kept)?;
        let key = key.try_into().map_err(|_| corrupt(DOING, "a salt of the wrong length"))?;
        Ok(DailySalt::new(fresh.day(), key))
    }

    async fn forget(&self, salts: Day, hours: Hour) -> Result<(), RepositoryError> {
        self.forget_clicks(salts, hours).await
    }

    async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError> {
        let mut session = self.shipping.open("erasing the clicks of a link").await?;
        let (deadline, progress) = (session.deadline(), Progress::default());
        let erased = until(deadline, upkeep::erase(session.connection(), &progress, link)).await;
        session.close(progress.effect(), erased)
    }

    async fn totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        self.click_totals(links).await
    }

    async fn hours(&self, of: &StatisticsOf, range: Range<Hour>) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        self.clicks_by_hour(of, range).await
    }

    async fn days(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<Counted<Day>>, RepositoryError> {
        self.clicks_by_day(of, range).await
    }

    async fn dimensions(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<ValueCount>, RepositoryError> {
        self.clicks_by_value(of, range).await
    }

    async fn visitors(&self, link: &Uuid, range: Range<Day>) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        self.visitors_by_day(link, range).await
    }

    async fn top(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        self.most_clicked(owner, kinds, range, limit).await
    }

    async fn orphans(&self, range: Range<Day>) -> Result<Vec<(Orphan, u64)>, RepositoryError> {
        self.orphans_by_day(range).await
    }
}

/// A count as it is stored.
fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("fewer than 2^63 clicks are ever counted")
}

/// The sketch of the visitors of a link on a day; `None` if it cannot be read.
fn read_sketch(left_out: &LeftOut, (day, link): (Day, Uuid), bytes: &[u8]) -> Option<VisitorSketch> {
    let sketch = in_column("visitors", VisitorSketch::from_bytes(bytes));
    left_out.unless("link_days", format_args!("{} {link}", day.0), sketch.map_err(Into::into))
}
