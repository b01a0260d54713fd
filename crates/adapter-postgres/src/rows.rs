//! Rows of links and history entries, and their conversion to domain types.

use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue, data_types::PgTimestamp},
    prelude::*,
    sql_types::{Array, Text},
};
use domain::{
    behaviour::{Behaviour, RedirectStatus},
    code::Code,
    history::{EventKind, LinkEvent, Provenance},
    lifecycle::Resolution,
    link::{Generation, Link, LinkState, Title},
    ports::{RepositoryError, in_column},
    target::Target,
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    error::corrupt,
    schema::{link_events, links},
};

/// A stored link, without the columns that only the database uses.
#[derive(Queryable, Selectable)]
#[diesel(table_name = links, check_for_backend(Pg))]
pub(crate) struct LinkRow {
    domain_id: i16,
    code: String,
    #[diesel(embed)]
    following: ResolutionRow,
    title: Option<String>,
    tags: Texts,
    deduplicated: bool,
    created_at: PgTimestamp,
    updated_at: PgTimestamp,
    reactivated_at: Option<PgTimestamp>,
}

/// The columns that the redirect path reads.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = links, check_for_backend(Pg))]
pub(crate) struct ResolutionRow {
    id: Uuid,
    owner_id: String,
    target: String,
    redirect: i16,
    forward_query: bool,
    expires_at: Option<PgTimestamp>,
    deleted_at: Option<PgTimestamp>,
    generation: i64,
}

pub(crate) type Anything = Box<dyn std::error::Error + Send + Sync>;

/// A position in the order of lists, in stored form. An unreadable row has one too.
#[derive(Clone, Copy)]
pub(crate) struct RowPosition<I> {
    pub(crate) created_at: PgTimestamp,
    pub(crate) id: I,
}

/// Start of the year 2000 in microseconds of Unix time. PostgreSQL's timestamps count microseconds from then.
const EPOCH: i64 = 946_684_800_000_000;

/// A timestamp in stored form. Unlike a timestamp of chrono it can hold `infinity`, so that such a value does not hide
/// other rows.
pub(crate) fn stored(moment: Timestamp) -> PgTimestamp {
    PgTimestamp(moment.unix_micros() - EPOCH)
}

/// Reads a stored timestamp. Fails outside the years 1 to 9999.
pub(crate) fn moment(stored: PgTimestamp) -> Result<Timestamp, &'static str> {
    let micros = stored.0.checked_add(EPOCH);
    micros.and_then(Timestamp::from_unix_micros).ok_or("a time outside the years 1 to 9999")
}

/// A text array, or why it cannot be read: an element may be NULL, which must not hide other rows.
#[derive(Debug, FromSqlRow)]
pub(crate) struct Texts(Result<Vec<String>, String>);

impl Texts {
    pub(crate) fn read(self) -> Result<Vec<String>, String> {
        self.0
    }
}

impl FromSql<Array<Text>, Pg> for Texts {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let texts = <Vec<String> as FromSql<Array<Text>, Pg>>::from_sql(value);
        Ok(Self(texts.map_err(|error| error.to_string())))
    }
}

impl LinkRow {
    /// The id, which names the row in reports.
    pub(crate) fn name(&self) -> Uuid {
        self.following.id
    }

    /// Position in the order of lists.
    pub(crate) fn position(&self) -> RowPosition<Uuid> {
        RowPosition { created_at: self.created_at, id: self.following.id }
    }

    pub(crate) fn into_link(self, doing: &'static str) -> Result<Link, RepositoryError> {
        self.parse().map_err(|error| corrupt(doing, error))
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
            tags: in_column("tags", in_column("tags", self.tags.read())?.try_into())?,
            state: following.state,
            generation: following.generation,
            created_at: in_column("created_at", moment(self.created_at))?,
            updated_at: in_column("updated_at", moment(self.updated_at))?,
            reactivated_at: in_column("reactivated_at", self.reactivated_at.map(moment).transpose())?,
        })
    }
}

impl ResolutionRow {
    pub(crate) fn into_resolution(self, doing: &'static str) -> Result<Resolution, RepositoryError> {
        self.parse().map_err(|error| corrupt(doing, error))
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
        Ok(Resolution { id: self.id, owner, behaviour, state, generation })
    }
}

/// The stored form of a redirect status.
pub(crate) fn redirect_column(status: RedirectStatus) -> i16 {
    i16::try_from(status.as_u16()).expect("a status has three digits")
}

/// A history entry as it is stored.
#[derive(Queryable, Selectable)]
#[diesel(table_name = link_events, check_for_backend(Pg))]
pub(crate) struct EventRow {
    generation: i64,
    kind: String,
    actor: String,
    request_id: String,
    at: PgTimestamp,
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
