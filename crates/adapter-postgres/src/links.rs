//! Links: the repository and the resolver.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    code::Code,
    history::{LinkEvent, Provenance},
    idempotency::{IdempotentRequest, RecordedAnswer},
    lifecycle::{Candidate, Change, Claim, Naming},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, LinkResolver, ListQuery, RepositoryError, Resolved},
};
use futures_util::{StreamExt, stream::FuturesOrdered};

use crate::{
    PostgresStore, answers, change,
    claim::{self, Settled},
    error::{Effect, is_code_collision},
    list,
    rows::{EventRow, LinkRow},
    schema::{link_events, links},
    session::{Progress, until},
};

#[async_trait]
impl LinkResolver for PostgresStore {
    async fn resolve(&self, code: &Code) -> Result<Resolved, RepositoryError> {
        self.redirects.resolve(code).await
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
            // One statement is a transaction of its own, committed when the server is done with it.
            ([candidate], None) => {
                progress.commits();
                until(deadline, claim_one(connection, candidate)).await
            }
            _ => until(deadline, claim_all(connection, &progress, candidates, once)).await,
        };
        let outcome = outcome.map(|result| match result {
            Err(ClaimError::Diesel(error)) if is_code_collision(&error) => Ok(Ok(Claims::CodeCollision)),
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

    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError> {
        const DOING: &str = "finding a link";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let query = links::table.filter(links::code.eq(code.as_str())).select(LinkRow::as_select());
        let found = until(deadline, query.first(session.connection())).await;
        let row = session.close(Effect::Read, found.map(OptionalExtension::optional))?;
        row.map(|row: LinkRow| row.into_link(DOING)).transpose()
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
        const DOING: &str = "listing links";
        let mut session = self.lists.open(DOING).await?;
        let deadline = session.deadline();
        let rows = until(deadline, list::statement(query).load(session.connection())).await;
        let rows: Vec<LinkRow> = session.close(Effect::Read, rows)?;
        rows.into_iter().map(|row| row.into_link(DOING)).collect()
    }

    async fn history(
        &self,
        code: &Code,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        const DOING: &str = "reading a history";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let query = link_events::table
            .inner_join(links::table)
            .filter(links::code.eq(code.as_str()))
            .filter(link_events::generation.lt(before.map_or(i64::MAX, Generation::get)))
            .order(link_events::generation.desc())
            .limit(i64::from(limit))
            .select(EventRow::as_select());
        let rows = until(deadline, query.load(session.connection())).await;
        let rows: Vec<EventRow> = session.close(Effect::Read, rows)?;
        rows.into_iter().map(|row| row.into_event(DOING)).collect()
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

/// Statements of one transaction that are under way at the same time: a batch then costs a round trip for each so
/// many, not for each claim. The server executes them one after the other, in the order they were sent.
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
                && let Some(before) = answers::begin(connection, request).await?
            {
                return Ok(Claims::Repeated(before));
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
                answers::finish(connection, request, &RecordedAnswer::Claims(claims.clone())).await?;
            }
            progress.commits();
            Ok(Claims::Settled(claims))
        })
        .await
}

/// The order in which a transaction meets rows that others may hold: the same for every transaction, or two
/// of them could wait for each other. Candidates that meet the same row stay in their own order.
fn lock_order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<_> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|index| {
        let Candidate { link, naming, .. } = &candidates[*index];
        match naming {
            Naming::Shared => (0, Some(link.dedup_key()), None),
            Naming::Alias => (1, None, Some(link.code.clone())),
            Naming::Separate => (2, None, None),
        }
    });
    order
}
