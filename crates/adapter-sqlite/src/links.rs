//! Links: the repository and the resolver. The writer runs the domain's own rules inside its transaction.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::{exists, select, sql},
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Text},
    sqlite::Sqlite,
};
use domain::{
    code::Code,
    history::{EventKind, LinkEvent, Provenance},
    idempotency::{IdempotentRequest, RecordedAnswer},
    lifecycle::{self, Access, Candidate, Change, Claim, Naming, Resolution},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkFilter, LinkRepository, LinkResolver, ListQuery, RepositoryError, Sort},
};

use crate::{
    SqliteStore, answers,
    rows::{EventRow, LinkRow, ResolutionRow},
    schema::{link_events, links},
    threads::Undo,
};

#[async_trait]
impl LinkResolver for SqliteStore {
    async fn resolve(&self, code: &Code) -> Result<Option<Resolution>, RepositoryError> {
        let code = code.clone();
        self.threads
            .read("resolving a code", move |connection| {
                let query = links::table.filter(links::code.eq(code.as_str())).select(ResolutionRow::as_select());
                query.first(connection).optional()?.map(ResolutionRow::into_resolution).transpose()
            })
            .await
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
        if let ([candidate], None) = (candidates, once) {
            let candidate = candidate.clone();
            let known = self.threads.read(DOING, move |connection| unchanged_by(connection, &candidate)).await?;
            if let Some(claim) = known {
                return Ok(Claims::Settled(vec![claim]));
            }
        }
        let candidates = candidates.to_vec();
        let once = once.cloned();
        self.threads.write(DOING, move |connection| claim_all(connection, &candidates, once.as_ref())).await
    }

    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError> {
        let code = code.clone();
        self.threads.read("finding a link", move |connection| by_code(connection, &code)).await
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
        let query = query.clone();
        self.threads
            .read("listing links", move |connection| {
                let rows: Vec<LinkRow> = list_statement(&query).load(connection)?;
                rows.into_iter().map(LinkRow::into_link).collect()
            })
            .await
    }

    async fn history(
        &self,
        code: &Code,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        let code = code.clone();
        self.threads
            .read("reading a history", move |connection| {
                let rows: Vec<EventRow> = link_events::table
                    .inner_join(links::table)
                    .filter(links::code.eq(code.as_str()))
                    .filter(link_events::generation.lt(before.map_or(i64::MAX, Generation::get)))
                    .order(link_events::generation.desc())
                    .limit(i64::from(limit))
                    .select(EventRow::as_select())
                    .load(connection)?;
                rows.into_iter().map(EventRow::into_event).collect()
            })
            .await
    }
}

fn by_code(connection: &mut SqliteConnection, code: &Code) -> QueryResult<Option<Link>> {
    let query = links::table.filter(links::code.eq(code.as_str())).select(LinkRow::as_select());
    query.first(connection).optional()?.map(LinkRow::into_link).transpose()
}

/// The link that answers a claim, as [`lifecycle::claim`] defines it.
fn met_by(connection: &mut SqliteConnection, candidate: &Candidate) -> QueryResult<Option<Link>> {
    let wanted = &candidate.link;
    match candidate.naming {
        Naming::Separate => Ok(None),
        Naming::Alias => by_code(connection, &wanted.code),
        Naming::Shared => {
            let key = wanted.dedup_key();
            let query = links::table
                .filter(links::owner_id.eq(wanted.owner.as_str()))
                .filter(links::dedup_key.eq(key.as_bytes().as_slice()))
                // Spelled like the partial index, or SQLite would not use it.
                .filter(sql::<Bool>("deduplicated = 1"))
                .select(LinkRow::as_select());
            query.first(connection).optional()?.map(LinkRow::into_link).transpose()
        }
    }
}

/// The claim, if settling it writes nothing.
fn unchanged_by(connection: &mut SqliteConnection, candidate: &Candidate) -> QueryResult<Option<Claim>> {
    let met = met_by(connection, candidate)?;
    Ok(match lifecycle::claim(met.as_ref(), candidate) {
        settled @ (Claim::Existing(_) | Claim::AliasTaken) => Some(settled),
        Claim::Created(_) | Claim::Reactivated(_) => None,
    })
}

fn claim_all(
    connection: &mut SqliteConnection,
    candidates: &[Candidate],
    once: Option<&IdempotentRequest>,
) -> Result<Claims, Undo<Claims>> {
    if let Some(request) = once
        && let Some(before) = answers::known_answer(connection, request)?
    {
        return Ok(Claims::Repeated(before));
    }
    let mut claims = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        claims.push(settle(connection, candidate)?);
    }
    if let Some(request) = once {
        answers::keep(connection, request, &RecordedAnswer::Claims(claims.clone()))?;
    }
    Ok(Claims::Settled(claims))
}

fn settle(connection: &mut SqliteConnection, candidate: &Candidate) -> Result<Claim, Undo<Claims>> {
    let met = met_by(connection, candidate)?;
    let claim = lifecycle::claim(met.as_ref(), candidate);
    let (link, kind) = match &claim {
        Claim::Existing(_) | Claim::AliasTaken => return Ok(claim),
        Claim::Created(link) => {
            // Nobody else writes during this transaction, so looking is enough.
            let holder = links::table.filter(links::code.eq(link.code.as_str())).select(links::id);
            if select(exists(holder)).get_result(connection)? {
                return Err(Undo::Answer(Claims::CodeCollision));
            }
            diesel::insert_into(links::table).values(LinkRow::from(link)).execute(connection)?;
            (link, EventKind::Created)
        }
        Claim::Reactivated(link) => {
            update(connection, link)?;
            (link, EventKind::Reactivated)
        }
    };
    let event = LinkEvent { kind, generation: link.generation, provenance: candidate.provenance.clone() };
    add_event(connection, link, &event)?;
    Ok(claim)
}

fn update(connection: &mut SqliteConnection, link: &Link) -> QueryResult<()> {
    let row = links::table.filter(links::code.eq(link.code.as_str()));
    diesel::update(row).set(LinkRow::from(link)).execute(connection)?;
    Ok(())
}

fn add_event(connection: &mut SqliteConnection, link: &Link, event: &LinkEvent) -> QueryResult<()> {
    let row = (link_events::link_id.eq(link.id.as_bytes().to_vec()), EventRow::from(event));
    diesel::insert_into(link_events::table).values(row).execute(connection)?;
    Ok(())
}

fn apply(
    connection: &mut SqliteConnection,
    change: &Change,
    provenance: Provenance,
    once: Option<&IdempotentRequest>,
) -> Result<Applied, Undo<Applied>> {
    if let Some(request) = once
        && let Some(before) = answers::known_answer(connection, request)?
    {
        return Ok(Applied::Repeated(before));
    }
    let query = links::table.filter(links::code.eq(change.after.code.as_str())).select(links::generation);
    let Some(generation) = query.first::<i64>(connection).optional()? else {
        return Ok(Applied::Missing);
    };
    if generation != change.from.get() {
        return Ok(Applied::Stale);
    }
    update(connection, &change.after)?;
    add_event(connection, &change.after, &change.event(provenance))?;
    if let Some(request) = once {
        answers::keep(connection, request, &RecordedAnswer::Link(change.after.clone()))?;
    }
    Ok(Applied::Done)
}

fn list_statement(
    query: &ListQuery,
) -> links::BoxedQuery<'_, Sqlite, diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<LinkRow, Sqlite>>> {
    let mut statement = links::table.select(LinkRow::as_select()).into_boxed();
    if let Access::Owner(owner) = &query.access {
        statement = statement.filter(links::owner_id.eq(owner.as_str()));
    }
    let LinkFilter { state, text, tag, target, created_after, created_before } = &query.filter;
    if let Some(state) = state {
        statement = statement.filter(links::state.eq(state.name()));
    }
    if let Some(text) = text {
        // lower() touches ASCII letters only, as the domain wants it.
        let wanted = text.to_ascii_lowercase();
        let fields = "EXISTS (SELECT 1 FROM (SELECT code AS field UNION ALL SELECT target UNION ALL SELECT title) \
                      WHERE instr(lower(field), ";
        let mentions = sql::<Bool>(fields).bind::<Text, _>(wanted).sql(") > 0)");
        statement = statement.filter(mentions);
    }
    if let Some(tag) = tag {
        let tagged =
            sql::<Bool>("EXISTS (SELECT 1 FROM json_each(links.tags) WHERE value = ").bind::<Text, _>(tag).sql(")");
        statement = statement.filter(tagged);
    }
    if let Some(target) = target {
        statement = statement.filter(links::target.eq(target.as_str()));
    }
    if let Some(moment) = created_after {
        statement = statement.filter(links::created_at.gt(moment.unix_micros()));
    }
    if let Some(moment) = created_before {
        statement = statement.filter(links::created_at.lt(moment.unix_micros()));
    }
    if let Some(after) = query.after {
        let row = match query.sort {
            Sort::NewestFirst => "(links.created_at, links.id) < (",
            Sort::OldestFirst => "(links.created_at, links.id) > (",
        };
        let behind = sql::<Bool>(row)
            .bind::<BigInt, _>(after.created_at.unix_micros())
            .sql(", ")
            .bind::<Binary, _>(after.id.as_bytes().to_vec())
            .sql(")");
        statement = statement.filter(behind);
    }
    let statement = match query.sort {
        Sort::NewestFirst => statement.order((links::created_at.desc(), links::id.desc())),
        Sort::OldestFirst => statement.order((links::created_at.asc(), links::id.asc())),
    };
    statement.limit(i64::from(query.limit))
}
