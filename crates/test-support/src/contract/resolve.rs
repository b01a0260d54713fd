//! Resolving: what `LinkResolver` promises, and the redirect path above it.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use domain::{
    address::Address,
    behaviour::RedirectStatus,
    lifecycle::{BehaviourEdit, Claim, Gone, Resolution},
    link::{Generation, Link, LinkState},
    service::{Followed, Previewed},
};

use super::subject::{Subject, a_link, address, behave, entitle, moment, retarget};

// ---- The port ---------------------------------------------------------------------------------

pub async fn an_unknown_code_resolves_to_nothing(subject: Subject) {
    subject.given(&a_link()).await;
    assert_eq!(resolve(&subject, &address("unknown")).await, None);
}

pub async fn a_resolution_says_what_the_link_does(subject: Subject) {
    for redirect in RedirectStatus::ALL {
        let draft = a_link().redirecting(redirect).expiring(moment("2031-02-03T04:05:06.789012Z"));
        for draft in [draft.clone(), draft.forwarding_queries()] {
            let link = subject.given(&draft.to("https://example.com/a?b=1#c")).await;
            let expected = Resolution {
                id: link.id,
                owner: link.owner.clone(),
                behaviour: link.behaviour.clone(),
                state: LinkState::Active,
                generation: Generation::FIRST,
            };
            assert_eq!(resolve(&subject, &link.address()).await, Some(expected));
        }
    }
}

pub async fn every_kind_of_link_resolves(subject: Subject) {
    for draft in [a_link(), a_link().separate(), a_link().alias("promo"), a_link().of("team-b")] {
        let link = subject.given(&draft).await;
        assert_resolves(&subject, &link).await;
    }
}

pub async fn codes_resolve_letter_by_letter(subject: Subject) {
    let lower = subject.given(&a_link().alias("abc").to("https://example.com/lower")).await;
    let upper = subject.given(&a_link().alias("ABC").to("https://example.com/upper")).await;
    assert_resolves(&subject, &lower).await;
    assert_resolves(&subject, &upper).await;
    assert_eq!(resolve(&subject, &address("aBC")).await, None);
}

pub async fn a_resolution_follows_every_change_at_once(subject: Subject) {
    let link = subject.given(&a_link()).await;
    assert_resolves(&subject, &link).await;
    let edited = subject.edit(&link, &retarget("https://example.com/moved")).await;
    assert_resolves(&subject, &edited).await;
    let gone = subject.delete(&edited).await;
    assert_resolves(&subject, &gone).await;
    let back = subject.reactivate(&gone).await;
    assert_resolves(&subject, &back).await;
}

pub async fn a_code_that_resolved_to_nothing_resolves_once_it_is_claimed(subject: Subject) {
    for (number, draft) in [a_link().alias("promo"), a_link().drawing("drawncode")].into_iter().enumerate() {
        let wanted = address(["promo", "drawncode"][number]);
        assert_eq!(resolve(&subject, &wanted).await, None);
        let link = subject.given(&draft).await;
        assert_resolves(&subject, &link).await;
    }
}

pub async fn a_link_brought_back_by_a_claim_resolves_as_active(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    assert_resolves(&subject, &gone).await;
    assert!(matches!(subject.claim(&a_link()).await, Claim::Reactivated(_)));
    assert_resolves(&subject, &subject.find(&gone).await).await;
    assert!(matches!(resolve(&subject, &gone.address()).await, Some(Resolution { state: LinkState::Active, .. })));
}

pub async fn an_expired_link_still_resolves(subject: Subject) {
    let link = subject.given(&a_link().expiring(subject.in_seconds(1))).await;
    subject.clock.advance(60);
    assert_resolves(&subject, &link).await;
}

pub async fn a_reader_is_never_behind_what_was_acknowledged(subject: Subject) {
    let mut link = subject.given(&a_link()).await;
    let (code, acknowledged) = (link.code.clone(), Arc::new(AtomicI64::new(1)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (subject, code, acknowledged) = (subject.clone(), code.clone(), acknowledged.clone());
            tokio::spawn(async move {
                loop {
                    let least = acknowledged.load(Ordering::SeqCst);
                    let resolution = resolve(&subject, &code.clone().into()).await.expect("links never vanish");
                    assert!(resolution.generation.get() >= least, "{} < {least}", resolution.generation);
                    if least > 40 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 0..40 {
        link = subject.edit(&link, &entitle(&format!("Title {round}"))).await;
        acknowledged.store(link.generation.get(), Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.expect("no reader is behind");
    }
}

async fn resolve(subject: &Subject, address: &Address) -> Option<Resolution> {
    let resolved = subject.resolver.resolve(address).await.expect("the store works");
    let resolution = resolved.resolution.map(|resolution| Resolution::clone(&resolution));
    // `resolve_at_once` must not give an older generation.
    if let Some(at_once) = subject.resolver.resolve_at_once(address) {
        let generation = |resolution: &Resolution| resolution.generation;
        assert!(at_once.resolution.as_deref().map(generation) >= resolution.as_ref().map(generation));
    }
    resolution
}

async fn assert_resolves(subject: &Subject, link: &Link) {
    assert_eq!(resolve(subject, &link.address()).await, Some(Resolution::from(link)));
}

// ---- The redirect path ------------------------------------------------------------------------

pub async fn an_active_link_redirects_with_its_status_to_its_target(subject: Subject) {
    for redirect in RedirectStatus::ALL {
        let draft = a_link().to("https://example.com/%7Euser?a=1#b").redirecting(redirect);
        let link = subject.given(&draft).await;
        let expected = Followed::Redirect {
            status: redirect.as_u16(),
            location: "https://example.com/%7Euser?a=1#b".to_owned(),
            max_age: 10,
            link: Arc::new(Resolution::from(&link)),
            at: subject.now(),
        };
        assert_eq!(follow(&subject, &link.address(), "ignored=1").await, expected);
    }
}

pub async fn a_query_is_forwarded_where_the_link_says_so(subject: Subject) {
    let link = subject.given(&a_link().to("https://example.com/?a=1#b").forwarding_queries()).await;
    assert_eq!(location(&subject, &link, "c=2").await, "https://example.com/?a=1&c=2#b");
    assert_eq!(location(&subject, &link, "").await, "https://example.com/?a=1#b");
}

pub async fn an_unknown_code_leads_nowhere(subject: Subject) {
    assert_eq!(follow(&subject, &address("unknown"), "").await, Followed::Unknown);
}

pub async fn a_deleted_link_is_gone_until_it_comes_back(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    assert_eq!(follow(&subject, &gone.address(), "").await, Followed::Gone(Gone::Deleted));
    subject.reactivate(&gone).await;
    assert_eq!(location(&subject, &gone, "").await, "https://example.com/");
}

pub async fn a_link_is_gone_from_the_very_moment_it_expires(subject: Subject) {
    let link = subject.given(&a_link().expiring(subject.in_seconds(60))).await;
    subject.clock.advance_micros(59_999_999);
    assert_eq!(location(&subject, &link, "").await, "https://example.com/");
    subject.clock.advance_micros(1);
    assert_eq!(follow(&subject, &link.address(), "").await, Followed::Gone(Gone::Expired));
}

pub async fn a_deleted_link_is_told_as_deleted_even_where_it_is_expired(subject: Subject) {
    let gone = subject.given(&a_link().expiring(subject.in_seconds(1)).deleted()).await;
    subject.clock.advance(60);
    assert_eq!(follow(&subject, &gone.address(), "").await, Followed::Gone(Gone::Deleted));
}

pub async fn an_expired_link_redirects_again_once_its_expiry_is_cleared(subject: Subject) {
    let link = subject.given(&a_link().expiring(subject.in_seconds(1))).await;
    subject.clock.advance(60);
    subject.edit(&link, &behave(BehaviourEdit { expires_at: Some(None), ..BehaviourEdit::default() })).await;
    assert_eq!(location(&subject, &link, "").await, "https://example.com/");
}

pub async fn no_answer_may_be_reused_past_the_expiry(subject: Subject) {
    let link = subject.given(&a_link().expiring(subject.in_seconds(60))).await;
    for (passed, expected) in [(0, 10), (50, 10), (3, 7), (6, 1)] {
        subject.clock.advance(passed);
        let followed = follow(&subject, &link.address(), "").await;
        assert!(matches!(followed, Followed::Redirect { max_age, .. } if max_age == expected), "{followed:?}");
    }
}

pub async fn a_retargeted_link_leads_to_its_new_target_at_once(subject: Subject) {
    let link = subject.given(&a_link()).await;
    assert_eq!(location(&subject, &link, "").await, "https://example.com/");
    subject.edit(&link, &retarget("https://example.com/moved")).await;
    assert_eq!(location(&subject, &link, "").await, "https://example.com/moved");
}

pub async fn a_preview_shows_a_link_without_following_it(subject: Subject) {
    let preview = async |address: &Address| subject.resolve_service().preview(address).await.expect("the store works");
    let link = subject.given(&a_link()).await;
    assert_eq!(preview(&link.address()).await, Previewed::Leads(Arc::new(Resolution::from(&link))));
    let gone = subject.delete(&link).await;
    assert_eq!(preview(&gone.address()).await, Previewed::Gone(Gone::Deleted));
    assert_eq!(preview(&address("unknown")).await, Previewed::Unknown);
}

async fn follow(subject: &Subject, address: &Address, query: &str) -> Followed {
    subject.resolve_service().follow(address, query).await.expect("the store works").followed
}

async fn location(subject: &Subject, link: &Link, query: &str) -> String {
    match follow(subject, &link.address(), query).await {
        Followed::Redirect { location, .. } => location,
        nowhere @ (Followed::Blocked | Followed::Gone(_) | Followed::Unknown) => {
            panic!("expected a redirect, got {nowhere:?}")
        }
    }
}
