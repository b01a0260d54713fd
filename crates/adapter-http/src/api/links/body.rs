//! A link, as callers see it.

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode, http::header};
use domain::{lifecycle::Claim, link::Link, ports::ClickTotals, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::request::{domains::Bases, preconditions::entity_tag};

/// A link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub(crate) struct LinkBody {
    /// UUID version 7.
    id: Uuid,
    /// The host of its short domain.
    #[schema(example = "127.0.0.1")]
    domain: String,
    /// The path segment that names it.
    #[schema(example = "h7RkQ2mX")]
    code: String,
    /// The short address.
    #[schema(format = Uri, example = "http://127.0.0.1:8080/h7RkQ2mX")]
    short_url: String,
    /// Where it leads.
    #[schema(format = Uri, example = "https://example.com/a?b=1")]
    url: String,
    /// `active` or `deleted`.
    #[schema(example = "active")]
    state: &'static str,
    /// Whether it has expired.
    expired: bool,
    /// The status it redirects with.
    #[schema(example = 302)]
    redirect: u16,
    /// Whether the query of a request is added to the target.
    forward_query: bool,
    /// The time until which it works.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Its title, for people.
    #[schema(required = true)]
    title: Option<String>,
    /// Its tags, by which people sort it.
    tags: Vec<String>,
    /// The namespace it belongs to.
    #[schema(example = "default")]
    owner: String,
    /// Starts at 1 and rises by one at each change; its `ETag`.
    #[schema(minimum = 1)]
    generation: i64,
    /// When it was first claimed.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When it was deleted, if it is deleted now.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    deleted_at: Option<Timestamp>,
    /// When it was last brought back.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    reactivated_at: Option<Timestamp>,
    /// How often it was followed, if `include=clicks` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    clicks: Option<ClicksBody>,
}

/// How often a link was followed, since it exists.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkClicks)]
pub(crate) struct ClicksBody {
    /// By people and bots.
    total: u64,
    /// By people.
    humans: u64,
    /// By bots.
    bots: u64,
    /// When it was last followed.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    last_at: Option<Timestamp>,
}

impl From<ClickTotals> for ClicksBody {
    fn from(totals: ClickTotals) -> Self {
        Self { total: totals.total(), humans: totals.humans, bots: totals.bots, last_at: totals.last_at }
    }
}

impl LinkBody {
    /// The same with its clicks.
    pub(crate) fn with_clicks(self, totals: ClickTotals) -> Self {
        Self { clicks: Some(totals.into()), ..self }
    }

    pub(crate) fn of(link: &Link, bases: &Bases<'_>, now: Timestamp) -> Self {
        Self {
            id: link.id,
            domain: bases.host(link.domain).into_owned(),
            code: link.code.to_string(),
            short_url: bases.short_url(link),
            url: link.behaviour.target.to_string(),
            state: link.state.name(),
            expired: link.behaviour.is_expired(now),
            redirect: link.behaviour.redirect.as_u16(),
            forward_query: link.behaviour.forward_query,
            expires_at: link.behaviour.expires_at,
            title: link.title.as_ref().map(|title| title.as_str().to_owned()),
            tags: link.tags.as_slice().to_vec(),
            owner: link.owner.to_string(),
            generation: link.generation.get(),
            created_at: link.created_at,
            updated_at: link.updated_at,
            deleted_at: link.deleted_at(),
            reactivated_at: link.reactivated_at,
            clicks: None,
        }
    }
}

/// A link and what a claim did to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClaimedLink {
    #[serde(flatten)]
    link: LinkBody,
    /// `created`, `existing` or `reactivated`.
    #[schema(example = "created")]
    outcome: &'static str,
}

impl ClaimedLink {
    pub(crate) fn of(link: &Link, outcome: &'static str, bases: &Bases<'_>, now: Timestamp) -> Self {
        Self { link: LinkBody::of(link, bases, now), outcome }
    }
}

/// The link a claim led to and the name of its outcome; `None` if it led to no link.
pub(crate) fn outcome(claim: &Claim) -> Option<(&Link, &'static str)> {
    match claim {
        Claim::Created(link) => Some((link, "created")),
        Claim::Existing(link) => Some((link, "existing")),
        Claim::Reactivated(link) => Some((link, "reactivated")),
        Claim::AliasTaken => None,
    }
}

/// The answer with a link.
pub(crate) fn answer(link: &Link, bases: &Bases<'_>, now: Timestamp) -> HttpResponse {
    tagged(StatusCode::OK, link).json(LinkBody::of(link, bases, now))
}

/// An answer about a link, with its `ETag`.
pub(crate) fn tagged(status: StatusCode, link: &Link) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::ETAG, entity_tag(link.generation)))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"));
    response
}
