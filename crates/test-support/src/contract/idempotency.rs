//! Idempotency: a request sent twice has one effect and one answer, whatever happens in between.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    actor::Actor,
    history::EventKind,
    idempotency::{IDEMPOTENCY_WINDOW_SECONDS, IdempotencyRecord, IdempotentRequest},
    lifecycle::{self, Claim},
    link::Link,
    ports::{Applied, Claims, KeyCreation, Repeated, StoredKey},
    service::{Call, Precondition, ServiceError},
};

use super::subject::{
    LinkDraft, Subject, a_link, after, at_once, call_of, end, entitle, repeatable, retarget, scripted,
};

// ---- Recall, record, forget -------------------------------------------------------------------

pub async fn nothing_is_recalled_of_a_new_request(subject: Subject) {
    assert_eq!(recall(&subject, &subject.request("key")).await, None);
}

pub async fn a_recorded_answer_is_recalled(subject: Subject) {
    let link = subject.candidate(&a_link().titled("Ü 🎉").tagged(&["b", "a"]).expiring(subject.in_seconds(9))).link;
    let gone = after(lifecycle::delete(&link, subject.now()));
    let claims =
        [Claim::Created(link.clone()), Claim::Existing(link.clone()), Claim::Reactivated(link), Claim::AliasTaken];
    let key = subject.draw_key().key;
    for (number, answer) in [
        IdempotencyRecord::Claims(claims.to_vec()),
        IdempotencyRecord::Claims(Vec::new()),
        IdempotencyRecord::PartlyRefused { claims: claims.to_vec(), refusals: r#"[{"index":0}]"#.to_owned() },
        IdempotencyRecord::Link(gone),
        IdempotencyRecord::ApiKey { key, salt: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 127, 128, 255] },
    ]
    .into_iter()
    .enumerate()
    {
        let request = subject.request(&format!("key-{number}"));
        assert_eq!(record(&subject, &request, &answer).await, None);
        assert_eq!(recall(&subject, &request).await, Some(answered(answer)));
    }
}

pub async fn the_answer_recorded_first_stays(subject: Subject) {
    let (request, first, second) = (subject.request("key"), an_answer(&subject), an_answer(&subject));
    assert_ne!(first, second);
    assert_eq!(record(&subject, &request, &first).await, None);
    assert_eq!(record(&subject, &request, &second).await, Some(answered(first.clone())));
    assert_eq!(recall(&subject, &request).await, Some(answered(first)));
}

pub async fn a_key_used_for_another_request_is_told(subject: Subject) {
    let (request, other, answer) = (subject.request("key"), subject.other_request("key"), an_answer(&subject));
    assert_eq!(record(&subject, &request, &answer).await, None);
    assert_eq!(recall(&subject, &other).await, Some(Repeated::KeyReused));
    assert_eq!(record(&subject, &other, &an_answer(&subject)).await, Some(Repeated::KeyReused));
    assert_eq!(recall(&subject, &request).await, Some(answered(answer)));
}

pub async fn callers_may_use_the_same_key_for_different_things(subject: Subject) {
    let actors = [Actor::System, Actor::Anonymous, a_key_holder(&subject), a_key_holder(&subject)];
    let mut recorded = Vec::new();
    for actor in actors {
        let request = IdempotentRequest { actor, ..subject.request("key") };
        let answer = an_answer(&subject);
        assert_eq!(record(&subject, &request, &answer).await, None);
        recorded.push((request, answer));
    }
    for (request, answer) in recorded {
        assert_eq!(recall(&subject, &request).await, Some(answered(answer)));
    }
}

fn a_key_holder(subject: &Subject) -> Actor {
    Actor::ApiKey(subject.draw_key().key.id)
}

pub async fn keys_are_compared_letter_by_letter(subject: Subject) {
    let longest = "k".repeat(255);
    let keys = ["key", "Key", "ke", "'\"\\%_{}", longest.as_str(), &longest[1..]];
    let mut recorded = Vec::new();
    for key in keys {
        let answer = an_answer(&subject);
        assert_eq!(record(&subject, &subject.request(key), &answer).await, None, "{key}");
        recorded.push((key, answer));
    }
    for (key, answer) in recorded {
        assert_eq!(recall(&subject, &subject.request(key)).await, Some(answered(answer)), "{key}");
    }
}

pub async fn an_answer_is_kept_for_24_hours(subject: Subject) {
    let answer = an_answer(&subject);
    assert_eq!(record(&subject, &subject.request("key"), &answer).await, None);
    subject.clock.advance(IDEMPOTENCY_WINDOW_SECONDS);
    subject.clock.advance_micros(-1);
    assert_eq!(recall(&subject, &subject.request("key")).await, Some(answered(answer)));
    subject.clock.advance_micros(1);
    assert_eq!(recall(&subject, &subject.request("key")).await, None);
    assert_eq!(recall(&subject, &subject.other_request("key")).await, None);
}

pub async fn a_key_is_free_for_another_request_after_24_hours(subject: Subject) {
    assert_eq!(record(&subject, &subject.request("key"), &an_answer(&subject)).await, None);
    subject.clock.advance(IDEMPOTENCY_WINDOW_SECONDS);
    let (other, answer) = (subject.other_request("key"), an_answer(&subject));
    assert_eq!(record(&subject, &other, &answer).await, None);
    assert_eq!(recall(&subject, &other).await, Some(answered(answer)));
    assert_eq!(recall(&subject, &subject.request("key")).await, Some(Repeated::KeyReused));
}

pub async fn a_new_answer_under_an_old_key_is_kept_for_24_hours_again(subject: Subject) {
    assert_eq!(record(&subject, &subject.request("key"), &an_answer(&subject)).await, None);
    subject.clock.advance(IDEMPOTENCY_WINDOW_SECONDS);
    let answer = an_answer(&subject);
    assert_eq!(record(&subject, &subject.request("key"), &answer).await, None);
    subject.clock.advance(IDEMPOTENCY_WINDOW_SECONDS - 1);
    assert_eq!(recall(&subject, &subject.request("key")).await, Some(answered(answer)));
}

pub async fn answers_up_to_a_moment_are_forgotten_and_counted(subject: Subject) {
    let mut requests = Vec::new();
    for key in ["one", "two", "three", "four"] {
        requests.push(subject.request(key));
        assert_eq!(record(&subject, &subject.request(key), &an_answer(&subject)).await, None);
        subject.clock.advance_micros(1);
    }
    assert_eq!(forget(&subject, &requests[1]).await, 2);
    assert_eq!(forget(&subject, &requests[1]).await, 0);
    assert_eq!(recall(&subject, &requests[0]).await, None);
    assert_eq!(recall(&subject, &requests[1]).await, None);
    assert!(recall(&subject, &requests[2]).await.is_some());
    assert_eq!(forget(&subject, &requests[3]).await, 2);
}

pub async fn more_old_answers_than_one_step_deletes_are_forgotten_in_one_call(subject: Subject) {
    for number in 0..50 {
        let new = record(&subject, &subject.request(&format!("key-{number}")), &an_answer(&subject)).await;
        assert_eq!(new, None);
    }
    assert_eq!(forget(&subject, &subject.request("key-0")).await, 50);
    assert_eq!(recall(&subject, &subject.request("key-49")).await, None);
}

pub async fn forgetting_an_answer_does_not_undo_its_effect(subject: Subject) {
    let request = subject.request("key");
    settled(subject.claims(&[a_link()], Some(&request)).await);
    let before = subject.everything().await;
    assert_eq!(forget(&subject, &request).await, 1);
    assert_eq!(subject.everything().await, before);
}

pub async fn of_many_answers_recorded_at_once_one_stays(subject: Subject) {
    let outcomes = at_once(16, |_| {
        let (subject, request, answer) = (subject.clone(), subject.request("key"), an_answer(&subject));
        async move { (record(&subject, &request, &answer).await, answer) }
    })
    .await;
    let (first, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(before, _)| before.is_none());
    let [(_, winner)] = first.as_slice() else {
        panic!("{} answers were recorded", first.len());
    };
    assert!(others.iter().all(|(before, _)| *before == Some(answered(winner.clone()))));
    assert_eq!(recall(&subject, &subject.request("key")).await, Some(answered(winner.clone())));
}

async fn recall(subject: &Subject, request: &IdempotentRequest) -> Option<Repeated> {
    subject.answers.recall(request).await.expect("the store works")
}

#[must_use]
async fn record(subject: &Subject, request: &IdempotentRequest, answer: &IdempotencyRecord) -> Option<Repeated> {
    subject.answers.record(request, answer).await.expect("the store works")
}

async fn forget(subject: &Subject, until: &IdempotentRequest) -> u64 {
    subject.answers.forget(until.at).await.expect("the store works")
}

/// A different answer on each call.
fn an_answer(subject: &Subject) -> IdempotencyRecord {
    IdempotencyRecord::Link(subject.candidate(&a_link()).link)
}

fn answered(answer: IdempotencyRecord) -> Repeated {
    Repeated::Answer(Box::new(answer))
}

// ---- Claims -----------------------------------------------------------------------------------

pub async fn a_claim_is_recorded_with_its_effect(subject: Subject) {
    subject.given(&a_link().to("https://example.com/gone").deleted()).await;
    subject.given(&a_link().of("team-b").alias("taken")).await;
    let request = subject.request("key");
    let drafts = [a_link(), a_link(), a_link().to("https://example.com/gone"), a_link().alias("taken")];
    let claims = settled(subject.claims(&drafts, Some(&request)).await);
    assert_eq!(claims.len(), 4);
    assert_eq!(recall(&subject, &request).await, Some(answered(IdempotencyRecord::Claims(claims))));
}

pub async fn a_repeated_claim_changes_nothing(subject: Subject) {
    let request = subject.request("key");
    let drafts = [a_link().separate(), a_link().alias("promo")];
    let claims = settled(subject.claims(&drafts, Some(&request)).await);
    let before = subject.everything().await;
    subject.clock.advance(60);
    let again = subject.claims(&drafts, Some(&subject.request("key"))).await;
    assert_eq!(again, Claims::Repeated(answered(IdempotencyRecord::Claims(claims))));
    assert_eq!(subject.everything().await, before);
}

pub async fn a_repeated_claim_gives_the_link_as_it_was(subject: Subject) {
    let request = subject.request("key");
    let claims = settled(subject.claims(&[a_link()], Some(&request)).await);
    let link = claims[0].link().expect("it was created").clone();
    let gone = subject.delete(&link).await;
    let again = subject.claims(&[a_link()], Some(&request)).await;
    assert_eq!(again, Claims::Repeated(answered(IdempotencyRecord::Claims(claims))));
    assert_eq!(subject.find(&link).await, gone);
}

pub async fn a_claim_that_finds_an_active_link_is_recorded_too(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let request = subject.request("key");
    let claims = settled(subject.claims(&[a_link()], Some(&request)).await);
    assert_eq!(claims, [Claim::Existing(link)]);
    assert_eq!(recall(&subject, &request).await, Some(answered(IdempotencyRecord::Claims(claims))));
}

pub async fn a_refused_alias_is_recorded_too(subject: Subject) {
    subject.given(&a_link().of("team-b").alias("taken")).await;
    let request = subject.request("key");
    settled(subject.claims(&[a_link().alias("taken")], Some(&request)).await);
    let refused = IdempotencyRecord::Claims(vec![Claim::AliasTaken]);
    assert_eq!(recall(&subject, &request).await, Some(answered(refused)));
}

pub async fn a_claim_under_a_reused_key_changes_nothing(subject: Subject) {
    settled(subject.claims(&[a_link()], Some(&subject.request("key"))).await);
    let before = subject.everything().await;
    let outcome = subject.claims(&[a_link().separate()], Some(&subject.other_request("key"))).await;
    assert_eq!(outcome, Claims::Repeated(Repeated::KeyReused));
    assert_eq!(subject.everything().await, before);
}

pub async fn a_repeated_claim_is_told_before_a_collision(subject: Subject) {
    let request = subject.request("key");
    let claims = settled(subject.claims(&[a_link().separate().drawing("drawncode")], Some(&request)).await);
    let again = subject.claims(&[a_link().separate().drawing("drawncode")], Some(&request)).await;
    assert_eq!(again, Claims::Repeated(answered(IdempotencyRecord::Claims(claims))));
}

pub async fn a_collision_leaves_no_record(subject: Subject) {
    let taken = subject.given(&a_link()).await.code;
    let request = subject.request("key");
    let collision = [a_link().alias("promo"), a_link().separate().drawing(taken.as_str())];
    assert_eq!(subject.claims(&collision, Some(&request)).await, Claims::CodeCollision);
    assert_eq!(recall(&subject, &request).await, None);
    let claims = settled(subject.claims(&[a_link().alias("promo"), a_link().separate()], Some(&request)).await);
    assert!(claims.iter().all(|claim| matches!(claim, Claim::Created(_))), "{claims:?}");
}

pub async fn a_claim_has_its_effect_anew_after_24_hours(subject: Subject) {
    let first = settled(subject.claims(&[a_link().separate()], Some(&subject.request("key"))).await);
    subject.clock.advance(IDEMPOTENCY_WINDOW_SECONDS);
    let request = subject.request("key");
    let second = settled(subject.claims(&[a_link().separate()], Some(&request)).await);
    assert_ne!(first, second);
    assert_eq!(subject.everything().await.len(), 2);
    assert_eq!(recall(&subject, &request).await, Some(answered(IdempotencyRecord::Claims(second))));
}

pub async fn of_many_equal_claims_at_once_one_has_an_effect(subject: Subject) {
    assert_one_effect(&subject).await;
    assert_eq!(subject.everything().await.len(), 1);
}

pub async fn of_many_equal_claims_at_once_after_24_hours_one_has_an_effect(subject: Subject) {
    settled(subject.claims(&[a_link().separate()], Some(&subject.request("key"))).await);
    subject.clock.advance(IDEMPOTENCY_WINDOW_SECONDS);
    assert_one_effect(&subject).await;
    assert_eq!(subject.everything().await.len(), 2);
}

/// Each claim would create a link of its own.
async fn assert_one_effect(subject: &Subject) {
    let outcomes = at_once(16, |_| {
        let (subject, request) = (subject.clone(), subject.request("key"));
        async move { subject.claims(&[a_link().separate()], Some(&request)).await }
    })
    .await;
    let effects: Vec<_> = outcomes.iter().filter(|outcome| matches!(outcome, Claims::Settled(_))).collect();
    let [Claims::Settled(claims)] = effects.as_slice() else {
        panic!("{} effects", effects.len());
    };
    let repeated = Claims::Repeated(answered(IdempotencyRecord::Claims(claims.clone())));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == repeated).count(), 15);
}

pub async fn of_two_requests_that_race_under_one_key_one_has_an_effect(subject: Subject) {
    let outcomes = at_once(16, |index| {
        let subject = subject.clone();
        let request = if index % 2 == 0 { subject.request("key") } else { subject.other_request("key") };
        async move { subject.claims(&[a_link().separate()], Some(&request)).await }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Claims::Settled(_))).count(), 1);
    let reused = Claims::Repeated(Repeated::KeyReused);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == reused).count(), 8);
    assert_eq!(subject.everything().await.len(), 1);
}

pub async fn a_dropped_claim_can_be_repeated_with_one_effect(subject: Subject) {
    let pace = subject.given(&a_link()).await;
    for round in 0..30 {
        let request = subject.request(&format!("key-{round}"));
        let first = {
            let (subject, request) = (subject.clone(), request.clone());
            tokio::spawn(async move { subject.claims(&[a_link().separate()], Some(&request)).await })
        };
        for _ in 0..round % 10 {
            subject.find(&pace).await;
        }
        let answered = end(first).await;
        let repeated = subject.claims(&[a_link().separate()], Some(&request)).await;
        match repeated {
            Claims::Settled(_) => assert_eq!(answered, None, "what was answered is answered again"),
            Claims::Repeated(Repeated::Answer(_)) => {}
            Claims::CodeCollision | Claims::UnknownDomain | Claims::Repeated(Repeated::KeyReused) => {
                panic!("{repeated:?}")
            }
        }
    }
    assert_eq!(subject.everything().await.len(), 1 + 30);
}

fn settled(outcome: Claims) -> Vec<Claim> {
    match outcome {
        Claims::Settled(claims) => claims,
        refused @ (Claims::CodeCollision | Claims::UnknownDomain | Claims::Repeated(_)) => {
            panic!("expected claims, got {refused:?}")
        }
    }
}

// ---- Changes ----------------------------------------------------------------------------------

pub async fn a_change_is_recorded_with_its_effect(subject: Subject) {
    let gone = subject.given(&a_link().titled("Ü 🎉").tagged(&["b", "a"]).deleted()).await;
    let request = subject.request("key");
    let step = lifecycle::reactivate(&gone, subject.now());
    assert_eq!(subject.apply(&step, Some(&request)).await, Applied::Done);
    let back = after(step);
    assert_eq!(subject.find(&gone).await, back);
    assert_eq!(recall(&subject, &request).await, Some(answered(IdempotencyRecord::Link(back))));
}

pub async fn a_repeated_change_changes_nothing(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let request = subject.request("key");
    let step = lifecycle::delete(&link, subject.now());
    assert_eq!(subject.apply(&step, Some(&request)).await, Applied::Done);
    let before = subject.everything().await;
    let again = subject.apply(&step, Some(&request)).await;
    assert_eq!(again, Applied::Repeated(answered(IdempotencyRecord::Link(after(step)))));
    assert_eq!(subject.everything().await, before);
}

pub async fn a_repetition_is_told_even_where_the_change_would_go_through(subject: Subject) {
    let (link, request) = (subject.given(&a_link()).await, subject.request("key"));
    let first = subject.apply(&lifecycle::delete(&link, subject.now()), Some(&request)).await;
    assert_eq!(first, Applied::Done);
    let gone = subject.find(&link).await;
    let step = lifecycle::reactivate(&gone, subject.now());
    let again = subject.apply(&step, Some(&request)).await;
    assert_eq!(again, Applied::Repeated(answered(IdempotencyRecord::Link(gone.clone()))));
    assert_eq!(subject.find(&link).await, gone);
}

pub async fn a_change_under_a_reused_key_changes_nothing(subject: Subject) {
    let link = subject.given(&a_link()).await;
    settled(subject.claims(&[a_link()], Some(&subject.request("key"))).await);
    let before = subject.everything().await;
    let step = lifecycle::delete(&link, subject.now());
    let outcome = subject.apply(&step, Some(&subject.other_request("key"))).await;
    assert_eq!(outcome, Applied::Repeated(Repeated::KeyReused));
    assert_eq!(subject.everything().await, before);
}

pub async fn a_stale_or_missing_change_leaves_no_record(subject: Subject) {
    let link = subject.given(&a_link()).await;
    subject.edit(&link, &entitle("Another change was faster")).await;
    let never_stored = subject.candidate(&a_link()).link;
    let request = subject.request("key");
    for (link, expected) in [(link, Applied::Stale), (never_stored, Applied::Missing)] {
        let step = lifecycle::delete(&link, subject.now());
        assert_eq!(subject.apply(&step, Some(&request)).await, expected);
        assert_eq!(recall(&subject, &request).await, None);
    }
}

pub async fn of_many_equal_changes_at_once_one_has_an_effect(subject: Subject) {
    let (link, request) = (subject.given(&a_link()).await, subject.request("key"));
    let step = lifecycle::delete(&link, subject.now());
    let outcomes = at_once(16, |_| {
        let (subject, step, request) = (subject.clone(), step.clone(), request.clone());
        async move { subject.apply(&step, Some(&request)).await }
    })
    .await;
    let repeated = Applied::Repeated(answered(IdempotencyRecord::Link(after(step))));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Applied::Done).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == repeated).count(), 15);
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Deleted]);
}

// ---- Keys -------------------------------------------------------------------------------------

pub async fn a_key_creation_is_recorded_with_its_effect(subject: Subject) {
    let (request, key) = (subject.request("key"), subject.draw_key());
    assert_eq!(create(&subject, &key, &request).await, KeyCreation::Done);
    assert_eq!(recall(&subject, &request).await, Some(answered(answer_of(&key))));
}

pub async fn a_repeated_key_creation_changes_nothing(subject: Subject) {
    let (request, first, second) = (subject.request("key"), subject.draw_key(), subject.draw_key());
    assert_eq!(create(&subject, &first, &request).await, KeyCreation::Done);
    let again = create(&subject, &second, &request).await;
    assert_eq!(again, KeyCreation::Repeated(answered(answer_of(&first))));
    assert!(subject.keys.find(&second.key.id).await.expect("the store works").is_none());
}

pub async fn a_key_creation_under_a_reused_key_changes_nothing(subject: Subject) {
    assert_eq!(create(&subject, &subject.draw_key(), &subject.request("key")).await, KeyCreation::Done);
    let second = subject.draw_key();
    let outcome = create(&subject, &second, &subject.other_request("key")).await;
    assert_eq!(outcome, KeyCreation::Repeated(Repeated::KeyReused));
    assert!(subject.keys.find(&second.key.id).await.expect("the store works").is_none());
}

pub async fn of_many_equal_key_creations_at_once_one_has_an_effect(subject: Subject) {
    let outcomes = at_once(16, |_| {
        let (subject, key, request) = (subject.clone(), subject.draw_key(), subject.request("key"));
        async move { create(&subject, &key, &request).await }
    })
    .await;
    let keys = subject.keys.list(None, 100).await.expect("the store works");
    let [key] = keys.as_slice() else {
        panic!("{} keys", keys.len());
    };
    let repeated = KeyCreation::Repeated(answered(IdempotencyRecord::ApiKey { key: key.clone(), salt: SALT }));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == KeyCreation::Done).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == repeated).count(), 15);
}

async fn create(subject: &Subject, key: &StoredKey, request: &IdempotentRequest) -> KeyCreation {
    subject.keys.create(key, Some((request, &answer_of(key)))).await.expect("the store works")
}

fn answer_of(key: &StoredKey) -> IdempotencyRecord {
    IdempotencyRecord::ApiKey { key: key.key.clone(), salt: SALT }
}

const SALT: [u8; 16] = [7; 16];

// ---- Through the service ----------------------------------------------------------------------

pub async fn a_claim_repeated_at_the_service_gets_the_same_answer(subject: Subject) {
    let (service, call) = (subject.service(), repeatable(call_of("team-a"), "key", b"body"));
    let first = service.claim(&call, &[a_link().separate().request()]).await.expect("nothing is wrong");
    subject.clock.advance(60);
    let again = service.claim(&call, &[a_link().separate().request()]).await.expect("nothing is wrong");
    assert_eq!(first.claims, again.claims);
    assert_eq!(subject.everything().await.len(), 1);
}

pub async fn another_body_under_the_same_key_is_refused_at_the_service(subject: Subject) {
    let service = subject.service();
    let link = created(&subject, &repeatable_claim("key", b"body"), &a_link()).await;
    let other = repeatable(call_of("team-a"), "key", b"other body");
    assert_refused!(service.claim(&other, &[a_link().separate().request()]).await, ServiceError::IdempotencyKeyReused);
    let reactivation = service.reactivate(&other, &link.address(), &Precondition::None).await;
    assert_refused!(reactivation, ServiceError::IdempotencyKeyReused);
    assert_eq!(subject.everything().await.len(), 1);
}

pub async fn an_answer_of_another_verb_is_no_answer(subject: Subject) {
    let call = repeatable_claim("key", b"body");
    let link = created(&subject, &call, &a_link()).await;
    let reactivation = subject.service().reactivate(&call, &link.address(), &Precondition::None).await;
    assert_refused!(reactivation, ServiceError::IdempotencyKeyReused);
}

pub async fn a_claim_can_be_repeated_after_its_expiry(subject: Subject) {
    let call = repeatable(call_of("default"), "key", b"body");
    let request = a_link().expiring(subject.in_seconds(10)).request();
    let links = subject.service();
    let asked_at = links.moment_of(&call).await.expect("the store works");
    let first = links.claim(&call, std::slice::from_ref(&request)).await.expect("the expiry is in the future");
    subject.clock.advance(60);
    assert_eq!(links.moment_of(&call).await.expect("the store works"), asked_at);
    let again = links.claim(&call, &[request]).await.expect("the request is the same as before");
    assert_eq!(again.claims, first.claims);
    let other = repeatable(call_of("default"), "other-key", b"body");
    assert_eq!(links.moment_of(&other).await.expect("the store works"), subject.now());
}

pub async fn a_repeated_reactivation_does_not_undo_a_later_deletion(subject: Subject) {
    let gone = subject.given(&a_link().of("team-a").deleted()).await;
    let (service, call) = (subject.service(), repeatable(call_of("team-a"), "key", b""));
    let back = service.reactivate(&call, &gone.address(), &Precondition::None).await.expect("it is deleted");
    let gone_again = subject.delete(&back).await;
    let repeated =
        service.reactivate(&call, &gone.address(), &Precondition::None).await.expect("it was answered before");
    assert_eq!(repeated, back);
    assert_eq!(subject.find(&gone).await, gone_again);
}

pub async fn a_reactivation_without_effect_is_recorded_too(subject: Subject) {
    let link = subject.given(&a_link().of("team-a")).await;
    let (service, call) = (subject.service(), repeatable(call_of("team-a"), "key", b""));
    let unchanged = service.reactivate(&call, &link.address(), &Precondition::None).await.expect("it is active");
    assert_eq!(unchanged, link);
    let gone = subject.delete(&link).await;
    let repeated =
        service.reactivate(&call, &link.address(), &Precondition::None).await.expect("it was answered before");
    assert_eq!(repeated, link);
    assert_eq!(subject.find(&link).await, gone);
}

pub async fn a_failed_change_can_be_repeated_once_it_may_succeed(subject: Subject) {
    let gone = subject.given(&a_link().of("team-a").deleted()).await;
    let (service, call) = (subject.service(), repeatable(call_of("team-a"), "key", b""));
    let edit = retarget("https://example.com/moved");
    assert_refused!(service.edit(&call, &gone.address(), &Precondition::None, &edit).await, ServiceError::LinkDeleted);
    subject.reactivate(&gone).await;
    let edited = service.edit(&call, &gone.address(), &Precondition::None, &edit).await.expect("it is active again");
    assert_eq!(subject.find(&gone).await, edited);
}

pub async fn a_claim_that_found_no_code_can_be_repeated(subject: Subject) {
    subject.given(&a_link().alias("taken")).await;
    let call = repeatable_claim("key", b"body");
    let exhausted = subject.service_drawing(scripted(&["taken"])).claim(&call, &[a_link().request()]).await;
    assert_refused!(exhausted, ServiceError::CodesExhausted { .. });
    created(&subject, &call, &a_link()).await;
}

pub async fn a_repetition_is_answered_although_its_codes_collide(subject: Subject) {
    let (service, call) = (subject.service_drawing(scripted(&["onlyone"])), repeatable_claim("key", b"body"));
    let first = service.claim(&call, &[a_link().separate().request()]).await.expect("the code is free");
    let again = service.claim(&call, &[a_link().separate().request()]).await.expect("it was answered before");
    assert_eq!(first, again);
}

pub async fn equal_requests_at_once_get_equal_answers(subject: Subject) {
    let answers = at_once(16, |_| {
        let (service, call) = (subject.service(), repeatable_claim("key", b"body"));
        let requests = [a_link().separate().request(), a_link().alias("promo").request()];
        async move { service.claim(&call, &requests).await.expect("nothing is wrong").claims }
    })
    .await;
    assert!(answers.iter().all(|claims| *claims == answers[0]));
    assert_eq!(subject.everything().await.len(), 2);
}

pub async fn equal_requests_of_two_callers_are_two_requests(subject: Subject) {
    for name in ["team-a", "team-b"] {
        let call = repeatable(call_of(name), "key", b"body");
        created(&subject, &call, &a_link()).await;
    }
}

fn repeatable_claim(key: &str, body: &[u8]) -> Call {
    repeatable(call_of("team-a"), key, body)
}

async fn created(subject: &Subject, call: &Call, draft: &LinkDraft) -> Link {
    let claims = subject.service().claim(call, &[draft.request()]).await.expect("nothing is wrong").claims;
    match claims.as_slice() {
        [Claim::Created(link)] => link.clone(),
        other => panic!("expected a new link, got {other:?}"),
    }
}
