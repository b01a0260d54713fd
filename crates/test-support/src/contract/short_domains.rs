//! Short domains: the host names that addresses begin with, and links that live on them.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    access::Access,
    actor::Actor,
    address::{Address, DomainId},
    api_key::{ApiKey, Caller, Scopes},
    behaviour::RedirectStatus,
    block::{Block, Lifted, Subject as Blocked},
    idempotency::{Fingerprint, IdempotencyRecord, IdempotentRequest},
    lifecycle::Claim,
    link::{Generation, Link},
    ports::{Adding, Blocking, Claims, KeyCreation, ListQuery, NewShortDomain, Removal, Repeated, StoredKey},
    service::{Call, ServiceError},
    short_domain::{DomainHost, DomainSettings, RobotsRule, ShortDomain},
};

use super::subject::{Subject, a_link, all_links, at_once, idempotency_key, retarget, target};

// ---- The list of them -------------------------------------------------------------------------

pub async fn a_fresh_store_has_the_default_short_domain_alone(subject: Subject) {
    let all = all(&subject).await;
    assert_eq!((all.len(), all[0].id, &all[0].host), (1, DomainId::DEFAULT, &None));
    assert_eq!((&all[0].settings, all[0].generation), (&DomainSettings::default(), Generation::FIRST));
}

pub async fn a_short_domain_is_read_as_it_was_added(subject: Subject) {
    let settings = DomainSettings {
        landing_url: Some(target("https://example.com/")),
        not_found_url: Some(target("https://example.com/not-found")),
        gone_url: Some(target("https://example.com/gone")),
        blocked_url: Some(target("https://example.com/blocked")),
        redirect: Some(RedirectStatus::ALL[3]),
        robots: RobotsRule::Disallow,
        accepts_links: false,
    };
    subject.clock.advance_micros(7);
    let plain = given(&subject, "go.example").await;
    let rich = added(subject.domains.add(&new(&subject, "xn--bcher-kva.example", settings.clone()), None).await);
    assert_eq!((&rich.settings, rich.created_at, rich.updated_at), (&settings, subject.now(), subject.now()));
    assert_eq!(rich.host.as_ref().map(DomainHost::as_str), Some("xn--bcher-kva.example"));
    assert!(plain.id < rich.id && !plain.id.is_default());
    assert_eq!(all(&subject).await[1..], [plain, rich]);
}

pub async fn a_host_is_taken_once(subject: Subject) {
    let first = given(&subject, "go.example").await;
    let again = subject.domains.add(&new(&subject, "go.example", DomainSettings::default()), None).await;
    assert_eq!(again.expect("the store works"), Adding::Taken);
    assert_eq!(all(&subject).await[1..], [first]);
}

pub async fn of_many_short_domains_with_one_host_at_once_one_is_added(subject: Subject) {
    let outcomes = at_once(8, |_| {
        let subject = subject.clone();
        async move {
            let new = new(&subject, "go.example", DomainSettings::default());
            subject.domains.add(&new, None).await.expect("the store works")
        }
    })
    .await;
    let added = outcomes.iter().filter(|outcome| matches!(outcome, Adding::Added(_))).count();
    assert_eq!((added, all(&subject).await.len()), (1, 2));
}

pub async fn settings_are_changed_in_the_generation_they_start_from(subject: Subject) {
    let before = given(&subject, "go.example").await;
    subject.clock.advance(1);
    let settings = DomainSettings { accepts_links: false, ..before.settings.clone() };
    let generation = before.generation.next();
    let after = ShortDomain { settings, generation, updated_at: subject.now(), ..before.clone() };
    assert!(subject.domains.update(&after, before.generation).await.expect("the store works"));
    let late = ShortDomain { generation, ..before.clone() };
    assert!(!subject.domains.update(&late, before.generation).await.expect("the store works"));
    assert_eq!(all(&subject).await[1..], [after]);
}

pub async fn the_default_short_domain_has_settings_too(subject: Subject) {
    let before = all(&subject).await.remove(0);
    let settings = DomainSettings { landing_url: Some(target("https://example.com/")), ..DomainSettings::default() };
    let after = ShortDomain { settings, generation: before.generation.next(), ..before.clone() };
    assert!(subject.domains.update(&after, before.generation).await.expect("the store works"));
    assert_eq!(all(&subject).await, [after]);
}

pub async fn a_removed_short_domain_is_gone_and_its_number_stays_free(subject: Subject) {
    let first = given(&subject, "go.example").await;
    assert_eq!(remove(&subject, first.id).await, Removal::Done);
    assert_eq!(remove(&subject, first.id).await, Removal::Missing);
    let second = given(&subject, "go.example").await;
    assert_ne!(first.id, second.id);
    assert_eq!(all(&subject).await[1..], [second]);
}

pub async fn a_short_domain_with_links_is_not_removed(subject: Subject) {
    let domain = given(&subject, "go.example").await;
    let link = subject.given(&a_link().on(domain.id).deleted()).await;
    assert_eq!(remove(&subject, domain.id).await, Removal::HasLinks);
    assert_eq!(subject.find(&link).await, link);
}

pub async fn a_short_domain_with_blocks_in_force_is_not_removed(subject: Subject) {
    let [domain, other] = [given(&subject, "go.example").await, given(&subject, "other.example").await];
    let block = block_of_promo(&subject, domain.id);
    let placed = subject.blocks.block(&block, None).await.expect("the store works");
    assert_eq!(placed, Blocking::Added(block.clone()));
    assert_eq!(remove(&subject, domain.id).await, Removal::HasBlocks);
    assert_eq!(remove(&subject, other.id).await, Removal::Done, "the block is of another short domain");
    let end = Lifted { at: subject.now(), by: Actor::System };
    assert!(subject.blocks.lift(&block.id, &end).await.expect("the store works"));
    assert_eq!(remove(&subject, domain.id).await, Removal::Done);
}

pub async fn the_default_short_domain_is_not_removed(subject: Subject) {
    assert_ne!(remove(&subject, DomainId::DEFAULT).await, Removal::Done);
    assert_eq!(all(&subject).await.len(), 1);
}

pub async fn a_repeated_addition_is_answered_as_the_first_time(subject: Subject) {
    let once = |body: &[u8]| IdempotentRequest {
        actor: Actor::System,
        key: idempotency_key("one"),
        fingerprint: Fingerprint::of("POST", "/", body),
        at: subject.now(),
        refusals: None,
    };
    let new = new(&subject, "go.example", DomainSettings::default());
    let domain = added(subject.domains.add(&new, Some(&once(b"a"))).await);
    let again = subject.domains.add(&new, Some(&once(b"a"))).await.expect("the store works");
    let answer = IdempotencyRecord::Domain(domain.clone());
    assert_eq!(again, Adding::Repeated(Repeated::Answer(Box::new(answer))));
    let other = subject.domains.add(&new, Some(&once(b"b"))).await.expect("the store works");
    assert_eq!(other, Adding::Repeated(Repeated::KeyReused));
    assert_eq!(all(&subject).await[1..], [domain]);
}

// ---- Links on them ----------------------------------------------------------------------------

pub async fn one_code_leads_elsewhere_on_each_short_domain(subject: Subject) {
    let (one, other) = (given(&subject, "one.example").await.id, given(&subject, "other.example").await.id);
    let mut links = Vec::new();
    for domain in [DomainId::DEFAULT, one, other] {
        let url = format!("https://example.com/{domain}");
        links.push(subject.given(&a_link().on(domain).alias("promo").to(&url)).await);
    }
    for link in &links {
        assert_eq!(subject.find(link).await, *link);
        let resolved = subject.resolver.resolve(&link.address()).await.expect("the store works");
        assert_eq!(resolved.resolution.map(|resolution| resolution.id), Some(link.id));
        assert_eq!(subject.story(link).await.len(), 1);
    }
    let nowhere = Address::new(DomainId::new(30_000).expect("in range"), links[0].code.clone());
    assert_eq!(subject.look_up(&nowhere).await, None);
}

pub async fn claims_share_links_within_their_short_domain(subject: Subject) {
    let domain = given(&subject, "go.example").await.id;
    let (here, there) = (subject.given(&a_link()).await, subject.given(&a_link().on(domain)).await);
    assert_ne!(here.id, there.id);
    assert_eq!(subject.claim(&a_link()).await, Claim::Existing(here));
    let gone = subject.delete(&there).await;
    match subject.claim(&a_link().on(domain)).await {
        Claim::Reactivated(link) => assert_eq!(link.address(), gone.address()),
        other => panic!("expected a reactivated link, got {other:?}"),
    }
}

pub async fn an_alias_is_taken_on_its_short_domain_only(subject: Subject) {
    let domain = given(&subject, "go.example").await.id;
    let promo = |domain, url: &str| a_link().on(domain).alias("promo").to(url);
    let here = subject.given(&promo(DomainId::DEFAULT, "https://example.com/here")).await;
    let there = subject.given(&promo(domain, "https://example.com/there")).await;
    assert_eq!(subject.claim(&promo(domain, "https://example.com/here")).await, Claim::AliasTaken);
    assert_eq!(subject.claim(&promo(domain, "https://example.com/there")).await, Claim::Existing(there));
    assert_eq!(subject.claim(&promo(DomainId::DEFAULT, "https://example.com/here")).await, Claim::Existing(here));
    // A drawn code collides on its short domain only.
    let drawn = a_link().on(domain).separate().drawing("drawncode");
    subject.given(&drawn).await;
    assert_eq!(subject.claims(std::slice::from_ref(&drawn), None).await, Claims::CodeCollision);
    subject.given(&drawn.on(DomainId::DEFAULT)).await;
}

pub async fn nothing_is_claimed_on_an_unknown_short_domain(subject: Subject) {
    let unknown = DomainId::new(7).expect("in range");
    let drafts = [a_link().to("https://example.com/known"), a_link().on(unknown)];
    assert_eq!(subject.claims(&drafts, None).await, Claims::UnknownDomain);
    assert_eq!(subject.claims(&drafts[1..], None).await, Claims::UnknownDomain);
    assert_eq!(subject.everything().await, []);
}

pub async fn a_change_of_a_link_leaves_its_namesake_alone(subject: Subject) {
    let domain = given(&subject, "go.example").await.id;
    let here = subject.given(&a_link().alias("promo")).await;
    let there = subject.given(&a_link().on(domain).alias("promo")).await;
    let moved = subject.edit(&there, &retarget("https://example.com/moved")).await;
    let gone = subject.delete(&moved).await;
    assert_eq!((subject.find(&here).await, subject.find(&there).await), (here.clone(), gone));
    assert_eq!((subject.story(&here).await.len(), subject.story(&there).await.len()), (1, 3));
}

pub async fn lists_may_be_of_one_short_domain(subject: Subject) {
    let domain = given(&subject, "go.example").await.id;
    let here = subject.given(&a_link()).await;
    let there = subject.given(&a_link().on(domain)).await;
    let of = |domain| {
        let mut query: ListQuery = all_links();
        query.filter.domain = domain;
        query
    };
    let ids = |links: Vec<Link>| links.iter().map(|link| link.id).collect::<Vec<_>>();
    assert_eq!(ids(subject.list(&of(Some(domain))).await), [there.id]);
    assert_eq!(ids(subject.list(&of(Some(DomainId::DEFAULT))).await), [here.id]);
    assert_eq!(subject.list(&of(None)).await.len(), 2);
}

pub async fn a_key_may_be_bound_to_short_domains(subject: Subject) {
    let domain = given(&subject, "go.example").await.id;
    let (here, there) = (subject.given(&a_link()).await, subject.given(&a_link().on(domain)).await);
    let bound = Access::OwnerOn(here.owner.clone(), vec![domain]);
    let found = subject.list(&ListQuery { access: bound.clone(), ..all_links() }).await;
    assert_eq!(found, std::slice::from_ref(&there));
    assert!(bound.includes(&there) && !bound.includes(&here));
    let stored = StoredKey {
        key: ApiKey { domains: vec![domain, DomainId::DEFAULT], ..subject.draw_key().key },
        ..subject.draw_key()
    };
    assert_eq!(subject.keys.create(&stored, None).await.expect("the store works"), KeyCreation::Done);
    let found = subject.keys.find(&stored.key.id).await.expect("the store works");
    assert_eq!(found.map(|found| found.key), Some(stored.key));
    // The service refuses what the key does not reach.
    let caller = Caller { actor: Actor::System, owner: here.owner, scopes: Scopes::default(), domains: vec![domain] };
    let call = Call { caller, request_id: "test".parse().expect("valid"), idempotency: None };
    let elsewhere = subject.service().claim(&call, &[a_link().separate().request()]).await;
    assert_refused!(elsewhere, ServiceError::ForbiddenDomain);
    assert!(subject.service().claim(&call, &[a_link().on(domain).separate().request()]).await.is_ok());
}

fn block_of_promo(subject: &Subject, domain: DomainId) -> Block {
    Block {
        id: subject.draw_id(),
        subject: Blocked::parse("code", "promo", domain).expect("valid"),
        reason: "phishing".parse().expect("valid"),
        created_at: subject.now(),
        created_by: Actor::System,
        lifted: None,
    }
}

pub async fn a_block_of_a_code_is_of_one_short_domain(subject: Subject) {
    let domain = given(&subject, "go.example").await.id;
    for block in [block_of_promo(&subject, domain), block_of_promo(&subject, DomainId::DEFAULT)] {
        let placed = subject.blocks.block(&block, None).await.expect("the store works");
        assert_eq!(placed, Blocking::Added(block));
    }
    let revision = subject.blocks.in_force(None).await.expect("the store works").expect("it is the first");
    let mut values: Vec<_> = revision.subjects.iter().map(|subject| subject.value().into_owned()).collect();
    values.sort();
    assert_eq!(values, [format!("{domain}/promo"), "promo".to_owned()]);
}

pub async fn removals_and_claims_at_once_leave_no_link_without_a_short_domain(subject: Subject) {
    for round in 0..20 {
        let domain = given(&subject, &format!("go{round}.example")).await.id;
        let outcomes = at_once(4, |number| {
            let subject = subject.clone();
            async move {
                if number == 0 {
                    return remove(&subject, domain).await == Removal::Done;
                }
                let claims = subject.claims(&[a_link().on(domain).separate()], None).await;
                matches!(claims, Claims::UnknownDomain)
            }
        })
        .await;
        let is_removed = outcomes[0];
        let exists = all(&subject).await.iter().any(|other| other.id == domain);
        assert_eq!(is_removed, !exists);
        // Removed before the first claim, or not at all.
        assert!(outcomes[1..].iter().all(|refused| *refused == is_removed), "{outcomes:?}");
    }
}

async fn all(subject: &Subject) -> Vec<ShortDomain> {
    subject.domains.all().await.expect("the store works")
}

async fn remove(subject: &Subject, id: DomainId) -> Removal {
    subject.domains.remove(id).await.expect("the store works")
}

fn new(subject: &Subject, host: &str, settings: DomainSettings) -> NewShortDomain {
    NewShortDomain { host: host.parse().expect("a host"), settings, at: subject.now() }
}

fn added(outcome: Result<Adding, domain::ports::RepositoryError>) -> ShortDomain {
    match outcome.expect("the store works") {
        Adding::Added(domain) => domain,
        other => panic!("expected a new short domain, got {other:?}"),
    }
}

/// A short domain that was not there before.
async fn given(subject: &Subject, host: &str) -> ShortDomain {
    added(subject.domains.add(&new(subject, host, DomainSettings::default()), None).await)
}
