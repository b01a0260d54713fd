//! Changes: what `LinkRepository::apply` and `LinkRepository::find` promise.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    behaviour::RedirectStatus,
    history::EventKind,
    lifecycle::{self, BehaviourEdit, Edit},
    link::{Generation, Link, LinkState, Tags},
    ports::Applied,
};

use super::subject::{Subject, a_link, address, after, at_once, end, entitle, moment, retarget, tags, target, title};

pub async fn an_unknown_code_is_not_found(subject: Subject) {
    assert_eq!(subject.look_up(&address("unknown")).await, None);
}

pub async fn every_field_of_an_edit_is_stored(subject: Subject) {
    let link = subject.given(&a_link()).await;
    subject.clock.advance_micros(1_234_567);
    let edit = Edit {
        behaviour: BehaviourEdit {
            target: Some(target("https://example.org/moved?x=%20")),
            redirect: Some(RedirectStatus::TemporaryRedirect),
            forward_query: Some(true),
            expires_at: Some(Some(moment("9999-12-31T23:59:59.999999Z"))),
        },
        title: Some(Some(title("Neuer Titel 🎉"))),
        tags: Some(tags(&["z", "a"])),
    };
    let edited = subject.edit(&link, &edit).await;
    assert_eq!((edited.generation.get(), edited.updated_at), (2, subject.now()));
    assert_eq!(subject.find(&link).await, edited);
}

pub async fn an_edit_can_clear_what_may_be_absent(subject: Subject) {
    let full = a_link().titled("A title").tagged(&["tag"]).expiring(subject.in_seconds(60)).forwarding_queries();
    let link = subject.given(&full).await;
    let edit = Edit {
        behaviour: BehaviourEdit { expires_at: Some(None), forward_query: Some(false), ..BehaviourEdit::default() },
        title: Some(None),
        tags: Some(Tags::default()),
    };
    let edited = subject.edit(&link, &edit).await;
    assert_eq!((&edited.title, edited.behaviour.expires_at), (&None, None));
    assert_eq!(subject.find(&link).await, edited);
}

pub async fn an_edit_leaves_the_other_fields_alone(subject: Subject) {
    let full = a_link().of("team-a").titled("A title").tagged(&["b", "a"]).expiring(subject.in_seconds(60));
    let link = subject.given(&full.redirecting(RedirectStatus::PermanentRedirect)).await;
    subject.clock.advance(5);
    subject.edit(&link, &entitle("Another title")).await;
    let expected = Link {
        title: Some(title("Another title")),
        generation: link.generation.next(),
        updated_at: subject.now(),
        ..link
    };
    assert_eq!(subject.find(&expected).await, expected);
}

pub async fn deleting_changes_state_and_generation_only(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo"), a_link().separate()] {
        let link = subject.given(&draft.titled("kept").tagged(&["kept"])).await;
        subject.clock.advance_micros(1_000_001);
        subject.delete(&link).await;
        let now = subject.now();
        let expected =
            Link { state: LinkState::Deleted { at: now }, generation: link.generation.next(), updated_at: now, ..link };
        assert_eq!(subject.find(&expected).await, expected);
    }
}

pub async fn reactivating_keeps_all_but_state_and_generation(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo"), a_link().separate()] {
        let gone = subject.given(&draft.titled("kept").deleted()).await;
        subject.clock.advance_micros(1_000_001);
        subject.reactivate(&gone).await;
        let now = subject.now();
        let expected = Link {
            state: LinkState::Active,
            generation: gone.generation.next(),
            updated_at: now,
            reactivated_at: Some(now),
            ..gone
        };
        assert_eq!(subject.find(&expected).await, expected);
    }
}

pub async fn the_latest_deletion_and_return_count(subject: Subject) {
    let mut link = subject.given(&a_link().deleted()).await;
    for _ in 0..3 {
        subject.clock.advance(1);
        link = subject.reactivate(&link).await;
        assert_eq!(subject.find(&link).await.reactivated_at, Some(subject.now()));
        subject.clock.advance(1);
        link = subject.delete(&link).await;
        assert_eq!(subject.find(&link).await.deleted_at(), Some(subject.now()));
    }
}

pub async fn an_edit_after_a_return_keeps_the_time_of_the_return(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    let back = subject.reactivate(&gone).await;
    subject.clock.advance(1);
    let edited = subject.edit(&back, &retarget("https://example.com/moved")).await;
    assert_eq!(edited.reactivated_at, back.reactivated_at);
    assert_eq!(subject.find(&back).await, edited);
}

pub async fn a_change_of_one_link_leaves_others_alone(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let others = [a_link().of("team-b"), a_link().separate(), a_link().alias("promo")];
    let mut before = Vec::new();
    for other in &others {
        before.push(subject.given(other).await);
    }
    let edited = subject.edit(&link, &entitle("A title")).await;
    subject.delete(&edited).await;
    for other in before {
        assert_eq!(subject.find(&other).await, other);
        assert_eq!(subject.story(&other).await, [EventKind::Created]);
    }
}

// ---- Guards -----------------------------------------------------------------------------------

pub async fn a_change_of_an_unknown_link_is_missing(subject: Subject) {
    let never_stored = subject.candidate(&a_link()).link;
    let step = lifecycle::delete(&never_stored, subject.now());
    assert_eq!(subject.apply(&step, None).await, Applied::Missing);
    assert!(subject.everything().await.is_empty());
}

pub async fn a_change_from_an_earlier_generation_is_stale(subject: Subject) {
    let link = subject.given(&a_link()).await;
    subject.edit(&link, &entitle("Another change was faster")).await;
    let before = subject.everything().await;
    let edit = lifecycle::edit(&link, &retarget("https://example.com/late"), subject.now()).expect("active");
    for step in [edit, lifecycle::delete(&link, subject.now())] {
        assert_eq!(subject.apply(&step, None).await, Applied::Stale);
    }
    assert_eq!(subject.everything().await, before);
}

pub async fn a_change_from_a_later_generation_is_stale(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let before = subject.everything().await;
    let ahead = Link { generation: Generation::new(7).expect("above zero"), ..link };
    let step = lifecycle::delete(&ahead, subject.now());
    assert_eq!(subject.apply(&step, None).await, Applied::Stale);
    assert_eq!(subject.everything().await, before);
}

pub async fn a_change_is_not_stored_twice(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let step = lifecycle::delete(&link, subject.now());
    assert_eq!(subject.apply(&step, None).await, Applied::Done);
    assert_eq!(subject.apply(&step, None).await, Applied::Stale);
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Deleted]);
}

pub async fn a_late_ghost_of_a_deletion_does_not_delete_a_link_that_came_back(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let ghost = lifecycle::delete(&link, subject.now());
    let gone = subject.delete(&link).await;
    let back = subject.reactivate(&gone).await;
    assert_eq!(subject.apply(&ghost, None).await, Applied::Stale);
    assert_eq!(subject.find(&link).await, back);
}

pub async fn a_late_ghost_of_a_return_does_not_bring_back_a_link_deleted_since(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    let ghost = lifecycle::reactivate(&gone, subject.now());
    let back = subject.reactivate(&gone).await;
    let gone_again = subject.delete(&back).await;
    assert_eq!(subject.apply(&ghost, None).await, Applied::Stale);
    assert_eq!(subject.find(&gone).await, gone_again);
}

pub async fn a_change_decided_before_a_claim_brought_the_link_back_is_stale(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    let step = lifecycle::reactivate(&gone, subject.now());
    let back = subject.claim(&a_link()).await.link().cloned().expect("a shared link is never refused");
    assert_eq!(subject.apply(&step, None).await, Applied::Stale);
    assert_eq!(subject.find(&gone).await, back);
}

// ---- Concurrency ------------------------------------------------------------------------------

pub async fn of_many_changes_from_one_generation_one_is_stored(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let outcomes = at_once(32, |index| {
        let subject = subject.clone();
        let edit = retarget(&format!("https://example.com/{index}"));
        let step = lifecycle::edit(&link, &edit, subject.now()).expect("active");
        async move { (subject.apply(&step, None).await, after(step)) }
    })
    .await;
    let (done, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(outcome, _)| *outcome == Applied::Done);
    let [(_, winner)] = done.as_slice() else {
        panic!("{} edits of one generation were stored", done.len());
    };
    assert!(others.iter().all(|(outcome, _)| *outcome == Applied::Stale));
    assert_eq!(subject.find(&link).await, *winner);
    assert_eq!(subject.story(&link).await, [EventKind::Created, EventKind::Edited]);
}

pub async fn changes_of_different_links_at_once_are_all_stored(subject: Subject) {
    let mut links = Vec::new();
    for _ in 0..16 {
        links.push(subject.given(&a_link().separate()).await);
    }
    let gone = at_once(links.len(), |index| {
        let (subject, link) = (subject.clone(), links[index].clone());
        async move { subject.delete(&link).await }
    })
    .await;
    for link in gone {
        assert_eq!(subject.find(&link).await, link);
    }
}

pub async fn an_acknowledged_change_is_seen_by_every_reader(subject: Subject) {
    let mut link = subject.given(&a_link()).await;
    for round in 0..20 {
        link = subject.edit(&link, &entitle(&format!("Title {round}"))).await;
        let found = at_once(4, |_| {
            let (subject, link) = (subject.clone(), link.clone());
            async move { subject.find(&link).await }
        })
        .await;
        assert!(found.iter().all(|found| *found == link));
    }
}

pub async fn a_dropped_change_happened_completely_or_not_at_all(subject: Subject) {
    let pace = subject.given(&a_link()).await;
    for round in 0..30 {
        let link = subject.given(&a_link().separate()).await;
        let step = lifecycle::delete(&link, subject.now());
        let changed = after(step.clone());
        let working = subject.clone();
        let task = tokio::spawn(async move { working.apply(&step, None).await });
        for _ in 0..round % 10 {
            subject.find(&pace).await;
        }
        let applied = end(task).await;
        assert!(applied.is_none_or(|applied| applied == Applied::Done), "nothing was in its way");
        let (found, story) = (subject.find(&link).await, subject.story(&link).await);
        assert!(found == link || found == changed, "{found:?}");
        if found == changed {
            assert_eq!(story, [EventKind::Created, EventKind::Deleted]);
        }
    }
}
