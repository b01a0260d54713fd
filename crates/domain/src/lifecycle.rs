//! The lifecycle: every rule about what may happen to a link, as total pure functions.
//!
//! ```text
//!              claim                    delete
//!    (nothing) ─────▶  active  ───────────────────▶ deleted
//!                      ▲    │ edit                    │
//!                      │    └──▶ active (gen+1)       │
//!                      └──────────────────────────────┘
//!                         claim of the same, or reactivate
//! ```
//!
//! A store runs these functions or must agree with them. The contract suite compares the two.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    behaviour::{Behaviour, RedirectStatus},
    history::{EventKind, LinkEvent, Provenance},
    link::{Generation, Link, LinkState, Owner, Tags, Title},
    target::Target,
    time::Timestamp,
};

/// How a claim names its link. This decides which existing link can answer the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    /// A generated code, shared by all claims of one owner that behave the same.
    Shared,
    /// A code the caller chose.
    Alias,
    /// A generated code for this claim alone, excluded from deduplication.
    Separate,
}

/// A claim, with the id and the code that a new link would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The link to create if no existing link answers the claim: generation 1, active.
    pub link: Link,
    /// Which existing link may answer it.
    pub naming: Naming,
    /// Who claims, when, in which request.
    pub provenance: Provenance,
}

/// The outcome of a claim.
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// No link answered the claim: this one is new.
    Created(Link),
    /// An active link answered the claim. It is unchanged.
    Existing(Link),
    /// A deleted link answered the claim. It is active again.
    Reactivated(Link),
    /// The alias belongs to a link that behaves differently or has another owner.
    AliasTaken,
}

impl Claim {
    /// The link, if there is one.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Created(link) | Self::Existing(link) | Self::Reactivated(link) => Some(link),
            Self::AliasTaken => None,
        }
    }
}

/// Decides a claim. `met` is the existing link that can answer it:
///
/// - [`Naming::Shared`]: the [`deduplicated`](Link::deduplicated) link with the same owner and dedup key.
/// - [`Naming::Alias`]: the link with the same code.
/// - With [`Naming::Separate`] it is none.
pub fn claim(met: Option<&Link>, candidate: &Candidate) -> Claim {
    let Some(link) = met else {
        return Claim::Created(candidate.link.clone());
    };
    let same = link.owner == candidate.link.owner && link.dedup_key() == candidate.link.dedup_key();
    if candidate.naming == Naming::Alias && !same {
        return Claim::AliasTaken;
    }
    match reactivate(link, candidate.provenance.at) {
        Step::Unchanged => Claim::Existing(link.clone()),
        Step::Changed(change) => Claim::Reactivated(change.after),
    }
}

/// What an operation does to a link, not yet stored.
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do, nothing to write.
    Unchanged,
    /// One change, one generation, one history entry.
    Changed(Change),
}

/// One change of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation it starts from. It is stored only if the link still has this generation.
    pub from: Generation,
    /// The link as it will be.
    pub after: Link,
    /// The kind of its history entry.
    pub kind: EventKind,
}

impl Change {
    /// The history entry of this change.
    pub fn event(&self, provenance: Provenance) -> LinkEvent {
        LinkEvent { kind: self.kind, generation: self.after.generation, provenance }
    }
}

/// Which fields an edit sets; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Target, redirect status, query forwarding and expiry.
    pub behaviour: BehaviourEdit,
    /// The title; `Some(None)` clears it.
    pub title: Option<Option<Title>>,
    /// The tags.
    pub tags: Option<Tags>,
}

/// The part of an [`Edit`] that decides what following the link does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BehaviourEdit {
    /// Where it leads.
    pub target: Option<Target>,
    /// Which redirect it answers with.
    pub redirect: Option<RedirectStatus>,
    /// Whether the request's query is added.
    pub forward_query: Option<bool>,
    /// The moment from which on it answers 410; `Some(None)` clears it.
    pub expires_at: Option<Option<Timestamp>>,
}

impl BehaviourEdit {
    fn applied_to(&self, before: &Behaviour) -> Behaviour {
        Behaviour {
            target: self.target.clone().unwrap_or_else(|| before.target.clone()),
            redirect: self.redirect.unwrap_or(before.redirect),
            forward_query: self.forward_query.unwrap_or(before.forward_query),
            expires_at: self.expires_at.unwrap_or(before.expires_at),
        }
    }
}

/// Sets fields of an active link. An edit that changes nothing is [`Step::Unchanged`]. An edit that changes the
/// behaviour excludes the link from deduplication permanently.
pub fn edit(link: &Link, edit: &Edit, now: Timestamp) -> Result<Step, LinkIsDeleted> {
    match link.state {
        LinkState::Deleted { .. } => return Err(LinkIsDeleted),
        LinkState::Active => {}
    }
    let behaviour = edit.behaviour.applied_to(&link.behaviour);
    let mut after = link.clone();
    after.deduplicated = link.deduplicated && behaviour == link.behaviour;
    after.behaviour = behaviour;
    after.title = edit.title.clone().unwrap_or(after.title);
    after.tags = edit.tags.clone().unwrap_or(after.tags);
    if after == *link {
        return Ok(Step::Unchanged);
    }
    Ok(changed(link, after, EventKind::Edited, now))
}

/// A deleted link must be reactivated before it is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is deleted")]
pub struct LinkIsDeleted;

/// Deletes an active link; a deleted one stays as it is.
pub fn delete(link: &Link, now: Timestamp) -> Step {
    match link.state {
        LinkState::Deleted { .. } => Step::Unchanged,
        LinkState::Active => {
            let after = Link { state: LinkState::Deleted { at: now }, ..link.clone() };
            changed(link, after, EventKind::Deleted, now)
        }
    }
}

/// Brings a deleted link back; an active one stays as it is.
pub fn reactivate(link: &Link, now: Timestamp) -> Step {
    match link.state {
        LinkState::Active => Step::Unchanged,
        LinkState::Deleted { .. } => {
            let after = Link { state: LinkState::Active, reactivated_at: Some(now), ..link.clone() };
            changed(link, after, EventKind::Reactivated, now)
        }
    }
}

fn changed(before: &Link, after: Link, kind: EventKind, now: Timestamp) -> Step {
    let after = Link { generation: before.generation.next(), updated_at: now, ..after };
    Step::Changed(Change { from: before.generation, after, kind })
}

/// What the redirect path knows of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The id of the link.
    pub id: Uuid,
    /// Whose link it is.
    pub owner: Owner,
    /// What following it does.
    pub behaviour: Behaviour,
    /// Active or deleted.
    pub state: LinkState,
    /// Orders resolutions of one link: the one with the higher generation is newer.
    pub generation: Generation,
}

impl Resolution {
    /// The link as something to follow, if it is active and not expired.
    pub fn follow(&self, now: Timestamp) -> Result<FollowableLink<'_>, Gone> {
        match self.state {
            LinkState::Deleted { .. } => Err(Gone::Deleted),
            LinkState::Active if self.behaviour.is_expired(now) => Err(Gone::Expired),
            LinkState::Active => Ok(FollowableLink { behaviour: &self.behaviour, now }),
        }
    }
}

impl From<&Link> for Resolution {
    fn from(link: &Link) -> Self {
        Self {
            id: link.id,
            owner: link.owner.clone(),
            behaviour: link.behaviour.clone(),
            state: link.state,
            generation: link.generation,
        }
    }
}

/// A link that was active and not expired at one moment. Only such a link redirects.
#[derive(Clone, Copy, Debug)]
pub struct FollowableLink<'a> {
    behaviour: &'a Behaviour,
    now: Timestamp,
}

impl FollowableLink<'_> {
    /// The HTTP status to answer with.
    pub fn status(&self) -> u16 {
        self.behaviour.redirect.as_u16()
    }

    /// The location to answer with, byte for byte. `query` is the request's; it is used only if the link forwards it.
    pub fn location(&self, query: &str) -> String {
        if self.behaviour.forward_query {
            self.behaviour.target.with_query(query)
        } else {
            self.behaviour.target.as_str().to_owned()
        }
    }

    /// How many seconds a redirect may be cached: `most`, or less if the link expires sooner.
    pub fn max_age(&self, most: u64) -> u64 {
        let remaining = |expiry: Timestamp| expiry.seconds_since(self.now);
        self.behaviour.expires_at.map_or(most, |expiry| remaining(expiry).min(most))
    }
}

/// Why an existing link does not redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was deleted.
    Deleted,
    /// It has expired.
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{actor::Actor, target::TargetPolicy};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000).expect("in range")
    }

    fn target(url: &str) -> Target {
        Target::parse(url, &TargetPolicy::default()).expect("valid")
    }

    fn candidate(naming: Naming, url: &str) -> Candidate {
        let link = Link {
            id: Uuid::from_u128(1),
            domain: crate::address::DomainId::DEFAULT,
            code: "h7RkQ2mX".parse().expect("valid"),
            owner: Owner::default(),
            behaviour: Behaviour::to(target(url)),
            deduplicated: naming == Naming::Shared,
            title: None,
            tags: Tags::default(),
            state: LinkState::Active,
            generation: Generation::FIRST,
            created_at: at(1),
            updated_at: at(1),
            reactivated_at: None,
        };
        let provenance = Provenance { actor: Actor::System, request_id: "r".parse().expect("valid"), at: at(9) };
        Candidate { link, naming, provenance }
    }

    fn active() -> Link {
        candidate(Naming::Shared, "https://example.com/").link
    }

    fn change(step: Step) -> Change {
        match step {
            Step::Changed(change) => change,
            Step::Unchanged => panic!("expected a change"),
        }
    }

    fn deleted() -> Link {
        change(delete(&active(), at(2))).after
    }

    #[test]
    fn claiming_nothing_creates_generation_one() {
        let candidate = candidate(Naming::Shared, "https://example.com/");
        assert_eq!(claim(None, &candidate), Claim::Created(candidate.link.clone()));
    }

    #[test]
    fn claiming_an_active_link_returns_it_unchanged() {
        let candidate = candidate(Naming::Shared, "https://example.com/");
        assert_eq!(claim(Some(&active()), &candidate), Claim::Existing(active()));
    }

    #[test]
    fn claiming_a_deleted_link_brings_it_back_one_generation_later() {
        let Claim::Reactivated(link) = claim(Some(&deleted()), &candidate(Naming::Shared, "https://example.com/"))
        else {
            panic!("expected a reactivation");
        };
        assert_eq!(link.state, LinkState::Active);
        assert_eq!(link.generation.get(), 3);
        assert_eq!(link.reactivated_at, Some(at(9)));
        assert_eq!((link.id, link.code, link.created_at), (active().id, active().code, active().created_at));
    }

    #[test]
    fn an_alias_is_taken_by_another_owner_or_another_behaviour_even_when_deleted() {
        let alias = candidate(Naming::Alias, "https://example.com/");
        let foreign = Link { owner: Owner::anonymous(), ..active() };
        let different = Link { behaviour: Behaviour::to(target("https://example.org/")), ..active() };
        for held in [foreign, different] {
            let gone = change(delete(&held, at(2))).after;
            assert_eq!(claim(Some(&held), &alias), Claim::AliasTaken);
            assert_eq!(claim(Some(&gone), &alias), Claim::AliasTaken);
        }
        assert_eq!(claim(Some(&active()), &alias), Claim::Existing(active()));
        assert!(matches!(claim(Some(&deleted()), &alias), Claim::Reactivated(_)));
    }

    #[test]
    fn deleting_twice_is_deleting_once() {
        let first = change(delete(&active(), at(2)));
        assert_eq!(first.kind, EventKind::Deleted);
        assert_eq!(first.after.deleted_at(), Some(at(2)));
        assert_eq!(delete(&first.after, at(3)), Step::Unchanged);
    }

    #[test]
    fn reactivating_an_active_link_changes_nothing() {
        assert_eq!(reactivate(&active(), at(2)), Step::Unchanged);
        let back = change(reactivate(&deleted(), at(3)));
        assert_eq!((back.from.get(), back.after.generation.get()), (2, 3));
        assert_eq!(back.after.deleted_at(), None);
    }

    #[test]
    fn a_deleted_link_cannot_be_edited() {
        assert_eq!(edit(&deleted(), &Edit::default(), at(3)), Err(LinkIsDeleted));
    }

    #[test]
    fn an_edit_that_changes_nothing_is_no_change() {
        let same = Edit {
            behaviour: BehaviourEdit { target: Some(target("https://example.com/")), ..BehaviourEdit::default() },
            title: Some(None),
            tags: Some(Tags::default()),
        };
        assert_eq!(edit(&active(), &same, at(3)), Ok(Step::Unchanged));
    }

    #[test]
    fn only_a_behaviour_change_ends_deduplication_and_it_ends_permanently() {
        let titled = Edit { title: Some("A title".parse().ok()), ..Edit::default() };
        let after = change(edit(&active(), &titled, at(3)).expect("active")).after;
        assert!(after.deduplicated);

        let elsewhere = |url| Edit {
            behaviour: BehaviourEdit { target: Some(target(url)), ..BehaviourEdit::default() },
            ..Edit::default()
        };
        let moved = change(edit(&after, &elsewhere("https://example.org/"), at(4)).expect("active")).after;
        assert!(!moved.deduplicated);
        let back = change(edit(&moved, &elsewhere("https://example.com/"), at(5)).expect("active")).after;
        assert!(!back.deduplicated);
        assert_eq!(back.generation.get(), 4);
    }

    #[test]
    fn every_field_of_an_edit_is_applied() {
        let all = Edit {
            behaviour: BehaviourEdit {
                target: Some(target("https://example.org/")),
                redirect: Some(RedirectStatus::PermanentRedirect),
                forward_query: Some(true),
                expires_at: Some(Some(at(100))),
            },
            title: Some("T".parse().ok()),
            tags: Some(vec!["t".to_owned()].try_into().expect("valid")),
        };
        let after = change(edit(&active(), &all, at(3)).expect("active")).after;
        assert_eq!(after.behaviour.target.as_str(), "https://example.org/");
        assert_eq!(after.behaviour.redirect, RedirectStatus::PermanentRedirect);
        assert!(after.behaviour.forward_query);
        assert_eq!(after.behaviour.expires_at, Some(at(100)));
        assert_eq!(after.title, "T".parse().ok());
        assert_eq!(after.tags.as_slice(), ["t"]);
        assert_eq!(after.updated_at, at(3));
    }

    #[test]
    fn only_active_unexpired_links_can_be_followed() {
        let mut link = active();
        link.behaviour.expires_at = Some(at(10));
        let resolution = Resolution::from(&link);
        assert!(resolution.follow(at(9)).is_ok());
        assert_eq!(resolution.follow(at(10)).err(), Some(Gone::Expired));
        assert_eq!(Resolution::from(&deleted()).follow(at(3)).err(), Some(Gone::Deleted));
    }

    #[test]
    fn max_age_never_exceeds_the_time_to_expiry() {
        let mut link = active();
        assert_eq!(Resolution::from(&link).follow(at(1)).map(|link| link.max_age(10)).ok(), Some(10));
        link.behaviour.expires_at = Some(at(10));
        assert_eq!(Resolution::from(&link).follow(at(7)).map(|link| link.max_age(10)).ok(), Some(3));
    }

    #[test]
    fn a_query_is_forwarded_only_when_asked_for() {
        let mut link = active();
        let location = |link: &Link| Resolution::from(link).follow(at(1)).map(|link| link.location("a=1")).ok();
        assert_eq!(location(&link).as_deref(), Some("https://example.com/"));
        link.behaviour.forward_query = true;
        assert_eq!(location(&link).as_deref(), Some("https://example.com/?a=1"));
    }

    #[test]
    fn a_link_is_followed_with_its_own_status() {
        for redirect in RedirectStatus::ALL {
            let behaviour = Behaviour { redirect, ..Behaviour::to(target("https://example.com/")) };
            assert_eq!(FollowableLink { behaviour: &behaviour, now: at(0) }.status(), redirect.as_u16());
        }
    }
}
