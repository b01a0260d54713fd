//! Claims: what `LinkRepository::claim` promises to one caller at a time.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    actor::Actor,
    behaviour::RedirectStatus,
    history::EventKind,
    lifecycle::{BehaviourEdit, Claim},
    link::{Generation, Link, LinkState},
    ports::Claims,
};

use super::subject::{Subject, a_link, address, behave, entitle, moment, retarget};

// ---- New links --------------------------------------------------------------------------------

pub async fn claiming_nothing_creates_generation_one(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo"), a_link().separate()] {
        let link = subject.given(&draft).await;
        assert_eq!((link.generation, link.state), (Generation::FIRST, LinkState::Active));
        assert_eq!(subject.find(&link).await, link);
    }
}

pub async fn a_new_link_is_the_candidate_in_every_field(subject: Subject) {
    subject.clock.advance_micros(123_457);
    let draft = a_link()
        .of("team-a")
        .to("https://example.com/a?b=1&b=2#c")
        .redirecting(RedirectStatus::PermanentRedirect)
        .forwarding_queries()
        .expiring(moment("2031-02-03T04:05:06.789012Z"))
        .titled("Ünïcödé — 標題 🎉")
        .tagged(&["b", "a", "c"]);
    let candidate = subject.candidate(&draft);
    let claims = subject.links.claim(std::slice::from_ref(&candidate), None).await.expect("the store works");
    assert_eq!(claims, Claims::Settled(vec![Claim::Created(candidate.link.clone())]));
    assert_eq!(subject.find(&candidate.link).await, candidate.link);
}

pub async fn every_field_may_be_as_long_as_the_rules_allow(subject: Subject) {
    let long_tags: Vec<_> = (10..30).map(|number| format!("{number}{}", "🎉".repeat(48))).collect();
    let long_tags: Vec<_> = long_tags.iter().map(String::as_str).collect();
    let draft = a_link()
        .of(&"o".repeat(64))
        .alias(&"A".repeat(64))
        .to(&format!("https://example.com/{}", "a".repeat(2_028)))
        .titled(&"🎉".repeat(200))
        .tagged(&long_tags)
        .by(Actor::Anonymous, &"r".repeat(64));
    let link = subject.given(&draft).await;
    assert_eq!(subject.find(&link).await, link);
}

pub async fn the_shortest_alias_is_kept(subject: Subject) {
    let link = subject.given(&a_link().alias("a-_")).await;
    assert_eq!(subject.find(&link).await, link);
}

pub async fn an_expiry_in_the_year_9999_is_kept_to_the_microsecond(subject: Subject) {
    let link = subject.given(&a_link().expiring(moment("9999-12-31T23:59:59.999999Z"))).await;
    assert_eq!(subject.find(&link).await, link);
}

pub async fn tags_keep_their_order_and_every_character(subject: Subject) {
    let tags = ["b", "a", "B", "two words", "a,b", "\"", "'", "\\", "{}", "[1]", "NULL", "%", "_", "ü", "🎉"];
    let link = subject.given(&a_link().tagged(&tags)).await;
    assert_eq!(subject.find(&link).await.tags.as_slice(), tags);
}

pub async fn titles_keep_every_character(subject: Subject) {
    for (number, text) in ["'; --", "\"", "\\", "%_%", "NULL", " spaces ", "e\u{301}", "🏳️‍🌈"].into_iter().enumerate()
    {
        let link = subject.given(&a_link().alias(&format!("title-{number}")).titled(text)).await;
        assert_eq!(subject.find(&link).await, link);
    }
}

pub async fn codes_are_case_sensitive(subject: Subject) {
    let lower = subject.given(&a_link().alias("abc").to("https://example.com/lower")).await;
    let upper = subject.given(&a_link().alias("ABC").to("https://example.com/upper")).await;
    assert_eq!(subject.find(&lower).await, lower);
    assert_eq!(subject.find(&upper).await, upper);
    assert_eq!(subject.look_up(&address("Abc")).await, None);
}

// ---- Existing links ---------------------------------------------------------------------------

pub async fn claiming_an_active_link_returns_it_unchanged(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo")] {
        let link = subject.given(&draft).await;
        subject.clock.advance(60);
        let before = subject.everything().await;
        assert_eq!(subject.claim(&draft).await, Claim::Existing(link));
        assert_eq!(subject.everything().await, before);
    }
}

pub async fn title_and_tags_of_an_existing_link_are_left_alone(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo")] {
        let link = subject.given(&draft.clone().titled("first").tagged(&["one"])).await;
        let again = subject.claim(&draft.titled("second").tagged(&["two"])).await;
        assert_eq!(again, Claim::Existing(link));
    }
}

pub async fn claiming_a_deleted_link_brings_it_back(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo")] {
        let gone = subject.given(&draft.clone().titled("kept").tagged(&["kept"]).deleted()).await;
        subject.clock.advance(60);
        let back = Link {
            state: LinkState::Active,
            generation: gone.generation.next(),
            reactivated_at: Some(subject.now()),
            updated_at: subject.now(),
            ..gone
        };
        assert_eq!(subject.claim(&draft.titled("new")).await, Claim::Reactivated(back.clone()));
        assert_eq!(subject.find(&back).await, back);
    }
}

pub async fn a_link_can_go_and_come_back_many_times(subject: Subject) {
    let first = subject.given(&a_link()).await;
    for _ in 0..5 {
        subject.clock.advance(1);
        subject.delete(&subject.find(&first).await).await;
        subject.clock.advance(1);
        assert!(matches!(subject.claim(&a_link()).await, Claim::Reactivated(link) if link.code == first.code));
    }
    assert_eq!(subject.find(&first).await.generation, Generation::new(11).expect("above zero"));
}

pub async fn spellings_of_one_url_share_a_link_that_keeps_the_first_spelling(subject: Subject) {
    let link = subject.given(&a_link().to("https://example.com/%7euser/%c3%bc")).await;
    assert_eq!(link.behaviour.target.as_str(), "https://example.com/%7euser/%c3%bc");
    for url in ["https://EXAMPLE.com:443/~user/%C3%BC", "https://example.com/%7Euser/ü"] {
        assert_eq!(subject.claim(&a_link().to(url)).await, Claim::Existing(link.clone()), "{url}");
    }
}

pub async fn urls_that_may_differ_are_links_of_their_own(subject: Subject) {
    for url in [
        "https://example.com/",
        "http://example.com/",
        "https://www.example.com/",
        "https://example.com/A",
        "https://example.com/a",
        "https://example.com/a/",
        "https://example.com/a?",
        "https://example.com/a#",
        "https://example.com/?a=1&b=2",
        "https://example.com/?b=2&a=1",
    ] {
        subject.given(&a_link().to(url)).await;
    }
}

pub async fn the_redirect_status_is_part_of_what_a_link_is(subject: Subject) {
    for redirect in RedirectStatus::ALL {
        let draft = a_link().redirecting(redirect);
        let link = subject.given(&draft).await;
        assert_eq!(subject.claim(&draft).await, Claim::Existing(link));
    }
}

pub async fn forwarding_queries_is_part_of_what_a_link_is(subject: Subject) {
    for draft in [a_link(), a_link().forwarding_queries()] {
        let link = subject.given(&draft).await;
        assert_eq!(subject.claim(&draft).await, Claim::Existing(link));
    }
}

pub async fn the_expiry_is_part_of_what_a_link_is_to_the_microsecond(subject: Subject) {
    let drafts = ["2031-01-01T00:00:00Z", "2031-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999999Z"]
        .map(|expiry| a_link().expiring(moment(expiry)));
    for draft in [a_link()].into_iter().chain(drafts) {
        let link = subject.given(&draft).await;
        assert_eq!(subject.claim(&draft).await, Claim::Existing(link));
    }
}

// ---- Owners -----------------------------------------------------------------------------------

pub async fn another_owner_gets_a_link_of_its_own(subject: Subject) {
    let ours = subject.given(&a_link().of("team-a")).await;
    let theirs = subject.given(&a_link().of("team-b")).await;
    assert_ne!(ours.code, theirs.code);
    assert_eq!(subject.claim(&a_link().of("team-a")).await, Claim::Existing(ours));
    assert_eq!(subject.claim(&a_link().of("team-b")).await, Claim::Existing(theirs));
}

pub async fn a_deleted_link_does_not_come_back_for_another_owner(subject: Subject) {
    let gone = subject.given(&a_link().of("team-a").deleted()).await;
    subject.given(&a_link().of("team-b")).await;
    assert_eq!(subject.find(&gone).await, gone);
}

// ---- Separate links ---------------------------------------------------------------------------

pub async fn each_separate_claim_is_a_new_link(subject: Subject) {
    let one = subject.given(&a_link().separate()).await;
    let other = subject.given(&a_link().separate()).await;
    assert_ne!(one.code, other.code);
    assert!(!one.deduplicated && !other.deduplicated);
}

pub async fn a_separate_link_answers_no_shared_claim(subject: Subject) {
    subject.given(&a_link().separate()).await;
    subject.given(&a_link().separate().deleted()).await;
    let shared = subject.given(&a_link()).await;
    assert_eq!(subject.claim(&a_link()).await, Claim::Existing(shared));
}

pub async fn a_shared_link_answers_no_separate_claim(subject: Subject) {
    let shared = subject.given(&a_link()).await;
    let separate = subject.given(&a_link().separate()).await;
    assert_ne!(shared.code, separate.code);
    assert_eq!(subject.find(&shared).await, shared);
}

// ---- Aliases ----------------------------------------------------------------------------------

pub async fn an_alias_of_another_owner_is_taken(subject: Subject) {
    subject.given(&a_link().of("team-a").alias("promo")).await;
    let before = subject.everything().await;
    assert_eq!(subject.claim(&a_link().of("team-b").alias("promo")).await, Claim::AliasTaken);
    assert_eq!(subject.everything().await, before);
}

pub async fn an_alias_that_behaves_differently_is_taken(subject: Subject) {
    subject.given(&a_link().alias("promo")).await;
    let before = subject.everything().await;
    for draft in [
        a_link().to("https://example.com/other"),
        a_link().redirecting(RedirectStatus::MovedPermanently),
        a_link().forwarding_queries(),
        a_link().expiring(subject.in_seconds(60)),
    ] {
        assert_eq!(subject.claim(&draft.alias("promo")).await, Claim::AliasTaken);
    }
    assert_eq!(subject.everything().await, before);
}

pub async fn a_deleted_alias_stays_taken_for_others_and_for_other_behaviour(subject: Subject) {
    subject.given(&a_link().of("team-a").alias("promo").deleted()).await;
    let before = subject.everything().await;
    let foreign = a_link().of("team-b").alias("promo");
    let different = a_link().of("team-a").alias("promo").to("https://example.com/other");
    assert_eq!(subject.claim(&foreign).await, Claim::AliasTaken);
    assert_eq!(subject.claim(&different).await, Claim::AliasTaken);
    assert_eq!(subject.everything().await, before);
}

pub async fn an_alias_in_another_spelling_of_its_url_is_the_same_link(subject: Subject) {
    let link = subject.given(&a_link().alias("promo").to("https://example.com/%7Euser")).await;
    let again = subject.claim(&a_link().alias("promo").to("https://example.com/~user")).await;
    assert_eq!(again, Claim::Existing(link));
}

pub async fn an_alias_answers_no_shared_claim(subject: Subject) {
    let alias = subject.given(&a_link().alias("promo")).await;
    let shared = subject.given(&a_link()).await;
    assert_ne!(alias.code, shared.code);
    assert!(!alias.deduplicated && shared.deduplicated);
}

pub async fn a_known_url_under_a_new_alias_is_a_new_link(subject: Subject) {
    for draft in [a_link(), a_link().alias("one"), a_link().alias("two")] {
        subject.given(&draft).await;
    }
}

pub async fn an_alias_may_name_a_generated_code_of_ones_own(subject: Subject) {
    for draft in [a_link(), a_link().separate()] {
        let link = subject.given(&draft).await;
        let alias = a_link().alias(link.code.as_str());
        assert_eq!(subject.claim(&alias).await, Claim::Existing(link.clone()));
        assert_eq!(subject.claim(&alias.clone().of("team-b")).await, Claim::AliasTaken);
        assert_eq!(subject.claim(&alias.to("https://example.com/other")).await, Claim::AliasTaken);
        assert_eq!(subject.find(&link).await, link);
    }
}

pub async fn an_alias_that_names_a_deleted_generated_code_brings_it_back(subject: Subject) {
    let gone = subject.given(&a_link().deleted()).await;
    let claim = subject.claim(&a_link().alias(gone.code.as_str())).await;
    assert!(matches!(&claim, Claim::Reactivated(link) if link.id == gone.id && link.deduplicated), "{claim:?}");
}

// ---- Codes ------------------------------------------------------------------------------------

pub async fn a_drawn_code_of_another_link_is_a_collision_and_changes_nothing(subject: Subject) {
    let other = a_link().to("https://example.com/other");
    for holder in [a_link(), a_link().separate(), a_link().alias("promo")] {
        let taken = subject.given(&holder).await.code;
        let before = subject.everything().await;
        for draft in [other.clone(), other.clone().separate(), other.clone().of("team-b")] {
            assert_eq!(subject.claims(&[draft.drawing(taken.as_str())], None).await, Claims::CodeCollision);
        }
        assert_eq!(subject.everything().await, before);
    }
}

pub async fn deleted_code_is_never_given_to_another_link(subject: Subject) {
    for holder in [a_link(), a_link().separate(), a_link().alias("promo")] {
        let gone = subject.given(&holder.deleted()).await;
        for draft in [a_link().to("https://example.com/other"), a_link().separate()] {
            assert_eq!(subject.claims(&[draft.drawing(gone.code.as_str())], None).await, Claims::CodeCollision);
        }
        assert_eq!(subject.find(&gone).await, gone);
    }
}

pub async fn a_retargeted_link_keeps_its_code_from_others(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let moved = subject.edit(&link, &retarget("https://example.com/moved")).await;
    assert_eq!(subject.claims(&[a_link().drawing(link.code.as_str())], None).await, Claims::CodeCollision);
    assert_eq!(subject.find(&link).await, moved);
}

pub async fn a_known_url_is_found_whatever_code_was_drawn(subject: Subject) {
    let taken = subject.given(&a_link().to("https://example.com/other")).await;
    let known = subject.given(&a_link()).await;
    let draft = a_link().drawing(taken.code.as_str());
    assert_eq!(subject.claim(&draft).await, Claim::Existing(known.clone()));
    subject.delete(&known).await;
    assert!(matches!(subject.claim(&draft).await, Claim::Reactivated(link) if link.code == known.code));
}

pub async fn two_candidates_that_draw_one_code_collide(subject: Subject) {
    let one = a_link().to("https://example.com/one").drawing("samecode");
    let other = a_link().to("https://example.com/other").drawing("samecode");
    assert_eq!(subject.claims(&[one, other], None).await, Claims::CodeCollision);
    assert!(subject.everything().await.is_empty());
}

pub async fn a_collision_anywhere_in_a_call_undoes_all_of_it(subject: Subject) {
    let taken = subject.given(&a_link().to("https://example.com/taken")).await.code;
    subject.given(&a_link().to("https://example.com/gone").deleted()).await;
    subject.given(&a_link().alias("gone-too").deleted()).await;
    let before = subject.everything().await;
    let others = [
        a_link().to("https://example.com/new"),
        a_link().to("https://example.com/gone"),
        a_link().alias("gone-too"),
        a_link().alias("new-too"),
    ];
    for place in 0..=others.len() {
        let mut drafts = others.to_vec();
        drafts.insert(place, a_link().separate().drawing(taken.as_str()));
        assert_eq!(subject.claims(&drafts, None).await, Claims::CodeCollision);
        assert_eq!(subject.everything().await, before);
    }
}

pub async fn after_a_collision_the_same_claims_go_through_with_another_code(subject: Subject) {
    let taken = subject.given(&a_link().to("https://example.com/taken")).await.code;
    let drafts = [a_link(), a_link().separate().drawing(taken.as_str())];
    assert_eq!(subject.claims(&drafts, None).await, Claims::CodeCollision);
    let claims = subject.settle(&[a_link(), a_link().separate()]).await;
    assert!(claims.iter().all(|claim| matches!(claim, Claim::Created(_))), "{claims:?}");
}

// ---- Many candidates in one call --------------------------------------------------------------

pub async fn no_candidates_settle_to_no_claims(subject: Subject) {
    assert!(subject.settle(&[]).await.is_empty());
}

pub async fn claims_are_answered_in_the_order_given(subject: Subject) {
    let known = subject.given(&a_link().to("https://example.com/z")).await;
    let gone = subject.given(&a_link().to("https://example.com/y").deleted()).await;
    subject.given(&a_link().of("team-b").alias("taken")).await;
    let claims = subject
        .settle(&[
            a_link().to("https://example.com/x"),
            a_link().to("https://example.com/z"),
            a_link().alias("taken"),
            a_link().to("https://example.com/y"),
            a_link().to("https://example.com/z").separate(),
        ])
        .await;
    assert!(matches!(&claims[0], Claim::Created(link) if link.behaviour.target.as_str().ends_with("/x")));
    assert_eq!(claims[1], Claim::Existing(known));
    assert_eq!(claims[2], Claim::AliasTaken);
    assert!(matches!(&claims[3], Claim::Reactivated(link) if link.code == gone.code));
    assert!(matches!(&claims[4], Claim::Created(link) if link.behaviour.target.as_str().ends_with("/z")));
}

pub async fn the_second_of_two_equal_candidates_finds_the_first(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo"), a_link().of("team-b").drawing("samecode")] {
        let claims = subject.settle(&[draft.clone(), draft]).await;
        let [Claim::Created(first), Claim::Existing(second)] = claims.as_slice() else {
            panic!("{claims:?}");
        };
        assert_eq!(first, second);
        assert_eq!(subject.story(first).await, [EventKind::Created]);
    }
}

pub async fn the_second_of_two_equal_candidates_finds_what_the_first_brought_back(subject: Subject) {
    for draft in [a_link(), a_link().alias("promo")] {
        let gone = subject.given(&draft.clone().deleted()).await;
        let claims = subject.settle(&[draft.clone(), draft]).await;
        let [Claim::Reactivated(first), Claim::Existing(second)] = claims.as_slice() else {
            panic!("{claims:?}");
        };
        assert_eq!((first, &first.code), (second, &gone.code));
    }
}

pub async fn an_alias_given_twice_in_a_call_is_taken_by_the_first(subject: Subject) {
    let claims = subject
        .settle(&[
            a_link().alias("promo").to("https://example.com/one"),
            a_link().alias("promo").to("https://example.com/other"),
        ])
        .await;
    assert!(matches!(claims.as_slice(), [Claim::Created(_), Claim::AliasTaken]), "{claims:?}");
}

pub async fn an_alias_sees_a_code_drawn_before_it_in_the_call(subject: Subject) {
    let claims = subject
        .settle(&[
            a_link().drawing("samecode"),
            a_link().alias("samecode"),
            a_link().alias("samecode").to("https://example.com/other"),
        ])
        .await;
    assert!(matches!(claims.as_slice(), [Claim::Created(_), Claim::Existing(_), Claim::AliasTaken]), "{claims:?}");
}

pub async fn a_taken_alias_does_not_stop_the_other_candidates(subject: Subject) {
    subject.given(&a_link().of("team-b").alias("taken")).await;
    let drafts = [a_link(), a_link().alias("taken"), a_link().alias("free")];
    let claims = subject.settle(&drafts).await;
    assert!(matches!(claims.as_slice(), [Claim::Created(_), Claim::AliasTaken, Claim::Created(_)]), "{claims:?}");
    assert_eq!(subject.everything().await.len(), 3);
}

pub async fn candidates_of_different_owners_stay_apart_in_one_call(subject: Subject) {
    let claims = subject.settle(&[a_link().of("team-a"), a_link().of("team-b"), a_link().of("team-a")]).await;
    let [Claim::Created(ours), Claim::Created(theirs), Claim::Existing(again)] = claims.as_slice() else {
        panic!("{claims:?}");
    };
    assert_eq!(ours, again);
    assert_ne!(ours.code, theirs.code);
}

pub async fn two_hundred_candidates_are_settled_in_one_call(subject: Subject) {
    let draft = |number: usize| a_link().to(&format!("https://example.com/{number}"));
    let drafts: Vec<_> =
        (0..200).map(|number| if number % 2 == 0 { draft(number) } else { draft(number).separate() }).collect();
    let claims = subject.settle(&drafts).await;
    for (number, claim) in claims.iter().enumerate() {
        let url = format!("https://example.com/{number}");
        assert!(matches!(claim, Claim::Created(link) if link.behaviour.target.as_str() == url), "{claim:?}");
    }
    assert_eq!((claims.len(), subject.everything().await.len()), (200, 200));
}

// ---- Deduplication after edits ----------------------------------------------------------------

pub async fn an_edit_of_behaviour_frees_the_url_for_a_new_link(subject: Subject) {
    for edit in [
        retarget("https://example.com/moved"),
        behave(BehaviourEdit { redirect: Some(RedirectStatus::PermanentRedirect), ..BehaviourEdit::default() }),
        behave(BehaviourEdit { forward_query: Some(true), ..BehaviourEdit::default() }),
        behave(BehaviourEdit { expires_at: Some(Some(subject.in_seconds(60))), ..BehaviourEdit::default() }),
    ] {
        let (Claim::Created(link) | Claim::Existing(link)) = subject.claim(&a_link()).await else {
            panic!("the link is active");
        };
        let edited = subject.edit(&link, &edit).await;
        let fresh = subject.given(&a_link()).await;
        assert_ne!(fresh.code, link.code);
        assert_eq!(subject.find(&link).await, edited);
    }
}

pub async fn a_retargeted_link_is_not_found_under_its_new_url(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let moved = subject.edit(&link, &retarget("https://example.com/moved")).await;
    let fresh = subject.given(&a_link().to("https://example.com/moved")).await;
    assert_ne!(fresh.code, link.code);
    assert_eq!(subject.find(&link).await, moved);
}

pub async fn a_link_edited_back_stays_out_of_deduplication(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let moved = subject.edit(&link, &retarget("https://example.com/moved")).await;
    let back = subject.edit(&moved, &retarget("https://example.com/")).await;
    assert!(!back.deduplicated);
    let fresh = subject.given(&a_link()).await;
    assert_ne!(fresh.code, link.code);
    assert_eq!(subject.find(&link).await, back);
}

pub async fn a_link_edited_to_what_another_does_stands_beside_it(subject: Subject) {
    let known = subject.given(&a_link()).await;
    let other = subject.given(&a_link().to("https://example.com/other")).await;
    let same = subject.edit(&other, &retarget("https://example.com/")).await;
    assert_eq!(subject.find(&other).await, same);
    assert_eq!(subject.claim(&a_link()).await, Claim::Existing(known));
}

pub async fn a_deleted_retargeted_link_answers_no_claim(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let moved = subject.edit(&link, &retarget("https://example.com/moved")).await;
    let gone = subject.delete(&moved).await;
    for url in ["https://example.com/", "https://example.com/moved"] {
        subject.given(&a_link().to(url)).await;
    }
    assert_eq!(subject.find(&gone).await, gone);
}

pub async fn a_link_that_took_over_a_freed_url_comes_back_for_it(subject: Subject) {
    let first = subject.given(&a_link()).await;
    subject.edit(&first, &retarget("https://example.com/moved")).await;
    let second = subject.given(&a_link().deleted()).await;
    assert!(matches!(subject.claim(&a_link()).await, Claim::Reactivated(link) if link.code == second.code));
}

pub async fn a_new_title_or_tag_keeps_a_link_in_deduplication(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let titled = subject.edit(&link, &entitle("A title")).await;
    assert!(titled.deduplicated);
    assert_eq!(subject.claim(&a_link()).await, Claim::Existing(titled));
}

pub async fn an_edited_alias_is_claimed_by_what_it_does_now(subject: Subject) {
    let link = subject.given(&a_link().alias("promo")).await;
    let moved = subject.edit(&link, &retarget("https://example.com/moved")).await;
    assert_eq!(subject.claim(&a_link().alias("promo")).await, Claim::AliasTaken);
    let now = subject.claim(&a_link().alias("promo").to("https://example.com/moved")).await;
    assert_eq!(now, Claim::Existing(moved));
}

pub async fn a_generated_code_edited_elsewhere_is_claimed_as_alias_by_what_it_does_now(subject: Subject) {
    let link = subject.given(&a_link()).await;
    let moved = subject.edit(&link, &retarget("https://example.com/moved")).await;
    let alias = a_link().alias(link.code.as_str());
    assert_eq!(subject.claim(&alias).await, Claim::AliasTaken);
    assert_eq!(subject.claim(&alias.to("https://example.com/moved")).await, Claim::Existing(moved));
}
