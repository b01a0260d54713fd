//! Rows of links and what they mean.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use domain::{
    behaviour::{Behaviour, RedirectStatus},
    history::{EventKind, LinkEvent, Provenance},
    lifecycle::Resolution,
    link::{Generation, Link, LinkState},
    ports::RepositoryError,
    target::Target,
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    error::corrupt,
    schema::{link_events, links},
};

/// A link as it is stored, less what only the database looks at.
#[derive(Queryable, Selectable)]
#[diesel(table_name = links, check_for_backend(diesel::pg::Pg))]
pub(crate) struct LinkRow {
    id: Uuid,
    code: String,
    #[diesel(embed)]
    following: ResolutionRow,
    title: Option<String>,
    tags: Vec<String>,
    deduplicated: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    reactivated_at: Option<DateTime<Utc>>,
}

/// The columns that the redirect path reads.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = links, check_for_backend(diesel::pg::Pg))]
pub(crate) struct ResolutionRow {
    owner_id: String,
    target: String,
    redirect: i16,
    forward_query: bool,
    expires_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
    generation: i64,
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

impl LinkRow {
    pub(crate) fn into_link(self, doing: &'static str) -> Result<Link, RepositoryError> {
        self.parse().map_err(|error| corrupt(doing, error))
    }

    fn parse(self) -> Result<Link, Anything> {
        let following = self.following.parse()?;
        Ok(Link {
            id: self.id,
            code: self.code.parse()?,
            owner: following.owner,
            behaviour: following.behaviour,
            deduplicated: self.deduplicated,
            title: self.title.map(|title| title.parse()).transpose()?,
            tags: self.tags.try_into()?,
            state: following.state,
            generation: following.generation,
            created_at: self.created_at.try_into()?,
            updated_at: self.updated_at.try_into()?,
            reactivated_at: self.reactivated_at.map(Timestamp::try_from).transpose()?,
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
            Some(at) => LinkState::Deleted { at: at.try_into()? },
        };
        let behaviour = Behaviour {
            target: Target::from_stored(self.target)?,
            redirect: u16::try_from(self.redirect)?.try_into()?,
            forward_query: self.forward_query,
            expires_at: self.expires_at.map(Timestamp::try_from).transpose()?,
        };
        let generation = Generation::try_from(self.generation)?;
        Ok(Resolution { owner: self.owner_id.parse()?, behaviour, state, generation })
    }
}

/// How a redirect status is stored.
pub(crate) fn redirect_column(status: RedirectStatus) -> i16 {
    i16::try_from(status.as_u16()).expect("statuses have three digits")
}

/// A history entry as it is stored.
#[derive(Queryable, Selectable)]
#[diesel(table_name = link_events, check_for_backend(diesel::pg::Pg))]
pub(crate) struct EventRow {
    generation: i64,
    kind: String,
    actor: String,
    request_id: String,
    at: DateTime<Utc>,
}

impl EventRow {
    pub(crate) fn into_event(self, doing: &'static str) -> Result<LinkEvent, RepositoryError> {
        self.parse().map_err(|error| corrupt(doing, error))
    }

    fn parse(self) -> Result<LinkEvent, Anything> {
        Ok(LinkEvent {
            kind: EventKind::from_name(&self.kind).ok_or("unknown kind of event")?,
            generation: Generation::try_from(self.generation)?,
            provenance: Provenance {
                actor: self.actor.parse()?,
                request_id: self.request_id.parse()?,
                at: self.at.try_into()?,
            },
        })
    }
}
