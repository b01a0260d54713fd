//! The claim: the domain's own rule, run inside a transaction in which nobody else writes.

use diesel::{
    QueryResult,
    dsl::{exists, select, sql},
    prelude::*,
    sql_types::Bool,
};
use domain::{
    history::{EventKind, LinkEvent},
    idempotency::{IdempotentRequest, RecordedAnswer},
    lifecycle::{self, Candidate, Claim, Naming},
    link::Link,
    ports::Claims,
};

use crate::{
    answers,
    links::{add_event, by_code, update},
    rows::LinkRow,
    schema::links,
    threads::Undo,
};

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
pub(crate) fn unchanged_by(connection: &mut SqliteConnection, candidate: &Candidate) -> QueryResult<Option<Claim>> {
    let met = met_by(connection, candidate)?;
    Ok(match lifecycle::claim(met.as_ref(), candidate) {
        settled @ (Claim::Existing(_) | Claim::AliasTaken) => Some(settled),
        Claim::Created(_) | Claim::Reactivated(_) => None,
    })
}

/// Settles all claims or none.
pub(crate) fn settle_all(
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
