//! Changes of links. One statement updates the link, if it still has the generation that the change starts from, and
//! adds the history entry.

use chrono::{DateTime, Utc};
use diesel::{
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Binary, Bool, Nullable, SmallInt, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    behaviour::DedupKey,
    history::Provenance,
    idempotency::{IdempotencyRecord, IdempotentRequest},
    lifecycle::Change,
    link::Title,
    ports::Applied,
    time::Timestamp,
};

use crate::{idempotency, rows::redirect_column, session::Progress};

/// Stores a change, unless the link has changed since. Uses a transaction although one statement would do: a change
/// that was reported as failed then cannot take effect later (see [`Progress`]).
pub(crate) async fn apply(
    connection: &mut AsyncPgConnection,
    progress: &Progress,
    change: &Change,
    provenance: &Provenance,
    once: Option<&IdempotentRequest>,
) -> QueryResult<Applied> {
    let outcome = connection
        .transaction(async |connection| {
            if let Some(request) = once
                && let Some(before) = idempotency::begin(connection, request).await?
            {
                return Ok(Applied::Repeated(before));
            }
            match apply_one(connection, ChangeStatement::new(change, provenance)).await? {
                Applied::Done => {}
                undone => return Err(Undone::Outcome(undone)),
            }
            if let Some(request) = once {
                idempotency::finish(connection, request, &IdempotencyRecord::Link(change.after.clone())).await?;
            }
            progress.commits();
            Ok(Applied::Done)
        })
        .await;
    match outcome {
        Ok(applied) | Err(Undone::Outcome(applied)) => Ok(applied),
        Err(Undone::Diesel(error)) => Err(error),
    }
}

async fn apply_one(connection: &mut AsyncPgConnection, statement: ChangeStatement<'_>) -> QueryResult<Applied> {
    let (done, known): (bool, bool) = statement.get_result(connection).await?;
    Ok(match (done, known) {
        (true, _) => Applied::Done,
        (false, true) => Applied::Stale,
        (false, false) => Applied::Missing,
    })
}

/// Why a transaction is rolled back. The link was not changed, so the idempotency record must not be kept.
enum Undone {
    Outcome(Applied),
    Diesel(diesel::result::Error),
}

impl From<diesel::result::Error> for Undone {
    fn from(error: diesel::result::Error) -> Self {
        Self::Diesel(error)
    }
}

/// One statement, prepared once per connection: the update, guarded by the generation it starts from, and its history
/// entry.
struct ChangeStatement<'a> {
    domain_id: i16,
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
            domain_id: after.domain.into(),
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
        out.push_sql(" AS code, ");
        out.push_bind_param::<SmallInt, _>(&self.domain_id)?;
        out.push_sql(" AS domain_id), changed AS (UPDATE links l SET target = ");
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
        out.push_sql(" FROM input i WHERE l.code = i.code AND l.domain_id = i.domain_id AND l.generation = ");
        out.push_bind_param::<BigInt, _>(&self.from)?;
        out.push_sql(
            " RETURNING l.id, l.domain_id, l.code, l.generation), event AS (
                INSERT INTO link_events (link_id, domain_id, code, generation, kind, actor, request_id, at)
                SELECT c.id, c.domain_id, c.code, c.generation, ",
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
            SELECT EXISTS (SELECT FROM changed), EXISTS (
                SELECT FROM links l, input i WHERE l.code = i.code AND l.domain_id = i.domain_id
            )",
        );
        Ok(())
    }
}
