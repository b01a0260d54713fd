//! Crowds: what `LinkRepository` promises for claims that run concurrently with claims and deletions, or are dropped.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    history::EventKind,
    lifecycle::{self, Claim, Step},
    link::Link,
    ports::{Applied, Claims},
};

use super::subject::{Subject, a_link, at_once, end};

pub async fn of_many_claims_of_one_url_at_once_one_creates(subject: Subject) {
    let claims = claim_at_once(&subject, 32).await;
    let created: Vec<_> = claims.iter().filter(|claim| matches!(claim, Claim::Created(_))).collect();
    let [Claim::Created(link)] = created.as_slice() else {
        panic!("{} creations", created.len());
    };
    let existing = claims.iter().filter(|claim| **claim == Claim::Existing(link.clone())).count();
    assert_eq!(existing, 31);
    assert_eq!(subject.story(link).await, [EventKind::Created]);
}

pub async fn of_many_claims_of_a_deleted_link_at_once_one_brings_it_back(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    let claims = claim_at_once(&subject, 32).await;
    let back = subject.find(&gone).await;
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Reactivated(back.clone())).count(), 1);
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Existing(back.clone())).count(), 31);
    assert_eq!(subject.story(&gone).await, [EventKind::Created, EventKind::Deleted, EventKind::Reactivated]);
}

async fn claim_at_once(subject: &Subject, count: usize) -> Vec<Claim> {
    at_once(count, |_| {
        let subject = subject.clone();
        async move { subject.claim(&a_link()).await }
    })
    .await
}

pub async fn of_two_owners_who_race_for_an_alias_one_wins(subject: Subject) {
    for round in 0..10 {
        let claims = at_once(16, |index| {
            let subject = subject.clone();
            let draft = a_link().of(["team-a", "team-b"][index % 2]).alias(&format!("race-{round}"));
            async move { subject.claim(&draft).await }
        })
        .await;
        assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Created(_))).count(), 1);
        assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Existing(_))).count(), 7);
        assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::AliasTaken)).count(), 8);
    }
}

pub async fn of_many_links_that_draw_one_code_at_once_one_gets_it(subject: Subject) {
    let outcomes = at_once(16, |index| {
        let subject = subject.clone();
        let draft = a_link().to(&format!("https://example.com/{index}")).drawing("samecode");
        async move { subject.claims(&[draft], None).await }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Claims::Settled(_))).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Claims::CodeCollision)).count(), 15);
    assert_eq!(subject.everything().await.len(), 1);
}

pub async fn an_alias_and_a_drawn_code_that_race_have_one_winner(subject: Subject) {
    for round in 0..10 {
        let outcomes = at_once(8, |index| {
            let subject = subject.clone();
            let code = format!("race-{round}");
            let draft = if index % 2 == 0 { a_link().alias(&code) } else { a_link().separate().drawing(&code) };
            let draft = draft.to(&format!("https://example.com/{}", index % 2));
            async move { subject.claims(&[draft], None).await }
        })
        .await;
        let settled = outcomes.iter().filter_map(|outcome| match outcome {
            Claims::Settled(claims) => claims.first(),
            Claims::CodeCollision | Claims::UnknownDomain | Claims::Repeated(_) => None,
        });
        assert_eq!(settled.filter(|claim| matches!(claim, Claim::Created(_))).count(), 1, "{outcomes:?}");
    }
    assert_eq!(subject.everything().await.len(), 10);
}

pub async fn calls_with_the_same_urls_in_opposite_orders_all_succeed(subject: Subject) {
    for round in 0..20 {
        let drafts: Vec<_> =
            (0..10).map(|number| a_link().to(&format!("https://example.com/{round}/{number}"))).collect();
        if round % 2 == 1 {
            for draft in &drafts {
                subject.given(&draft.clone().deleted()).await;
            }
        }
        let mut answers = at_once(2, |index| {
            let (subject, mut drafts) = (subject.clone(), drafts.clone());
            if index == 1 {
                drafts.reverse();
            }
            async move { subject.settle(&drafts).await }
        })
        .await;
        answers[1].reverse();
        for (one, other) in answers[0].iter().zip(&answers[1]) {
            assert_eq!(one.link(), other.link());
            let finders = [one, other].into_iter().filter(|claim| matches!(claim, Claim::Existing(_))).count();
            assert_eq!(finders, 1, "{one:?} {other:?}");
        }
    }
}

pub async fn deletions_and_claims_at_once_tell_one_story(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let changes = at_once(8, |index| {
        let (subject, link) = (subject.clone(), link.clone());
        async move {
            let mut changes = 0;
            for _ in 0..20 {
                let changed =
                    if index % 2 == 0 { delete_now(&subject, &link).await } else { claim_back(&subject, &link).await };
                changes += usize::from(changed);
            }
            changes
        }
    })
    .await;
    let deletions: usize = changes.iter().step_by(2).sum();
    let returns: usize = changes.iter().skip(1).step_by(2).sum();
    let now = subject.find(&link).await;
    assert_eq!(deletions - returns, usize::from(now.deleted_at().is_some()));

    let story = subject.story(&link).await;
    let back_and_forth = [EventKind::Deleted, EventKind::Reactivated].into_iter().cycle();
    assert_eq!(story[0], EventKind::Created);
    assert_eq!(story[1..], back_and_forth.take(deletions + returns).collect::<Vec<_>>());
    assert_eq!(usize::try_from(now.generation.get()), Ok(story.len()));
    assert_eq!(subject.everything().await.len(), 1);
}

/// Whether this call deleted it.
async fn delete_now(subject: &Subject, link: &Link) -> bool {
    let step = lifecycle::delete(&subject.find(link).await, subject.now());
    step != Step::Unchanged && subject.apply(&step, None).await == Applied::Done
}

/// Whether this call brought it back.
async fn claim_back(subject: &Subject, link: &Link) -> bool {
    let claim = subject.claim(&a_link()).await;
    assert_eq!(claim.link().map(|found| found.id), Some(link.id));
    matches!(claim, Claim::Reactivated(_))
}

pub async fn an_acknowledged_claim_is_seen_by_every_reader(subject: Subject) {
    for _ in 0..20 {
        let link = subject.given(&a_link().separate()).await;
        let found = at_once(4, |_| {
            let (subject, link) = (subject.clone(), link.clone());
            async move { subject.find(&link).await }
        })
        .await;
        assert!(found.iter().all(|found| *found == link));
    }
}

pub async fn a_dropped_call_happened_completely_or_not_at_all(subject: Subject) {
    let pace = subject.given(&a_link()).await;
    for round in 0..30 {
        let drafts = ["one", "other"].map(|name| a_link().to(&format!("https://example.com/{round}/{name}")));
        let candidates: Vec<_> = drafts.iter().map(|draft| subject.candidate(draft)).collect();
        let links = subject.links.clone();
        let offered = candidates.clone();
        let task = tokio::spawn(async move { links.claim(&offered, None).await });
        for _ in 0..round % 10 {
            subject.find(&pace).await;
        }
        let claimed = end(task).await.transpose().expect("the store works");
        assert!(claimed.is_none_or(|claims| matches!(claims, Claims::Settled(_))), "nothing was in its way");
        both_or_neither(&subject, &candidates[0].link, &candidates[1].link).await;
        both_or_neither(&subject, &candidates[1].link, &candidates[0].link).await;
        assert_eq!(subject.settle(&drafts).await.len(), 2);
    }
}

/// Reads the second after the first, because a dropped change may still be in progress.
async fn both_or_neither(subject: &Subject, one: &Link, other: &Link) {
    if subject.look_up(&one.address()).await.is_some() {
        assert_eq!(subject.look_up(&other.address()).await.as_ref(), Some(other));
        assert_eq!(subject.story(other).await, [EventKind::Created]);
    }
}
