//! Links: the repository and the resolver. The writer runs the domain's own rules inside its transaction.

use async_trait::async_trait;
use diesel::prelude::*;
use domain::{
    address::Address,
    history::{LinkEvent, Provenance},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    lifecycle::{Candidate, Change},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, LinkResolver, ListQuery, Page, RepositoryError, Resolved},
};
use uuid::Uuid;

use crate::{
    SqliteStore,
    claim::{self, Guess},
    idempotency, list,
    rows::{EventRow, LinkRow, ResolutionRow},
    schema::{link_events, links},
    statements::{add_event, at, by_address, update},
    writer::Undo,
};

#[async_trait]
impl LinkResolver for SqliteStore {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        let address = address.clone();
        self.threads
            .look_up("resolving a code", move |connection| {
                at!(address)
                    .select(ResolutionRow::as_select())
                    .get_result(connection)
                    .optional()?
                    .map(ResolutionRow::into_resolution)
                    .transpose()
            })
            .await
            .map(Resolved::by_store)
    }
}

#[async_trait]
impl LinkRepository for SqliteStore {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        const DOING: &str = "claiming links";
        // A claim that changes nothing need not wait for the writer.
        if let ([candidate], None) = (candidates, once)
            && !self.new_in_a_row.are_many()
        {
            let candidate = candidate.clone();
            let known =
                self.threads.look_up(DOING, move |connection| claim::unchanged_by(connection, &candidate)).await?;
            if let Some(claim) = known {
                return Ok(Claims::Settled(vec![claim]));
            }
        }
        let (candidates, once) = (candidates.to_vec(), once.cloned());
        let guess = if self.new_in_a_row.are_many() { Guess::New } else { Guess::Nothing };
        let is_one = candidates.len() == 1 && once.is_none();
        let settle = move |connection: &mut _| claim::settle_all(connection, &candidates, once.as_ref(), guess);
        let outcome = if is_one {
            self.threads.write_whole(DOING, settle).await
        } else {
            self.threads.write(DOING, settle).await
        };
        self.new_in_a_row.note(&outcome);
        outcome
    }

    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        let address = address.clone();
        self.threads.look_up("finding a link", move |connection| by_address(connection, &address)).await
    }

    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        let ids: Vec<_> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        let left_out = self.left_out.clone();
        self.threads
            .look_up("finding links", move |connection| {
                let rows = links::table.filter(links::id.eq_any(ids)).select(LinkRow::as_select());
                let rows: Vec<LinkRow> = rows.load(connection)?;
                Ok(rows.into_iter().filter_map(|row| left_out.unless("links", row.name(), row.parse())).collect())
            })
            .await
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let (change, provenance, once) = (change.clone(), provenance.clone(), once.cloned());
        self.threads
            .write("changing a link", move |connection| apply(connection, &change, provenance, once.as_ref()))
            .await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        let (query, left_out) = (query.clone(), self.left_out.clone());
        self.threads
            .scan("listing links", move |connection, caller| list::links(connection, caller, &query, &left_out))
            .await
    }

    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        let (address, left_out) = (address.clone(), self.left_out.clone());
        self.threads
            .look_up("reading a history", move |connection| {
                let mut page = Page::behind(before.map(Generation::get), limit);
                while let Some((before, count)) = page.missing() {
                    let rows: Vec<EventRow> = link_events::table
                        .inner_join(links::table)
                        .filter(links::code.eq(address.code.as_str()))
                        .filter(links::domain_id.eq(i16::from(address.domain)))
                        .filter(link_events::generation.lt(before.unwrap_or(i64::MAX)))
                        .order(link_events::generation.desc())
                        .limit(count)
                        .select(EventRow::as_select())
                        .load(connection)?;
                    page.take(rows, EventRow::position, |row| {
                        left_out.unless("link_events", format!("{address} {}", row.position()), row.parse())
                    });
                }
                Ok(page.into_items())
            })
            .await
    }
}

fn apply(
    connection: &mut SqliteConnection,
    change: &Change,
    provenance: Provenance,
    once: Option<&IdempotentRequest>,
) -> Result<Applied, Undo<Applied>> {
    if let Some(request) = once
        && let Some(before) = idempotency::known_answer(connection, request)?
    {
        return Ok(Applied::Repeated(before));
    }
    let known = at!(change.after).select(links::generation).get_result::<i64>(connection);
    let Some(generation) = known.optional()? else {
        return Ok(Applied::Missing);
    };
    if generation != change.from.get() {
        return Ok(Applied::Stale);
    }
    update(connection, &change.after)?;
    add_event(connection, &change.after, &change.event(provenance))?;
    if let Some(request) = once {
        idempotency::keep(connection, request, &IdempotencyRecord::Link(change.after.clone()))?;
    }
    Ok(Applied::Done)
}
