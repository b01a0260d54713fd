//! Links: the repository and the resolver.

use async_trait::async_trait;
use diesel::{QueryResult, prelude::*};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use domain::{
    address::Address,
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change, Claim, Naming},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, LinkResolver, ListQuery, Page, RepositoryError, Resolved},
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use uuid::Uuid;

use crate::{
    PostgresStore, change,
    claim::{self, Settled},
    error::{Effect, is_code_collision, is_unknown_domain},
    idempotency, list,
    rows::{EventRow, LinkRow, RowPosition, stored},
    schema::{link_events, links},
    session::{Progress, until},
};

#[async_trait]
impl LinkResolver for PostgresStore {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        self.redirects.resolve(address).await
    }
}

#[async_trait]
impl LinkRepository for PostgresStore {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        const DOING: &str = "claiming links";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let outcome = match (candidates, once) {
            // A single statement is a transaction of its own and commits when the server completes it.
            ([candidate], None) => {
                progress.commits();
                until(deadline, claim_one(connection, candidate)).await
            }
            _ => until(deadline, claim_all(connection, &progress, candidates, once)).await,
        };
        let outcome = outcome.map(|result| match result {
            Err(ClaimError::Diesel(error)) if is_code_collision(&error) => Ok(Ok(Claims::CodeCollision)),
            Err(ClaimError::Diesel(error)) if is_unknown_domain(&error) => Ok(Ok(Claims::UnknownDomain)),
            Err(ClaimError::Diesel(error)) => Err(error),
            Err(ClaimError::Corrupt(error)) => Ok(Err(error)),
            Ok(claims) => Ok(Ok(claims)),
        });
        let claims = session.close(progress.effect(), outcome)??;
        if let Claims::Settled(settled) = &claims
            && settled.iter().any(|claim| matches!(claim, Claim::Created(_)))
        {
            self.creations.committed();
        }
        Ok(claims)
    }

    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        const DOING: &str = "finding a link";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let query = links::table
            .filter(links::code.eq(address.code.as_str()))
            .filter(links::domain_id.eq(i16::from(address.domain)))
            .select(LinkRow::as_select());
        let found = until(deadline, query.first(session.connection())).await;
        let row = session.close(Effect::Read, found.map(OptionalExtension::optional))?;
        row.map(|row: LinkRow| row.into_link(DOING)).transpose()
    }

    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        let mut session = self.lists.open("finding links").await?;
        let deadline = session.deadline();
        let query = links::table.filter(links::id.eq_any(ids)).select(LinkRow::as_select());
        let found = until(deadline, query.load(session.connection())).await;
        let rows: Vec<LinkRow> = session.close(Effect::Read, found)?;
        Ok(rows.into_iter().filter_map(|row| self.left_out.unless("links", row.name(), row.parse())).collect())
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let mut session = self.sessions.open("changing a link").await?;
        let (deadline, progress) = (session.deadline(), Progress::default());
        let applying = change::apply(session.connection(), &progress, change, provenance, once);
        let applied = until(deadline, applying).await;
        session.close(progress.effect(), applied)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        let mut session = self.lists.open("listing links").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let after = query.after.map(|at| RowPosition { created_at: stored(at.created_at), id: at.id });
        let mut page = Page::behind(after, query.limit);
        let filled = until(deadline, async {
            while let Some((after, count)) = page.missing() {
                let rows: Vec<LinkRow> = list::statement(query, after, count).load(connection).await?;
                page.take(rows, LinkRow::position, |row| self.left_out.unless("links", row.name(), row.parse()));
            }
            QueryResult::Ok(page.into_items())
        });
        let filled = filled.await;
        session.close(Effect::Read, filled)
    }

    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        let mut session = self.sessions.open("reading a history").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let mut page = Page::behind(before.map(Generation::get), limit);
        let filled = until(deadline, async {
            while let Some((before, count)) = page.missing() {
                let rows: Vec<EventRow> = link_events::table
                    .inner_join(links::table)
                    .filter(links::code.eq(address.code.as_str()))
                    .filter(links::domain_id.eq(i16::from(address.domain)))
                    .filter(link_events::generation.lt(before.unwrap_or(i64::MAX)))
                    .order(link_events::generation.desc())
                    .limit(count)
                    .select(EventRow::as_select())
                    .load(connection)
                    .await?;
                page.take(rows, EventRow::position, |row| {
                    self.left_out.unless("link_events", format!("{address} {}", row.position()), row.parse())
                });
            }
            QueryResult::Ok(page.into_items())
        });
        let filled = filled.await;
        session.close(Effect::Read, filled)
    }
}

/// What can go wrong inside a transaction of claims.
enum ClaimError {
    Diesel(diesel::result::Error),
    Corrupt(RepositoryError),
}

impl From<diesel::result::Error> for ClaimError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Diesel(error)
    }
}

fn into_claim(settled: Settled) -> Result<Claim, ClaimError> {
    settled.into_claim(|row| row.into_link("claiming links")).map_err(ClaimError::Corrupt)
}

async fn claim_one(connection: &AsyncPgConnection, candidate: &Candidate) -> Result<Claims, ClaimError> {
    let settled = claim::settle(connection, candidate).await?;
    Ok(Claims::Settled(vec![into_claim(settled)?]))
}

/// Statements of one transaction that are in flight at the same time. A batch then costs one round trip for this many
/// claims, not one for each. The server executes them one after the other, in the order they were sent.
const PIPELINED: usize = 64;

async fn claim_all(
    connection: &mut AsyncPgConnection,
    progress: &Progress,
    candidates: &[Candidate],
    once: Option<&IdempotentRequest>,
) -> Result<Claims, ClaimError> {
    connection
        .transaction(async |connection| {
            if let Some(request) = once
                && let Some(before) = idempotency::begin(connection, request).await?
            {
                return Ok(Claims::Repeated(before));
            }
            if let Some(lock) = batch_lock(candidates) {
                connection.batch_execute(&lock).await?;
            }
            let mut claims: Vec<_> = candidates.iter().map(|_| Claim::AliasTaken).collect();
            for some in lock_order(candidates).chunks(PIPELINED) {
                let mut under_way = FuturesOrdered::new();
                for index in some {
                    under_way.push_back(claim::settle(connection, &candidates[*index]));
                }
                for index in some {
                    let settled = under_way.next().await.expect("one for each candidate");
                    claims[*index] = into_claim(settled?)?;
                }
            }
            if let Some(request) = once {
                idempotency::finish(connection, request, &request.answered_by(claims.clone())).await?;
            }
            progress.commits();
            Ok(Claims::Settled(claims))
        })
        .await
}

/// Advisory lock that a batch holds until its transaction ends: "claim" in ASCII.
const BATCHES: i64 = 0x63_6c61_696d;

/// The lock statement that a batch runs first; `None` if it needs none. A claim finds an existing link by its behaviour
/// or by its code. Two batches that mix both kinds can reach the same links in opposite orders, however each is sorted,
/// and deadlock. So batches that find all links by behaviour hold the lock shared and run concurrently. A batch with an
/// alias or a separate link holds the lock exclusively and runs alone among batches. A single claim locks one link only
/// and needs no batch lock.
fn batch_lock(candidates: &[Candidate]) -> Option<String> {
    let all_shared = candidates.iter().all(|candidate| match candidate.naming {
        Naming::Shared => true,
        Naming::Alias | Naming::Separate => false,
    });
    match (candidates, all_shared) {
        ([] | [_], _) => None,
        (_, true) => Some(format!("SELECT pg_advisory_xact_lock_shared({BATCHES})")),
        (_, false) => Some(format!("SELECT pg_advisory_xact_lock({BATCHES})")),
    }
}

/// The order in which a batch settles its claims. Links that are found by behaviour are sorted by deduplication key,
/// the same in every batch; otherwise two batches could deadlock. Candidates for the same link keep their order.
fn lock_order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<_> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|index| {
        let Candidate { link, naming, .. } = &candidates[*index];
        match naming {
            Naming::Shared => (0, Some((link.dedup_key(), link.domain)), None),
            Naming::Alias => (1, None, Some(link.address())),
            Naming::Separate => (2, None, None),
        }
    });
    order
}
