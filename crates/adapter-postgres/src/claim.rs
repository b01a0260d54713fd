//! The claim: one statement that creates, finds or reactivates a link, correct under concurrent claims.

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{AsSelect, SqlTypeOf},
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, Binary, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::{
    behaviour::DedupKey,
    lifecycle::{Candidate, Claim, Naming},
    link::{Link, Title},
    time::Timestamp,
};

use crate::rows::{LinkRow, redirect_column};

/// Settles one claim. If a drawn code is taken, it fails with a violation of `links_code_key`.
pub(crate) async fn settle(connection: &AsyncPgConnection, candidate: &Candidate) -> QueryResult<Settled> {
    match candidate.naming {
        Naming::Shared => run::<Shared>(connection, candidate).await,
        Naming::Alias => run::<Alias>(connection, candidate).await,
        Naming::Separate => run::<Separate>(connection, candidate).await,
    }
}

async fn run<N: ClaimSql>(mut connection: &AsyncPgConnection, candidate: &Candidate) -> QueryResult<Settled> {
    ClaimStatement::<N>::new(candidate).get_result(&mut connection).await.optional().map(Settled)
}

/// The row that a claim returned; `None` means that the alias is taken.
pub(crate) struct Settled(Option<(LinkRow, String)>);

impl Settled {
    /// `parse` turns the row into a link.
    pub(crate) fn into_claim<E>(self, parse: impl FnOnce(LinkRow) -> Result<Link, E>) -> Result<Claim, E> {
        let Some((row, outcome)) = self.0 else {
            return Ok(Claim::AliasTaken);
        };
        let link = parse(row)?;
        Ok(match outcome.as_str() {
            "created" => Claim::Created(link),
            "reactivated" => Claim::Reactivated(link),
            "existing" => Claim::Existing(link),
            other => unreachable!("the statement has no outcome {other}"),
        })
    }
}

/// The parts in which the three kinds of claim differ.
trait ClaimSql: Send + 'static {
    /// The SQL after the row `input`, which holds the parameters `$1, $2, …`.
    const SQL: &'static str;
}

struct Shared;
struct Alias;
struct Separate;

/// The statement around the parts. If an active link exists, the statement reads it as `known` and takes no lock. Among
/// concurrent claims, `ON CONFLICT … DO UPDATE` waits for the winner and returns its row; it changes that row only if
/// it is deleted. One new id is offered both as `id` and as `activation_id`. If it comes back as `id`, the link was
/// created; if only as `activation_id`, it was reactivated. `xmax` would not tell this reliably.
macro_rules! claim_sql {
    (known: $known:expr, conflict: $($conflict:expr),*) => {
        concat!(
            ", known AS (
                SELECT l.* FROM links l, input i WHERE ", $known, " AND l.state = 'active'
            ), claimed AS (
                INSERT INTO links AS l (id, activation_id, domain_id, code, owner_id, dedup_key, target, redirect, forward_query,
                    expires_at, title, tags, deduplicated, state, generation, created_at, updated_at)
                SELECT i.id, i.id, i.domain_id, i.code, i.owner_id, i.dedup_key, i.target, i.redirect, i.forward_query,
                    i.expires_at, i.title, i.tags, i.deduplicated, 'active', 1, i.at, i.at
                FROM input i WHERE NOT EXISTS (SELECT FROM known) ",
            $($conflict,)*
            "   RETURNING l.*
            ), event AS (
                INSERT INTO link_events (link_id, domain_id, code, generation, kind, actor, request_id, at)
                SELECT c.id, c.domain_id, c.code, c.generation, CASE WHEN c.id = i.id THEN 'created' ELSE 'reactivated' END,
                    i.actor, i.request_id, i.at
                FROM claimed c, input i WHERE c.activation_id = i.id
            )
            SELECT l.domain_id, l.code, l.id, l.owner_id, l.target, l.redirect, l.forward_query, l.expires_at, l.deleted_at, l.generation,
                l.title, l.tags, l.deduplicated, l.created_at, l.updated_at, l.reactivated_at,
                CASE WHEN l.id = i.id THEN 'created' WHEN l.activation_id = i.id THEN 'reactivated' ELSE 'existing' END
            FROM (SELECT * FROM known UNION ALL SELECT * FROM claimed) l, input i"
        )
    };
}

/// Reactivates the row if it is deleted; otherwise changes nothing.
macro_rules! reactivate_sql {
    () => {
        "DO UPDATE SET
            state = 'active', deleted_at = NULL,
            generation = CASE WHEN l.state = 'deleted' THEN l.generation + 1 ELSE l.generation END,
            activation_id = CASE WHEN l.state = 'deleted' THEN excluded.activation_id ELSE l.activation_id END,
            updated_at = CASE WHEN l.state = 'deleted' THEN excluded.updated_at ELSE l.updated_at END,
            reactivated_at = CASE WHEN l.state = 'deleted' THEN excluded.updated_at ELSE l.reactivated_at END "
    };
}

impl ClaimSql for Shared {
    const SQL: &'static str = claim_sql!(
        known: "l.owner_id = i.owner_id AND l.dedup_key = i.dedup_key AND l.domain_id = i.domain_id AND l.deduplicated",
        conflict: "ON CONFLICT (owner_id, dedup_key, domain_id) WHERE deduplicated ", reactivate_sql!()
    );
}

/// Returns no row if the alias belongs to another owner or behaves differently.
impl ClaimSql for Alias {
    const SQL: &'static str = claim_sql!(
        known: "l.code = i.code AND l.domain_id = i.domain_id AND l.owner_id = i.owner_id AND l.dedup_key = i.dedup_key",
        conflict: "ON CONFLICT (code, domain_id) ", reactivate_sql!(),
            "WHERE l.owner_id = excluded.owner_id AND l.dedup_key = excluded.dedup_key "
    );
}

impl ClaimSql for Separate {
    const SQL: &'static str = claim_sql!(known: "false", conflict: "");
}

/// Written by hand: the query builder re-plans `ON CONFLICT DO UPDATE` at every call. With a static id the statement is
/// prepared once per connection.
struct ClaimStatement<'a, N> {
    link: &'a Link,
    domain_id: i16,
    dedup_key: DedupKey,
    redirect: i16,
    expires_at: Option<DateTime<Utc>>,
    actor: String,
    request_id: &'a str,
    title: Option<&'a str>,
    at: DateTime<Utc>,
    naming: PhantomData<N>,
}

impl<'a, N> ClaimStatement<'a, N> {
    fn new(candidate: &'a Candidate) -> Self {
        let Candidate { link, provenance, naming: _ } = candidate;
        Self {
            link,
            domain_id: link.domain.into(),
            dedup_key: link.dedup_key(),
            redirect: redirect_column(link.behaviour.redirect),
            expires_at: link.behaviour.expires_at.map(Timestamp::to_datetime),
            actor: provenance.actor.to_string(),
            request_id: provenance.request_id.as_str(),
            title: link.title.as_ref().map(Title::as_str),
            at: provenance.at.to_datetime(),
            naming: PhantomData,
        }
    }
}

impl<N: ClaimSql> QueryId for ClaimStatement<'_, N> {
    type QueryId = ClaimStatement<'static, N>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<N> Query for ClaimStatement<'_, N> {
    type SqlType = (SqlTypeOf<AsSelect<LinkRow, Pg>>, Text);
}

impl<N: ClaimSql> QueryFragment<Pg> for ClaimStatement<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH input AS (SELECT ");
        out.push_bind_param::<Uuid, _>(&self.link.id)?;
        out.push_sql(" AS id, ");
        out.push_bind_param::<SmallInt, _>(&self.domain_id)?;
        out.push_sql(" AS domain_id, ");
        out.push_bind_param::<Text, _>(self.link.code.as_str())?;
        out.push_sql(" AS code, ");
        out.push_bind_param::<Text, _>(self.link.owner.as_str())?;
        out.push_sql(" AS owner_id, ");
        out.push_bind_param::<Binary, _>(self.dedup_key.as_bytes())?;
        out.push_sql(" AS dedup_key, ");
        out.push_bind_param::<Text, _>(self.link.behaviour.target.as_str())?;
        out.push_sql(" AS target, ");
        out.push_bind_param::<SmallInt, _>(&self.redirect)?;
        out.push_sql(" AS redirect, ");
        out.push_bind_param::<Bool, _>(&self.link.behaviour.forward_query)?;
        out.push_sql(" AS forward_query, ");
        out.push_bind_param::<Nullable<Timestamptz>, _>(&self.expires_at)?;
        out.push_sql(" AS expires_at, ");
        out.push_bind_param::<Nullable<Text>, _>(&self.title)?;
        out.push_sql(" AS title, ");
        out.push_bind_param::<Array<Text>, _>(self.link.tags.as_slice())?;
        out.push_sql(" AS tags, ");
        out.push_bind_param::<Bool, _>(&self.link.deduplicated)?;
        out.push_sql(" AS deduplicated, ");
        out.push_bind_param::<Text, _>(&self.actor)?;
        out.push_sql(" AS actor, ");
        out.push_bind_param::<Text, _>(self.request_id)?;
        out.push_sql(" AS request_id, ");
        out.push_bind_param::<Timestamptz, _>(&self.at)?;
        out.push_sql(" AS at)");
        out.push_sql(N::SQL);
        Ok(())
    }
}
