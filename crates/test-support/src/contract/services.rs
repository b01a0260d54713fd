//! Services over the store: the operations of the product as callers use them, and health.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    access::Access,
    actor::Actor,
    history::EventKind,
    lifecycle::{BehaviourEdit, Claim, Edit, Resolution},
    link::{Generation, Link},
    ports::{ListQuery, Position, Sort},
    service::{Call, ClaimRequest, ClaimSummary, LinkService, Precondition, ServiceError},
};

use super::subject::{
    Subject, a_link, address, all_links, at_once, behave, call_of, call_of_admin, code, entitle, owner, retarget,
    scripted,
};

const ANY: Precondition = Precondition::None;

pub async fn a_working_store_answers_a_ping(subject: Subject) {
    subject.health.ping().await.expect("the store is there");
    subject.given(&a_link()).await;
    subject.health.ping().await.expect("the store is still there");
}

// ---- Claims -----------------------------------------------------------------------------------

pub async fn a_claim_belongs_to_its_caller(subject: Subject) {
    let call = call_of("team-a");
    let link = claimed(&subject, &call, a_link().request()).await;
    assert_eq!(link.owner, owner("team-a"));
    let created = subject.history(&link).await.remove(0);
    assert_eq!((created.provenance.actor, created.provenance.request_id), (call.caller.actor, call.request_id));
    assert_eq!(created.provenance.at, subject.now());
}

pub async fn a_claim_tells_what_became_of_each_request(subject: Subject) {
    subject.given(&a_link().of("team-b").alias("taken")).await;
    let requests = [a_link().request(), a_link().request(), a_link().alias("taken").request()];
    let summary = subject.service().claim(&call_of("team-a"), &requests).await.expect("nothing is wrong");
    assert!(
        matches!(summary.claims.as_slice(), [Claim::Created(_), Claim::Existing(_), Claim::AliasTaken]),
        "{summary:?}"
    );
    assert_eq!(summary.code_collisions, 0);
}

pub async fn claiming_again_finds_and_claiming_after_deletion_brings_back(subject: Subject) {
    let (service, call) = (subject.service(), call_of("team-a"));
    let link = claimed(&subject, &call, a_link().request()).await;
    let again = claim(&service, &call, a_link().request()).await.claims;
    assert_eq!(again, [Claim::Existing(link.clone())]);
    service.delete(&call, &link.address(), &ANY).await.expect("it is active");
    let back = claim(&service, &call, a_link().request()).await.claims;
    assert!(matches!(back.as_slice(), [Claim::Reactivated(same)] if same.code == link.code), "{back:?}");
}

pub async fn force_new_gives_a_link_of_its_own(subject: Subject) {
    let call = call_of("team-a");
    let shared = claimed(&subject, &call, a_link().request()).await;
    let own = claimed(&subject, &call, a_link().separate().request()).await;
    let another = claimed(&subject, &call, a_link().separate().request()).await;
    assert!(shared.code != own.code && own.code != another.code && !own.deduplicated);
    let found = claim(&subject.service(), &call, a_link().request()).await.claims;
    assert_eq!(found, [Claim::Existing(shared)]);
}

pub async fn an_expiry_that_is_not_in_the_future_cannot_be_claimed(subject: Subject) {
    for expiry in [subject.now(), subject.in_seconds(-1)] {
        let requests = [a_link().to("https://example.com/fine").request(), a_link().expiring(expiry).request()];
        let refused = subject.service().claim(&call_of("team-a"), &requests).await;
        assert_refused!(refused, ServiceError::ExpiryNotInFuture);
    }
    assert!(subject.everything().await.is_empty());
}

pub async fn an_expired_link_cannot_be_claimed_again_by_accident(subject: Subject) {
    let (call, request) = (call_of("team-a"), a_link().expiring(subject.in_seconds(60)).request());
    let link = claimed(&subject, &call, request.clone()).await;
    subject.clock.advance(60);
    assert_refused!(subject.service().claim(&call, &[request]).await, ServiceError::ExpiryNotInFuture);
    assert_eq!(subject.find(&link).await, link);
}

// ---- Codes ------------------------------------------------------------------------------------

pub async fn a_collision_is_hidden_and_counted(subject: Subject) {
    subject.given(&a_link().alias("taken")).await;
    let service = subject.service_drawing(scripted(&["taken", "free"]));
    let summary = claim(&service, &call_of("team-a"), a_link().request()).await;
    assert!(matches!(summary.claims.as_slice(), [Claim::Created(link)] if link.code == code("free")), "{summary:?}");
    assert_eq!(summary.code_collisions, 1);
}

pub async fn six_collisions_end_a_claim(subject: Subject) {
    subject.given(&a_link().alias("taken")).await;
    let (before, codes) = (subject.everything().await, scripted(&["taken"]));
    let requests = [a_link().alias("undone").request(), a_link().to("https://example.com/other").request()];
    let exhausted = subject.service_drawing(codes.clone()).claim(&call_of("team-a"), &requests).await;
    assert_refused!(exhausted, ServiceError::CodesExhausted { attempts: 6 });
    assert_eq!(codes.drawn(), 6);
    assert_eq!(subject.everything().await, before);
}

pub async fn five_collisions_do_not_end_a_claim(subject: Subject) {
    subject.given(&a_link().alias("taken")).await;
    let service = subject.service_drawing(scripted(&["taken", "taken", "taken", "taken", "taken", "free"]));
    let summary = claim(&service, &call_of("team-a"), a_link().request()).await;
    assert_eq!((summary.claims.len(), summary.code_collisions), (1, 5));
}

pub async fn a_tiny_code_space_is_used_up_and_never_given_out_again(subject: Subject) {
    let (call, service) = (call_of("team-a"), subject.service_drawing(scripted(&["aaa", "bbb", "ccc"])));
    let url = |number: usize| a_link().to(&format!("https://example.com/{number}")).request();
    for number in 0..3 {
        let summary = claim(&service, &call, url(number)).await;
        assert!(matches!(summary.claims.as_slice(), [Claim::Created(_)]), "{summary:?}");
    }
    for name in ["aaa", "bbb", "ccc"] {
        service.delete(&call, &address(name), &ANY).await.expect("it is active");
    }
    let before = subject.everything().await;
    assert_refused!(service.claim(&call, &[url(3)]).await, ServiceError::CodesExhausted { attempts: 6 });
    assert_eq!(subject.everything().await, before);
    let back = claim(&service, &call, url(1)).await.claims;
    assert!(matches!(back.as_slice(), [Claim::Reactivated(link)] if link.code == code("bbb")), "{back:?}");
}

pub async fn an_alias_needs_no_free_code(subject: Subject) {
    subject.given(&a_link().alias("taken")).await;
    let codes = scripted(&["taken"]);
    let service = subject.service_drawing(codes.clone());
    let summary = claim(&service, &call_of("team-a"), a_link().alias("promo").request()).await;
    assert!(matches!(summary.claims.as_slice(), [Claim::Created(_)]), "{summary:?}");
    assert_eq!(codes.drawn(), 0);
}

pub async fn claims_at_once_in_a_crowded_code_space_share_no_code(subject: Subject) {
    let summaries = at_once(16, |index| {
        let names: Vec<_> = (0..4).map(|number| format!("code-{}-{number}", index / 4)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (service, call) = (subject.service_drawing(scripted(&names)), call_of("team-a"));
        let request = a_link().to(&format!("https://example.com/{index}")).request();
        async move { claim(&service, &call, request).await }
    })
    .await;
    // Four callers draw the same four codes in the same order: 0 + 1 + 2 + 3 collisions, four times.
    let collisions: u32 = summaries.iter().map(|summary| summary.code_collisions).sum();
    assert_eq!((subject.everything().await.len(), collisions), (16, 24));
}

// ---- Owners -----------------------------------------------------------------------------------

pub async fn a_link_of_another_owner_is_not_found_by_any_verb(subject: Subject) {
    let link = subject.given(&a_link().of("team-b")).await;
    let gone = subject.given(&a_link().of("team-b").separate().deleted()).await;
    let before = subject.everything().await;
    for hidden in [link, gone] {
        assert_not_found(&subject, &call_of("team-a"), &hidden).await;
    }
    assert_eq!(subject.everything().await, before);
}

pub async fn an_unknown_code_is_not_found_by_any_verb(subject: Subject) {
    let unknown = subject.candidate(&a_link().of("team-a")).link;
    for call in [call_of("team-a"), call_of_admin()] {
        assert_not_found(&subject, &call, &unknown).await;
    }
}

async fn assert_not_found(subject: &Subject, call: &Call, link: &Link) {
    let (service, access, address) = (subject.service(), call.caller.access(), &link.address());
    let right = generations(&[link.generation.get()]);
    assert_refused!(service.find(&access, address).await, ServiceError::NotFound);
    assert_refused!(service.history(&access, address, None, 10).await, ServiceError::NotFound);
    for expected in [ANY, right, generations(&[])] {
        assert_refused!(service.edit(call, address, &expected, &entitle("Mine")).await, ServiceError::NotFound);
        assert_refused!(service.delete(call, address, &expected).await, ServiceError::NotFound);
        assert_refused!(service.reactivate(call, address, &expected).await, ServiceError::NotFound);
    }
}

pub async fn an_admin_sees_and_changes_links_of_every_owner(subject: Subject) {
    let link = subject.given(&a_link().of("team-b")).await;
    let (service, admin) = (subject.service(), call_of_admin());
    assert_eq!(service.find(&admin.caller.access(), &link.address()).await.expect("admins see all"), link);
    let gone = service.delete(&admin, &link.address(), &ANY).await.expect("admins may delete");
    assert_eq!(gone.owner, owner("team-b"));
    assert_eq!(subject.history(&link).await[0].provenance.actor, admin.caller.actor);
}

pub async fn an_admin_claims_for_its_own_owner(subject: Subject) {
    let theirs = subject.given(&a_link().of("team-b")).await;
    let own = claimed(&subject, &call_of_admin(), a_link().request()).await;
    assert_ne!(own.code, theirs.code);
    let taken = claim(&subject.service(), &call_of_admin(), a_link().alias(theirs.code.as_str()).request()).await;
    assert_eq!(taken.claims, [Claim::AliasTaken]);
}

pub async fn an_owner_finds_its_own_link_deleted_or_not(subject: Subject) {
    let (service, access) = (subject.service(), Access::Owner(owner("team-a")));
    for draft in [a_link(), a_link().separate().deleted()] {
        let link = subject.given(&draft.of("team-a")).await;
        assert_eq!(service.find(&access, &link.address()).await.expect("it is there"), link);
    }
}

// ---- Edit, delete, reactivate -----------------------------------------------------------------

pub async fn an_edit_is_stored_and_told(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    subject.clock.advance(60);
    let edit = Edit { title: Some(None), ..retarget("https://example.com/moved") };
    let edited = subject.service().edit(&call_of("team-a"), &link.address(), &ANY, &edit).await.expect("it is active");
    assert_eq!(edited.behaviour.target.as_str(), "https://example.com/moved");
    assert_eq!((edited.generation, edited.updated_at), (link.generation.next(), subject.now()));
    assert_eq!(subject.find(&link).await, edited);
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Edited]);
}

pub async fn an_edit_that_changes_nothing_writes_nothing(subject: Subject) {
    let link = subject.given(&a_link().of("team-a").titled("Same")).await;
    let before = subject.everything().await;
    let same = Edit { title: entitle("Same").title, ..retarget("https://example.com/") };
    for edit in [same, Edit::default()] {
        let unchanged = subject.service().edit(&call_of("team-a"), &link.address(), &ANY, &edit).await;
        assert_eq!(unchanged.expect("it is active"), link);
    }
    assert_eq!(subject.everything().await, before);
}

pub async fn a_deleted_link_cannot_be_edited(subject: Subject) {
    let gone = subject.given(&a_link().of("team-a").deleted()).await;
    for edit in [entitle("New"), Edit::default()] {
        let refused = subject.service().edit(&call_of("team-a"), &gone.address(), &ANY, &edit).await;
        assert_refused!(refused, ServiceError::LinkDeleted);
    }
    assert_eq!(subject.find(&gone).await, gone);
}

pub async fn an_edit_cannot_set_an_expiry_that_is_not_in_the_future(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    for expiry in [subject.now(), subject.in_seconds(-1)] {
        let edit = behave(BehaviourEdit { expires_at: Some(Some(expiry)), ..BehaviourEdit::default() });
        let refused = subject.service().edit(&call_of("team-a"), &link.address(), &ANY, &edit).await;
        assert_refused!(refused, ServiceError::ExpiryNotInFuture);
    }
    assert_eq!(subject.find(&link).await, link);
}

pub async fn an_expired_link_can_still_be_edited_and_deleted(subject: Subject) {
    let (service, call) = (subject.service(), call_of("team-a"));
    let link = subject.given(&a_link().of("team-a").expiring(subject.in_seconds(1))).await;
    subject.clock.advance(60);
    let edited = service.edit(&call, &link.address(), &ANY, &entitle("Late")).await.expect("expired is not deleted");
    assert_eq!(edited.behaviour, link.behaviour);
    service.delete(&call, &link.address(), &ANY).await.expect("expired is not deleted");
}

pub async fn deleting_twice_is_deleting_once(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let (service, call) = (subject.service(), call_of("team-a"));
    let gone = service.delete(&call, &link.address(), &ANY).await.expect("it is active");
    let before = subject.everything().await;
    subject.clock.advance(60);
    assert_eq!(service.delete(&call, &link.address(), &ANY).await.expect("it stays deleted"), gone);
    assert_eq!(subject.everything().await, before);
}

pub async fn reactivating_an_active_link_changes_nothing(subject: Subject) {
    let (service, call) = (subject.service(), call_of("team-a"));
    let gone = subject.given(&a_link().of("team-a").deleted()).await;
    let back = service.reactivate(&call, &gone.address(), &ANY).await.expect("it is deleted");
    let before = subject.everything().await;
    subject.clock.advance(60);
    assert_eq!(service.reactivate(&call, &gone.address(), &ANY).await.expect("it stays active"), back);
    assert_eq!(subject.everything().await, before);
}

pub async fn the_whole_life_of_a_link_keeps_its_code_and_id(subject: Subject) {
    let (service, call) = (subject.service(), call_of("team-a"));
    let link = claimed(&subject, &call, a_link().request()).await;
    service.edit(&call, &link.address(), &ANY, &entitle("A title")).await.expect("it is active");
    service.delete(&call, &link.address(), &ANY).await.expect("it is active");
    claim(&service, &call, a_link().request()).await;
    service.delete(&call, &link.address(), &ANY).await.expect("it is active");
    let last = service.reactivate(&call, &link.address(), &ANY).await.expect("it is deleted");
    assert_eq!((last.id, &last.code, last.created_at), (link.id, &link.code, link.created_at));
    assert_eq!(last.generation.get(), 6);
    let seen = subject.resolver.resolve(&link.address()).await.expect("the store works");
    assert_eq!(seen.resolution.as_deref(), Some(&Resolution::from(&last)));
}

// ---- Preconditions ----------------------------------------------------------------------------

pub async fn a_change_goes_ahead_in_the_expected_generation(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let (service, call) = (subject.service(), call_of("team-a"));
    let edit = entitle("A title");
    service.edit(&call, &link.address(), &generations(&[1]), &edit).await.expect("generation 1");
    service.delete(&call, &link.address(), &generations(&[7, 2])).await.expect("generation 2");
    service.reactivate(&call, &link.address(), &generations(&[3, 1])).await.expect("generation 3");
    assert_eq!(subject.find(&link).await.generation.get(), 4);
}

pub async fn a_change_of_another_generation_is_stale(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let current = subject.edit(&link, &entitle("Another change was faster")).await;
    assert_stale(&subject, &current, &generations(&[1])).await;
    assert_stale(&subject, &current, &generations(&[1, 3])).await;
}

pub async fn an_empty_precondition_never_holds(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    assert_stale(&subject, &link, &generations(&[])).await;
}

pub async fn a_precondition_counts_even_where_nothing_would_change(subject: Subject) {
    let active = subject.given(&a_link().of("team-a")).await;
    let gone = subject.given(&a_link().of("team-a").separate().deleted()).await;
    assert_stale(&subject, &active, &generations(&[9])).await;
    assert_stale(&subject, &gone, &generations(&[9])).await;
}

async fn assert_stale(subject: &Subject, link: &Link, expected: &Precondition) {
    let (service, call, before) = (subject.service(), call_of("team-a"), subject.everything().await);
    for edit in [entitle("Late"), Edit::default()] {
        assert_refused!(service.edit(&call, &link.address(), expected, &edit).await, ServiceError::Stale);
    }
    assert_refused!(service.delete(&call, &link.address(), expected).await, ServiceError::Stale);
    assert_refused!(service.reactivate(&call, &link.address(), expected).await, ServiceError::Stale);
    assert_eq!(subject.everything().await, before);
}

pub async fn of_many_edits_guarded_by_one_generation_one_succeeds(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let outcomes = at_once(32, |index| {
        let (service, call, code) = (subject.service(), call_of("team-a"), link.code.clone());
        let edit = entitle(&format!("Title {index}"));
        async move { service.edit(&call, &code.clone().into(), &generations(&[1]), &edit).await }
    })
    .await;
    let stale = outcomes.iter().filter(|outcome| matches!(outcome, Err(ServiceError::Stale))).count();
    let done: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!((done.len(), stale), (1, 31));
    assert_eq!(subject.find(&link).await, *done[0]);
}

pub async fn edits_at_once_without_a_precondition_all_succeed(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let edited = at_once(16, |index| {
        let (service, call, code) = (subject.service(), call_of("team-a"), link.code.clone());
        let edit = entitle(&format!("Title {index}"));
        async move {
            service.edit(&call, &code.clone().into(), &ANY, &edit).await.expect("it is tried again").generation.get()
        }
    })
    .await;
    let mut generations = edited;
    generations.sort_unstable();
    assert_eq!(generations, (2..=17).collect::<Vec<_>>());
    assert_eq!(subject.history(&link).await.len(), 17);
}

pub async fn deletions_at_once_delete_once(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let gone = at_once(16, |_| {
        let (service, call, code) = (subject.service(), call_of("team-a"), link.code.clone());
        async move { service.delete(&call, &code.clone().into(), &ANY).await.expect("deleting is idempotent") }
    })
    .await;
    assert!(gone.iter().all(|link| *link == gone[0]));
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Deleted]);
}

// ---- Pages ------------------------------------------------------------------------------------

pub async fn a_page_of_links_says_where_the_next_one_begins(subject: Subject) {
    for _ in 0..5 {
        subject.given(&a_link().separate()).await;
        subject.clock.advance_micros(1);
    }
    let whole = subject.list(&ListQuery { sort: Sort::OldestFirst, ..all_links() }).await;
    let query = ListQuery { sort: Sort::OldestFirst, limit: 3, ..all_links() };
    let first = subject.service().list(query.clone()).await.expect("the store works");
    assert_eq!((first.items.as_slice(), first.next), (&whole[..3], Some(Position::from(&whole[2]))));
    let second = subject.service().list(ListQuery { after: first.next, ..query }).await.expect("the store works");
    assert_eq!((second.items.as_slice(), second.next), (&whole[3..], None));
}

pub async fn a_page_that_ends_with_the_last_link_names_no_next_one(subject: Subject) {
    for _ in 0..3 {
        subject.given(&a_link().separate()).await;
    }
    let page = subject.service().list(ListQuery { limit: 3, ..all_links() }).await.expect("the store works");
    assert_eq!((page.items.len(), page.next), (3, None));
}

pub async fn a_page_of_history_says_where_the_next_one_begins(subject: Subject) {
    let link = subject.given(&a_link().of("team-a").deleted()).await;
    let back = subject.reactivate(&link).await;
    subject.delete(&back).await;
    let (service, access) = (subject.service(), Access::Owner(owner("team-a")));
    let (first, next) = service.history(&access, &link.address(), None, 3).await.expect("it is there");
    assert_eq!((first.len(), next), (3, Generation::new(2)));
    let (second, next) = service.history(&access, &link.address(), next, 3).await.expect("it is there");
    assert_eq!((second.len(), next), (1, None));
    assert_eq!((second[0].kind, &second[0].provenance.actor), (EventKind::Created, &Actor::System));
}

// ---- Helpers ----------------------------------------------------------------------------------

fn generations(numbers: &[i64]) -> Precondition {
    let generation = |number: &i64| Generation::new(*number).expect("above zero");
    Precondition::Generations(numbers.iter().map(generation).collect())
}

async fn claim(service: &LinkService, call: &Call, request: ClaimRequest) -> ClaimSummary {
    service.claim(call, &[request]).await.expect("nothing is wrong")
}

/// The new link that a claim leads to.
async fn claimed(subject: &Subject, call: &Call, request: ClaimRequest) -> Link {
    let claims = claim(&subject.service(), call, request).await.claims;
    match claims.as_slice() {
        [Claim::Created(link)] => link.clone(),
        other => panic!("expected a new link, got {other:?}"),
    }
}
