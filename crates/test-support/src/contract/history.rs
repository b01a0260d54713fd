//! History: one entry for each change, none for anything else.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    actor::Actor,
    history::{EventKind, LinkEvent, Provenance},
    lifecycle::{self, Claim, Step},
    link::{Generation, Link},
    ports::{Applied, Claims},
    time::Timestamp,
};

use super::subject::{Subject, a_link, address, at_once, entitle, request_id, retarget};

// ---- Entries ----------------------------------------------------------------------------------

pub async fn each_change_leaves_one_entry_of_its_generation(subject: Subject) {
    let link = a_link_with_a_past(&subject).await;
    let told: Vec<_> =
        subject.history(&link).await.iter().rev().map(|event| (event.kind, event.generation.get())).collect();
    let expected = [
        (EventKind::Created, 1),
        (EventKind::Edited, 2),
        (EventKind::Deleted, 3),
        (EventKind::Reactivated, 4),
        (EventKind::Edited, 5),
    ];
    assert_eq!(told, expected);
}

/// Five changes, a second apart.
async fn a_link_with_a_past(subject: &Subject) -> Link {
    let link = subject.given(&a_link()).await;
    subject.clock.advance(1);
    let link = subject.edit(&link, &entitle("A title")).await;
    subject.clock.advance(1);
    let link = subject.delete(&link).await;
    subject.clock.advance(1);
    let link = subject.reactivate(&link).await;
    subject.clock.advance(1);
    subject.edit(&link, &retarget("https://example.com/moved")).await
}

pub async fn an_entry_says_who_when_and_in_which_request(subject: Subject) {
    let key = subject.draw_key().key.id;
    let request = "r".repeat(64);
    for (number, actor) in [Actor::ApiKey(key), Actor::System, Actor::Anonymous].into_iter().enumerate() {
        subject.clock.advance_micros(1_000_001);
        let link = subject.given(&a_link().alias(&format!("link-{number}")).by(actor.clone(), &request)).await;
        let created = event(EventKind::Created, 1, &actor, &request, subject.now());
        assert_eq!(subject.history(&link).await, std::slice::from_ref(&created));

        subject.clock.advance_micros(1_000_001);
        let deleted = event(EventKind::Deleted, 2, &actor, "A-request.of_another-name", subject.now());
        let Step::Changed(change) = lifecycle::delete(&link, subject.now()) else {
            panic!("the link is active");
        };
        let applied = subject.links.apply(&change, &deleted.provenance, None).await.expect("the store works");
        assert_eq!(applied, Applied::Done);
        assert_eq!(subject.history(&link).await, [deleted, created]);
    }
}

pub async fn a_claim_that_brings_a_link_back_is_told_in_its_own_name(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo")] {
        let link = subject.given(&draft.clone().by(Actor::System, "first").deleted()).await;
        subject.clock.advance(1);
        let claim = subject.claim(&draft.by(Actor::Anonymous, "later")).await;
        assert!(matches!(claim, Claim::Reactivated(_)), "{claim:?}");
        let newest = subject.history(&link).await.remove(0);
        assert_eq!(newest, event(EventKind::Reactivated, 3, &Actor::Anonymous, "later", subject.now()));
    }
}

fn event(kind: EventKind, number: i64, actor: &Actor, request: &str, at: Timestamp) -> LinkEvent {
    let provenance = Provenance { actor: actor.clone(), request_id: request_id(request), at };
    LinkEvent { kind, generation: generation(number), provenance }
}

fn generation(number: i64) -> Generation {
    Generation::new(number).expect("above zero")
}

pub async fn earlier_entries_never_change(subject: Subject) {
    let link = a_link_with_a_past(&subject).await;
    let before = subject.history(&link).await;
    let gone = subject.delete(&link).await;
    subject.reactivate(&gone).await;
    assert_eq!(subject.history(&link).await[2..], before);
}

pub async fn histories_of_links_are_apart(subject: Subject) {
    let link = subject.given(&a_link().alias("abc")).await;
    let other = subject.given(&a_link().alias("ABC")).await;
    subject.delete(&link).await;
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Deleted]);
    assert_eq!(subject.story(&other).await, [EventKind::Created]);
}

pub async fn each_link_of_one_call_has_its_own_entry(subject: Subject) {
    let gone = subject.given(&a_link().to("https://example.com/gone").deleted()).await;
    let claims = subject.settle(&[a_link(), a_link(), a_link().to("https://example.com/gone")]).await;
    let [Claim::Created(new), Claim::Existing(_), Claim::Reactivated(back)] = claims.as_slice() else {
        panic!("{claims:?}");
    };
    assert_eq!(subject.story(new).await, [EventKind::Created]);
    assert_eq!(subject.story(back).await, [EventKind::Created, EventKind::Deleted, EventKind::Reactivated]);
    assert_eq!(gone.code, back.code);
}

// ---- No entries -------------------------------------------------------------------------------

pub async fn a_claim_that_finds_an_active_link_leaves_no_entry(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo")] {
        let link = subject.given(&draft).await;
        for _ in 0..3 {
            assert_eq!(subject.claim(&draft).await, Claim::Existing(link.clone()));
        }
        assert_eq!(subject.story(&link).await, [EventKind::Created]);
    }
}

pub async fn a_taken_alias_leaves_no_entry(subject: Subject) {
    let link = subject.given(&a_link().of("team-a").alias("promo").deleted()).await;
    assert_eq!(subject.claim(&a_link().of("team-b").alias("promo")).await, Claim::AliasTaken);
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Deleted]);
}

pub async fn a_stale_or_missing_change_leaves_no_entry(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let gone = subject.delete(&link).await;
    let stale = lifecycle::delete(&link, subject.now());
    assert_eq!(subject.apply(&stale, None).await, Applied::Stale);
    assert_eq!(subject.story(&gone).await, [EventKind::Created, EventKind::Deleted]);

    let never_stored = subject.candidate(&a_link().alias("never-stored")).link;
    let missing = lifecycle::delete(&never_stored, subject.now());
    assert_eq!(subject.apply(&missing, None).await, Applied::Missing);
    assert!(subject.history(&never_stored).await.is_empty());
}

pub async fn a_collision_leaves_no_entry(subject: Subject) {
    let taken = subject.given(&a_link()).await;
    let other = a_link().to("https://example.com/other").drawing(taken.code.as_str());
    let drafts = [a_link().alias("undone"), other];
    assert_eq!(subject.claims(&drafts, None).await, Claims::CodeCollision);
    assert_eq!(subject.story(&taken).await, [EventKind::Created]);
    assert!(subject.links.history(&address("undone"), None, 10).await.expect("the store works").is_empty());
}

pub async fn an_unknown_code_has_no_history(subject: Subject) {
    assert!(subject.links.history(&address("unknown"), None, 10).await.expect("the store works").is_empty());
}

// ---- Pages ------------------------------------------------------------------------------------

pub async fn the_newest_entry_comes_first(subject: Subject) {
    let link = a_link_with_a_past(&subject).await;
    let generations: Vec<_> = subject.history(&link).await.iter().map(|event| event.generation.get()).collect();
    assert_eq!(generations, [5, 4, 3, 2, 1]);
}

pub async fn the_order_follows_generations_where_the_clock_went_back(subject: Subject) {
    let link = subject.given(&a_link()).await;
    subject.clock.advance(-60);
    subject.delete(&link).await;
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Deleted]);
}

pub async fn a_page_of_history_holds_no_more_than_its_limit(subject: Subject) {
    let link = a_link_with_a_past(&subject).await;
    assert_eq!(page(&subject, &link, None, 2).await, [5, 4]);
    assert_eq!(page(&subject, &link, None, 9).await, [5, 4, 3, 2, 1]);
}

pub async fn history_continues_below_a_generation(subject: Subject) {
    let link = a_link_with_a_past(&subject).await;
    assert_eq!(page(&subject, &link, Some(4), 2).await, [3, 2]);
    assert_eq!(page(&subject, &link, Some(2), 2).await, [1]);
    assert_eq!(page(&subject, &link, Some(99), 1).await, [5]);
    assert!(page(&subject, &link, Some(1), 2).await.is_empty());
}

async fn page(subject: &Subject, link: &Link, before: Option<i64>, limit: u32) -> Vec<i64> {
    let events = subject.links.history(&link.address(), before.map(generation), limit).await.expect("the store works");
    events.iter().map(|event| event.generation.get()).collect()
}

// ---- Concurrency ------------------------------------------------------------------------------

pub async fn changes_at_once_leave_one_entry_for_each_generation(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let stored = at_once(8, |index| {
        let (subject, link) = (subject.clone(), link.clone());
        async move {
            let mut stored = 0;
            for round in 0..10 {
                let now = subject.find(&link).await;
                let edit = entitle(&format!("Title {index} {round}"));
                let step = lifecycle::edit(&now, &edit, subject.now()).expect("no task deletes it");
                stored += i64::from(subject.apply(&step, None).await == Applied::Done);
            }
            stored
        }
    })
    .await;
    let stored: i64 = stored.into_iter().sum();
    let generations: Vec<_> = subject.history(&link).await.iter().rev().map(|event| event.generation.get()).collect();
    assert_eq!(generations, (1..=1 + stored).collect::<Vec<_>>());
    assert_eq!(subject.find(&link).await.generation.get(), 1 + stored);
}
