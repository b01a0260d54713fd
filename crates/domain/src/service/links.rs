//! Claim, find, list, edit, delete, reactivate, history.

use std::{fmt, sync::Arc};

use uuid::Uuid;

use super::{Call, ServiceError, repeated};
use crate::{
    access::Access,
    actor::Actor,
    address::{Address, DomainId},
    api_key::Caller,
    behaviour::Behaviour,
    code::Code,
    history::LinkEvent,
    idempotency::{IdempotencyRecord, IdempotentRequest},
    lifecycle::{self, Candidate, Claim, Edit, LinkIsDeleted, Naming, Step},
    link::{Generation, Link, LinkState, Tags, Title},
    ports::{
        Applied, Claims, Clock, CodeGenerator, Entropy, IdempotencyRepository, LinkRepository, ListQuery, Position,
    },
    time::Timestamp,
};

/// A claim, as a caller requests it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// What following the link should do.
    pub behaviour: Behaviour,
    /// The short domain.
    pub domain: DomainId,
    /// The code, if the caller chose one.
    pub alias: Option<Code>,
    /// Whether to create a separate link, even if another one behaves the same.
    pub force_new: bool,
    /// Title of the link, if it is new.
    pub title: Option<Title>,
    /// Tags of the link, if it is new.
    pub tags: Tags,
}

/// A caller without a key asked for an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an alias needs a key")]
pub struct AliasNeedsKey;

impl ClaimRequest {
    /// Rejects an alias of a caller without a key. Such callers have no namespace of their own.
    pub fn admit(&self, caller: &Caller) -> Result<(), AliasNeedsKey> {
        if self.alias.is_some() && caller.actor == Actor::Anonymous { Err(AliasNeedsKey) } else { Ok(()) }
    }

    fn naming(&self) -> Naming {
        match (&self.alias, self.force_new) {
            (Some(_), _) => Naming::Alias,
            (None, true) => Naming::Separate,
            (None, false) => Naming::Shared,
        }
    }
}

/// The outcome of several claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSummary {
    /// One for each request, in their order.
    pub claims: Vec<Claim>,
    /// The errors of the parts that were rejected when the call was first made.
    pub refusals: Option<String>,
    /// How many times the codes were drawn again, because a drawn code belonged to another link.
    pub code_collisions: u32,
}

/// One page of links, and the position where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPage {
    /// In the order asked for.
    pub items: Vec<Link>,
    /// The position of the next page, if there is one.
    pub next: Option<Position>,
}

/// What must be true of a link for a change to go ahead (`If-Match`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// It has one of these generations. An empty list never holds.
    Generations(Vec<Generation>),
}

impl Precondition {
    fn holds(&self, link: &Link) -> bool {
        match self {
            Self::None => true,
            Self::Generations(expected) => expected.contains(&link.generation),
        }
    }
}

/// All operations on links.
#[derive(Clone)]
pub struct LinkService {
    links: Arc<dyn LinkRepository>,
    idempotency: Arc<dyn IdempotencyRepository>,
    clock: Arc<dyn Clock>,
    codes: Arc<dyn CodeGenerator>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for LinkService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkService").finish_non_exhaustive()
    }
}

impl LinkService {
    /// How often codes are drawn for one call before it fails.
    pub const CODE_ATTEMPTS: u32 = 6;
    /// How often a change without a precondition is attempted while concurrent changes win.
    pub const CHANGE_ATTEMPTS: u32 = 100;

    /// A service over these ports.
    pub fn new(
        links: Arc<dyn LinkRepository>,
        idempotency: Arc<dyn IdempotencyRepository>,
        clock: Arc<dyn Clock>,
        codes: Arc<dyn CodeGenerator>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { links, idempotency, clock, codes, entropy }
    }

    /// The present moment, by the clock the service decides with.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The moment at which a call counts as made: when it was first answered, if it repeats an earlier one, or else
    /// now. Validate the call by this moment. Otherwise a request could not be repeated after its expiry.
    pub async fn moment_of(&self, call: &Call) -> Result<Timestamp, ServiceError> {
        let now = self.clock.now();
        match call.once(now) {
            None => Ok(now),
            Some(once) => Ok(self.idempotency.answered_at(&once).await?.unwrap_or(now)),
        }
    }

    /// The idempotency record, if the call repeats an earlier one. Call it before validating the request: rules may
    /// change, but an idempotency record must not.
    pub async fn recall(&self, call: &Call) -> Result<Option<IdempotencyRecord>, ServiceError> {
        let Some(once) = call.once(self.clock.now()) else {
            return Ok(None);
        };
        match self.idempotency.recall(&once).await? {
            None => Ok(None),
            Some(before) => repeated(before, Some).map(Some),
        }
    }

    /// The recorded claims, if the call repeats an earlier one. Call it before validating the request: rules may
    /// change, but an idempotency record must not.
    pub async fn recall_claims(&self, call: &Call) -> Result<Option<ClaimSummary>, ServiceError> {
        let Some(once) = call.once(self.clock.now()) else {
            return Ok(None);
        };
        let before = self.idempotency.recall(&once).await?;
        before.map(|before| repeated(before, recorded_claims)).transpose()
    }

    /// Claims a link for each request: it creates, finds or reactivates them, all in one atomic change.
    pub async fn claim(&self, call: &Call, requests: &[ClaimRequest]) -> Result<ClaimSummary, ServiceError> {
        self.claim_beside(call, requests, None).await
    }

    /// The same, for the remaining parts of a call. `refusals` says which other parts were rejected, and why.
    pub async fn claim_beside(
        &self,
        call: &Call,
        requests: &[ClaimRequest],
        refusals: Option<String>,
    ) -> Result<ClaimSummary, ServiceError> {
        let now = self.clock.now();
        let once = call.once(now).map(|once| IdempotentRequest { refusals: refusals.clone(), ..once });
        if let Some(once) = &once
            && let Some(before) = self.idempotency.recall(once).await?
        {
            return repeated(before, recorded_claims);
        }
        if requests.is_empty() {
            let before = match &once {
                Some(once) => self.idempotency.record(once, &once.answered_by(Vec::new())).await?,
                None => None,
            };
            let nothing = ClaimSummary { claims: Vec::new(), refusals, code_collisions: 0 };
            return before.map_or(Ok(nothing), |before| repeated(before, recorded_claims));
        }
        if requests.iter().any(|request| request.behaviour.is_expired(now)) {
            return Err(ServiceError::ExpiryNotInFuture);
        }
        if !requests.iter().all(|request| call.caller.may_claim_on(request.domain)) {
            return Err(ServiceError::ForbiddenDomain);
        }
        for code_collisions in 0..Self::CODE_ATTEMPTS {
            let candidates: Vec<_> = requests.iter().map(|request| self.candidate(call, request, now)).collect();
            return match self.links.claim(&candidates, once.as_ref()).await? {
                Claims::Settled(claims) => Ok(ClaimSummary { claims, refusals, code_collisions }),
                Claims::Repeated(before) => repeated(before, recorded_claims),
                Claims::UnknownDomain => Err(ServiceError::UnknownDomain),
                Claims::CodeCollision => continue,
            };
        }
        Err(ServiceError::CodesExhausted { attempts: Self::CODE_ATTEMPTS })
    }

    fn candidate(&self, call: &Call, request: &ClaimRequest, now: Timestamp) -> Candidate {
        let naming = request.naming();
        let link = Link {
            id: self.draw_id(now),
            domain: request.domain,
            code: request.alias.clone().unwrap_or_else(|| self.codes.generate()),
            owner: call.caller.owner.clone(),
            behaviour: request.behaviour.clone(),
            deduplicated: naming == Naming::Shared,
            title: request.title.clone(),
            tags: request.tags.clone(),
            state: LinkState::Active,
            generation: Generation::FIRST,
            created_at: now,
            updated_at: now,
            reactivated_at: None,
        };
        Candidate { link, naming, provenance: call.provenance(now) }
    }

    /// A UUID version 7 (RFC 9562 §5.7).
    fn draw_id(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(now.unix_millis(), &random).into_uuid()
    }

    /// The link at this address, deleted or not.
    pub async fn find(&self, access: &Access, address: &Address) -> Result<Link, ServiceError> {
        self.links.find(address).await?.filter(|link| access.includes(link)).ok_or(ServiceError::NotFound)
    }

    /// The links with these ids that the caller may see, in any order.
    pub async fn with_ids(&self, access: &Access, ids: &[Uuid]) -> Result<Vec<Link>, ServiceError> {
        let links = self.links.with_ids(ids).await?;
        Ok(links.into_iter().filter(|link| access.includes(link)).collect())
    }

    /// One page of links.
    pub async fn list(&self, query: ListQuery) -> Result<LinkPage, ServiceError> {
        let limit = query.limit;
        let one_more = ListQuery { limit: limit + 1, ..query };
        let mut items = self.links.list(&one_more).await?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(Position::from);
        Ok(LinkPage { items, next })
    }

    /// One page of a link's history, newest first, and the generation below which the next one begins.
    pub async fn history(
        &self,
        access: &Access,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<(Vec<LinkEvent>, Option<Generation>), ServiceError> {
        self.find(access, address).await?;
        let mut events = self.links.history(address, before, limit + 1).await?;
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next = events.last().filter(|_| more).map(|event| event.generation);
        Ok((events, next))
    }

    /// Sets fields of an active link.
    pub async fn edit(
        &self,
        call: &Call,
        address: &Address,
        expected: &Precondition,
        edit: &Edit,
    ) -> Result<Link, ServiceError> {
        let now = self.clock.now();
        if edit.behaviour.expires_at.flatten().is_some_and(|expiry| expiry <= now) {
            return Err(ServiceError::ExpiryNotInFuture);
        }
        self.change(call, address, expected, |link, now| {
            lifecycle::edit(link, edit, now).map_err(|LinkIsDeleted| ServiceError::LinkDeleted)
        })
        .await
    }

    /// Deletes a link; a deleted one stays as it is.
    pub async fn delete(&self, call: &Call, address: &Address, expected: &Precondition) -> Result<Link, ServiceError> {
        self.change(call, address, expected, |link, now| Ok(lifecycle::delete(link, now))).await
    }

    /// Brings a deleted link back; an active one stays as it is.
    pub async fn reactivate(
        &self,
        call: &Call,
        address: &Address,
        expected: &Precondition,
    ) -> Result<Link, ServiceError> {
        self.change(call, address, expected, |link, now| Ok(lifecycle::reactivate(link, now))).await
    }

    /// Reads the link, decides, and stores the change if the link has not changed meanwhile. Otherwise it tries again,
    /// unless the caller gave a precondition.
    async fn change(
        &self,
        call: &Call,
        address: &Address,
        expected: &Precondition,
        decide: impl Fn(&Link, Timestamp) -> Result<Step, ServiceError>,
    ) -> Result<Link, ServiceError> {
        let access = call.caller.access();
        let once = call.once(self.clock.now());
        if let Some(once) = &once
            && let Some(before) = self.idempotency.recall(once).await?
        {
            return repeated(before, recorded_link);
        }
        for _ in 0..Self::CHANGE_ATTEMPTS {
            let link = self.find(&access, address).await?;
            if !expected.holds(&link) {
                return Err(ServiceError::Stale);
            }
            let now = self.clock.now();
            let change = match decide(&link, now)? {
                Step::Unchanged => return self.unchanged(link, once.as_ref()).await,
                Step::Changed(change) => change,
            };
            match self.links.apply(&change, &call.provenance(now), once.as_ref()).await? {
                Applied::Done => return Ok(change.after),
                Applied::Missing => return Err(ServiceError::NotFound),
                Applied::Repeated(before) => return repeated(before, recorded_link),
                Applied::Stale if *expected != Precondition::None => return Err(ServiceError::Stale),
                Applied::Stale => {}
            }
        }
        Err(ServiceError::Contended { attempts: Self::CHANGE_ATTEMPTS })
    }

    async fn unchanged(&self, link: Link, once: Option<&IdempotentRequest>) -> Result<Link, ServiceError> {
        let Some(once) = once else {
            return Ok(link);
        };
        match self.idempotency.record(once, &IdempotencyRecord::Link(link.clone())).await? {
            None => Ok(link),
            Some(before) => repeated(before, recorded_link),
        }
    }
}

fn recorded_claims(answer: IdempotencyRecord) -> Option<ClaimSummary> {
    let (claims, refusals) = match answer {
        IdempotencyRecord::Claims(claims) => (claims, None),
        IdempotencyRecord::PartlyRefused { claims, refusals } => (claims, Some(refusals)),
        IdempotencyRecord::Link(_)
        | IdempotencyRecord::ApiKey { .. }
        | IdempotencyRecord::Domain(_)
        | IdempotencyRecord::Block { .. } => return None,
    };
    Some(ClaimSummary { claims, refusals, code_collisions: 0 })
}

fn recorded_link(answer: IdempotencyRecord) -> Option<Link> {
    match answer {
        IdempotencyRecord::Link(link) => Some(link),
        IdempotencyRecord::Claims(_)
        | IdempotencyRecord::PartlyRefused { .. }
        | IdempotencyRecord::ApiKey { .. }
        | IdempotencyRecord::Domain(_)
        | IdempotencyRecord::Block { .. } => None,
    }
}
