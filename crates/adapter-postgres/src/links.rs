//! Links: the repository and the resolver.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Binary, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    behaviour::DedupKey,
    code::Code,
    history::{LinkEvent, Provenance},
    idempotency::{IdempotentRequest, RecordedAnswer},
    lifecycle::{Access, Candidate, Change, Claim, Naming, Resolution},
    link::{Generation, Link, Title},
    ports::{Applied, Claims, LinkFilter, LinkRepository, LinkResolver, ListQuery, RepositoryError, Sort},
    time::Timestamp,
};

use crate::{
    PostgresStore, answers,
    claim::{self, Settled},
    error::{Effect, is_code_collision},
    rows::{EventRow, LinkRow, ResolutionRow, redirect_column},
    schema::{link_events, links},
    session::until,
};

#[async_trait]
impl LinkResolver for PostgresStore {
    async fn resolve(&self, code: &Code) -> Result<Option<Resolution>, RepositoryError> {
        const DOING: &str = "resolving a code";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let query = links::table.filter(links::code.eq(code.as_str())).select(ResolutionRow::as_select());
        let found = until(deadline, query.first(session.connection())).await;
        let row = session.close(Effect::Read, found.map(OptionalExtension::optional))?;
        row.map(|row: ResolutionRow| row.into_resolution(DOING)).transpose()
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
        let connection = session.connection();
        let outcome = match (candidates, once) {
            // One statement is a transaction of its own.
            ([candidate], None) => until(deadline, claim_one(connection, candidate)).await,
            _ => until(deadline, claim_all(connection, candidates, once)).await,
        };
        let outcome = outcome.map(|result| match result {
            Err(ClaimError::Diesel(error)) if is_code_collision(&error) => Ok(Ok(Claims::CodeCollision)),
            Err(ClaimError::Diesel(error)) => Err(error),
            Err(ClaimError::Corrupt(error)) => Ok(Err(error)),
            Ok(claims) => Ok(Ok(claims)),
        });
        session.close(Effect::Write, outcome)?
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
        let deadline = session.deadline();
        let statement = ChangeStatement::new(change, provenance);
        let connection = session.connection();
        let outcome = match once {
            None => until(deadline, apply_one(connection, statement)).await,
            Some(request) => until(deadline, apply_once(connection, statement, request, change)).await,
        };
        session.close(Effect::Write, outcome)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        const DOING: &str = "listing links";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let rows = until(deadline, list_statement(query).load(session.connection())).await;
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

async fn claim_one(connection: &mut AsyncPgConnection, candidate: &Candidate) -> Result<Claims, ClaimError> {
    let settled = claim::settle(connection, candidate).await?;
    Ok(Claims::Settled(vec![into_claim(settled)?]))
}

async fn claim_all(
    connection: &mut AsyncPgConnection,
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
            for index in lock_order(candidates) {
                let settled = claim::settle(connection, &candidates[index]).await?;
                claims[index] = into_claim(settled)?;
            }
            if let Some(request) = once {
                answers::finish(connection, request, &RecordedAnswer::Claims(claims.clone())).await?;
            }
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

async fn apply_one(connection: &mut AsyncPgConnection, statement: ChangeStatement<'_>) -> QueryResult<Applied> {
    let (done, known): (bool, bool) = statement.get_result(connection).await?;
    Ok(match (done, known) {
        (true, _) => Applied::Done,
        (false, true) => Applied::Stale,
        (false, false) => Applied::Missing,
    })
}

async fn apply_once(
    connection: &mut AsyncPgConnection,
    statement: ChangeStatement<'_>,
    request: &IdempotentRequest,
    change: &Change,
) -> QueryResult<Applied> {
    let outcome = connection
        .transaction(async |connection| {
            if let Some(before) = answers::begin(connection, request).await? {
                return Ok(Applied::Repeated(before));
            }
            match apply_one(connection, statement).await? {
                Applied::Done => {
                    answers::finish(connection, request, &RecordedAnswer::Link(change.after.clone())).await?;
                    Ok(Applied::Done)
                }
                undone => Err(Undone::Outcome(undone)),
            }
        })
        .await;
    match outcome {
        Ok(applied) | Err(Undone::Outcome(applied)) => Ok(applied),
        Err(Undone::Diesel(error)) => Err(error),
    }
}

/// Why a transaction is rolled back: nothing was changed, so nothing must be recorded.
enum Undone {
    Outcome(Applied),
    Diesel(diesel::result::Error),
}

impl From<diesel::result::Error> for Undone {
    fn from(error: diesel::result::Error) -> Self {
        Self::Diesel(error)
    }
}

/// One statement, prepared once for each connection: the change, guarded by the generation it starts from, and its history entry.
struct ChangeStatement<'a> {
    code: &'a str,
    from: i64,
    target: &'a str,
    redirect: i16,
    forward_query: bool,
    expires_at: Option<DateTime<Utc>>,
    title: Option<&'a str>,
    tags: &'a [String],
    state: &'static str,
    deduplicated: bool,
    dedup_key: DedupKey,
    generation: i64,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    reactivated_at: Option<DateTime<Utc>>,
    kind: &'static str,
    actor: String,
    request_id: &'a str,
    at: DateTime<Utc>,
}

impl<'a> ChangeStatement<'a> {
    fn new(change: &'a Change, provenance: &'a Provenance) -> Self {
        let after = &change.after;
        Self {
            code: after.code.as_str(),
            from: change.from.get(),
            target: after.behaviour.target.as_str(),
            redirect: redirect_column(after.behaviour.redirect),
            forward_query: after.behaviour.forward_query,
            expires_at: after.behaviour.expires_at.map(Timestamp::to_datetime),
            title: after.title.as_ref().map(Title::as_str),
            tags: after.tags.as_slice(),
            state: after.state.name(),
            deduplicated: after.deduplicated,
            dedup_key: after.dedup_key(),
            generation: after.generation.get(),
            updated_at: after.updated_at.to_datetime(),
            deleted_at: after.deleted_at().map(Timestamp::to_datetime),
            reactivated_at: after.reactivated_at.map(Timestamp::to_datetime),
            kind: change.kind.name(),
            actor: provenance.actor.to_string(),
            request_id: provenance.request_id.as_str(),
            at: provenance.at.to_datetime(),
        }
    }
}

impl QueryId for ChangeStatement<'_> {
    type QueryId = ChangeStatement<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for ChangeStatement<'_> {
    type SqlType = (Bool, Bool);
}

impl QueryFragment<Pg> for ChangeStatement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH input AS (SELECT ");
        out.push_bind_param::<Text, _>(self.code)?;
        out.push_sql(" AS code), changed AS (UPDATE links l SET target = ");
        out.push_bind_param::<Text, _>(self.target)?;
        out.push_sql(", redirect = ");
        out.push_bind_param::<SmallInt, _>(&self.redirect)?;
        out.push_sql(", forward_query = ");
        out.push_bind_param::<Bool, _>(&self.forward_query)?;
        out.push_sql(", expires_at = ");
        out.push_bind_param::<Nullable<Timestamptz>, _>(&self.expires_at)?;
        out.push_sql(", title = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.title)?;
        out.push_sql(", tags = ");
        out.push_bind_param::<Array<Text>, _>(self.tags)?;
        out.push_sql(", state = ");
        out.push_bind_param::<Text, _>(self.state)?;
        out.push_sql(", deduplicated = ");
        out.push_bind_param::<Bool, _>(&self.deduplicated)?;
        out.push_sql(", dedup_key = ");
        out.push_bind_param::<Binary, _>(self.dedup_key.as_bytes())?;
        out.push_sql(", generation = ");
        out.push_bind_param::<BigInt, _>(&self.generation)?;
        out.push_sql(", updated_at = ");
        out.push_bind_param::<Timestamptz, _>(&self.updated_at)?;
        out.push_sql(", deleted_at = ");
        out.push_bind_param::<Nullable<Timestamptz>, _>(&self.deleted_at)?;
        out.push_sql(", reactivated_at = ");
        out.push_bind_param::<Nullable<Timestamptz>, _>(&self.reactivated_at)?;
        out.push_sql(" FROM input i WHERE l.code = i.code AND l.generation = ");
        out.push_bind_param::<BigInt, _>(&self.from)?;
        out.push_sql(
            " RETURNING l.id, l.generation), event AS (
                INSERT INTO link_events (link_id, generation, kind, actor, request_id, at)
                SELECT c.id, c.generation, ",
        );
        out.push_bind_param::<Text, _>(self.kind)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.actor)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.request_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Timestamptz, _>(&self.at)?;
        out.push_sql(
            " FROM changed c)
            SELECT EXISTS (SELECT FROM changed), EXISTS (SELECT FROM links l, input i WHERE l.code = i.code)",
        );
        Ok(())
    }
}

fn list_statement(
    query: &ListQuery,
) -> links::BoxedQuery<'_, Pg, diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<LinkRow, Pg>>> {
    let mut statement = links::table.select(LinkRow::as_select()).into_boxed();
    if let Access::Owner(owner) = &query.access {
        statement = statement.filter(links::owner_id.eq(owner.as_str()));
    }
    let LinkFilter { state, text, tag, target, created_after, created_before } = &query.filter;
    if let Some(state) = state {
        statement = statement.filter(links::state.eq(state.name()));
    }
    if let Some(text) = text {
        // Under the collation "C", lower() touches ASCII letters only, as the domain wants it.
        let wanted = text.to_ascii_lowercase();
        let mentions = sql::<Bool>("EXISTS (SELECT FROM unnest(ARRAY[code, target, title]) AS field WHERE position(")
            .bind::<Text, _>(wanted)
            .sql(r#" IN lower(field COLLATE "C")) > 0)"#);
        statement = statement.filter(mentions);
    }
    if let Some(tag) = tag {
        statement = statement.filter(links::tags.contains(vec![tag]));
    }
    if let Some(target) = target {
        statement = statement.filter(links::target.eq(target.as_str()));
    }
    if let Some(moment) = created_after {
        statement = statement.filter(links::created_at.gt(moment.to_datetime()));
    }
    if let Some(moment) = created_before {
        statement = statement.filter(links::created_at.lt(moment.to_datetime()));
    }
    if let Some(after) = query.after {
        let row = match query.sort {
            Sort::NewestFirst => "(links.created_at, links.id) < (",
            Sort::OldestFirst => "(links.created_at, links.id) > (",
        };
        let behind = sql::<Bool>(row)
            .bind::<Timestamptz, _>(after.created_at.to_datetime())
            .sql(", ")
            .bind::<Uuid, _>(after.id)
            .sql(")");
        statement = statement.filter(behind);
    }
    let statement = match query.sort {
        Sort::NewestFirst => statement.order((links::created_at.desc(), links::id.desc())),
        Sort::OldestFirst => statement.order((links::created_at.asc(), links::id.asc())),
    };
    statement.limit(i64::from(query.limit))
}
