//! Rows of links and history entries, and their conversion to domain types. Times are microseconds since 1970, ids 16
//! bytes, tags a JSON array.

use diesel::{QueryResult, prelude::*};
use domain::{
    behaviour::Behaviour,
    code::Code,
    history::{EventKind, LinkEvent, Provenance},
    lifecycle::Resolution,
    link::{Generation, Link, LinkState, Title},
    ports::in_column,
    target::Target,
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    error::corrupt,
    schema::{link_events, links},
};

/// A link as it is stored.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = links, check_for_backend(diesel::sqlite::Sqlite), treat_none_as_null = true)]
// Keeps the SQL the same whatever the values are, so that it is not built anew for each row.
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct LinkRow {
    domain_id: i16,
    code: String,
    #[diesel(embed)]
    following: ResolutionRow,
    title: Option<String>,
    tags: String,
    state: String,
    deduplicated: bool,
    dedup_key: Vec<u8>,
    created_at: i64,
    updated_at: i64,
    reactivated_at: Option<i64>,
}

/// The columns that the redirect path reads.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = links, check_for_backend(diesel::sqlite::Sqlite), treat_none_as_null = true)]
// Keeps the SQL the same whatever the values are, so that it is not built anew for each row.
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct ResolutionRow {
    id: Vec<u8>,
    owner_id: String,
    target: String,
    redirect: i32,
    forward_query: bool,
    expires_at: Option<i64>,
    deleted_at: Option<i64>,
    generation: i64,
}

pub(crate) type Anything = Box<dyn std::error::Error + Send + Sync>;

/// A position in the order of lists, in stored form. An unreadable row has one too.
#[derive(Clone)]
pub(crate) struct RowPosition {
    pub(crate) created_at: i64,
    pub(crate) id: Vec<u8>,
}

/// An id as text: as a UUID, or as its bytes in hexadecimal if it is none.
pub(crate) fn hex(id: &[u8]) -> String {
    Uuid::from_slice(id).map_or_else(|_| format!("{id:02x?}"), |id| id.to_string())
}

impl From<&Link> for LinkRow {
    fn from(link: &Link) -> Self {
        Self {
            domain_id: link.domain.into(),
            code: link.code.to_string(),
            following: ResolutionRow {
                id: link.id.as_bytes().to_vec(),
                owner_id: link.owner.to_string(),
                target: link.behaviour.target.to_string(),
                redirect: i32::from(link.behaviour.redirect.as_u16()),
                forward_query: link.behaviour.forward_query,
                expires_at: link.behaviour.expires_at.map(Timestamp::unix_micros),
                deleted_at: link.deleted_at().map(Timestamp::unix_micros),
                generation: link.generation.get(),
            },
            title: link.title.as_ref().map(|title| title.as_str().to_owned()),
            tags: serde_json::to_string(&link.tags).expect("a list of strings is JSON"),
            state: link.state.name().to_owned(),
            deduplicated: link.deduplicated,
            dedup_key: link.dedup_key().as_bytes().to_vec(),
            created_at: link.created_at.unix_micros(),
            updated_at: link.updated_at.unix_micros(),
            reactivated_at: link.reactivated_at.map(Timestamp::unix_micros),
        }
    }
}

impl LinkRow {
    pub(crate) fn into_link(self) -> QueryResult<Link> {
        self.parse().map_err(corrupt)
    }

    /// The id as text, which names the row in reports.
    pub(crate) fn name(&self) -> String {
        hex(&self.following.id)
    }

    /// Position in the order of lists.
    pub(crate) fn position(&self) -> RowPosition {
        RowPosition { created_at: self.created_at, id: self.following.id.clone() }
    }

    pub(crate) fn parse(self) -> Result<Link, Anything> {
        let following = self.following.parse()?;
        Ok(Link {
            id: following.id,
            domain: in_column("domain_id", self.domain_id.try_into())?,
            code: in_column("code", Code::from_stored(&self.code))?,
            owner: following.owner,
            behaviour: following.behaviour,
            deduplicated: self.deduplicated,
            title: in_column("title", self.title.map(|title| title.parse::<Title>()).transpose())?,
            tags: in_column("tags", serde_json::from_str(&self.tags))?,
            state: following.state,
            generation: following.generation,
            created_at: in_column("created_at", moment(self.created_at))?,
            updated_at: in_column("updated_at", moment(self.updated_at))?,
            reactivated_at: in_column("reactivated_at", self.reactivated_at.map(moment).transpose())?,
        })
    }
}

impl ResolutionRow {
    pub(crate) fn into_resolution(self) -> QueryResult<Resolution> {
        self.parse().map_err(corrupt)
    }

    fn parse(self) -> Result<Resolution, Anything> {
        let state = match self.deleted_at {
            None => LinkState::Active,
            Some(at) => LinkState::Deleted { at: in_column("deleted_at", moment(at))? },
        };
        let behaviour = Behaviour {
            target: in_column("target", Target::from_stored(self.target))?,
            redirect: in_column("redirect", u16::try_from(self.redirect).unwrap_or_default().try_into())?,
            forward_query: self.forward_query,
            expires_at: in_column("expires_at", self.expires_at.map(moment).transpose())?,
        };
        let generation = in_column("generation", Generation::try_from(self.generation))?;
        let owner = in_column("owner_id", self.owner_id.parse())?;
        Ok(Resolution { id: in_column("id", Uuid::from_slice(&self.id))?, owner, behaviour, state, generation })
    }
}

/// Reads a stored timestamp. Fails outside the years 1 to 9999.
pub(crate) fn moment(micros: i64) -> Result<Timestamp, &'static str> {
    Timestamp::from_unix_micros(micros).ok_or("a time outside the years 1 to 9999")
}

/// A history entry as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = link_events, check_for_backend(diesel::sqlite::Sqlite), treat_none_as_default_value = false)]
pub(crate) struct EventRow {
    generation: i64,
    kind: String,
    actor: String,
    request_id: String,
    at: i64,
}

impl From<&LinkEvent> for EventRow {
    fn from(event: &LinkEvent) -> Self {
        Self {
            generation: event.generation.get(),
            kind: event.kind.name().to_owned(),
            actor: event.provenance.actor.to_string(),
            request_id: event.provenance.request_id.to_string(),
            at: event.provenance.at.unix_micros(),
        }
    }
}

impl EventRow {
    /// Position in the history: its generation.
    pub(crate) fn position(&self) -> i64 {
        self.generation
    }

    pub(crate) fn parse(self) -> Result<LinkEvent, Anything> {
        Ok(LinkEvent {
            kind: in_column("kind", EventKind::from_name(&self.kind).ok_or("unknown kind of event"))?,
            generation: in_column("generation", Generation::try_from(self.generation))?,
            provenance: Provenance {
                actor: in_column("actor", self.actor.parse())?,
                request_id: in_column("request_id", self.request_id.parse())?,
                at: in_column("at", moment(self.at))?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use test_support::{
        MemoryStore,
        contract::{Subject, a_link},
    };

    use super::*;

    #[test]
    fn an_id_is_shown_as_a_uuid_or_as_its_bytes() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(hex(id.as_bytes()), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(hex(&[0xa0, 1]), "[a0, 01]");
    }

    #[test]
    fn a_row_is_named_by_its_id() {
        let subject = Subject::over(Arc::new(MemoryStore::default()), 7);
        let link = subject.candidate(&a_link()).link;
        assert_eq!(LinkRow::from(&link).name(), link.id.to_string());
    }
}
