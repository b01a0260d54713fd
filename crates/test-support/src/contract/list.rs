//! Lists: what `LinkRepository::list` promises about order, pages, filters and access.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    access::Access,
    address::DomainId,
    code::Code,
    link::Link,
    ports::{LinkFilter, ListQuery, Position, Sort, StateFilter},
    time::Timestamp,
};
use uuid::Uuid;

use super::subject::{Subject, a_link, all_links, at_once, entitle, moment, owner, retarget, target};

// ---- Order and pages --------------------------------------------------------------------------

pub async fn an_empty_store_lists_nothing(subject: Subject) {
    assert!(subject.list(&all_links()).await.is_empty());
}

pub async fn a_list_shows_links_as_they_are_found(subject: Subject) {
    let drafts = [a_link().titled("Ü 🎉").tagged(&["b", "a"]), a_link().alias("promo").expiring(subject.in_seconds(9))];
    for draft in drafts.into_iter().chain([a_link().separate().deleted()]) {
        let link = subject.given(&draft).await;
        assert!(subject.list(&all_links()).await.contains(&link));
        assert_eq!(subject.find(&link).await, link);
    }
}

pub async fn links_are_found_by_their_ids(subject: Subject) {
    let one = subject.given(&a_link().separate()).await;
    let other = subject.given(&a_link().separate().deleted()).await;
    subject.given(&a_link().separate()).await;
    let mut found = subject.links.with_ids(&[other.id, Uuid::from_u128(5), one.id]).await.expect("the store works");
    found.sort_by_key(|link| link.id);
    let mut expected = vec![one, other];
    expected.sort_by_key(|link| link.id);
    assert_eq!(found, expected);
    assert!(subject.links.with_ids(&[]).await.expect("the store works").is_empty());
}

pub async fn the_newest_link_comes_first(subject: Subject) {
    let mut links = links_a_microsecond_apart(&subject, 5).await;
    links.reverse();
    assert_eq!(subject.list(&all_links()).await, links);
}

pub async fn the_oldest_link_comes_first_if_asked_for(subject: Subject) {
    let links = links_a_microsecond_apart(&subject, 5).await;
    assert_eq!(subject.list(&sorted(Sort::OldestFirst)).await, links);
}

/// Links in one millisecond, so that the order of their ids differs from the order of their times.
async fn links_a_microsecond_apart(subject: &Subject, count: usize) -> Vec<Link> {
    let mut links = Vec::new();
    for _ in 0..count {
        subject.clock.advance_micros(1);
        links.push(subject.given(&a_link().separate()).await);
    }
    links
}

pub async fn links_of_one_moment_follow_their_ids(subject: Subject) {
    let mut links = links_with_ties(&subject).await;
    links.sort_by_key(|link| (link.created_at, link.id));
    assert_eq!(subject.list(&sorted(Sort::OldestFirst)).await, links);
    links.reverse();
    assert_eq!(subject.list(&sorted(Sort::NewestFirst)).await, links);
}

/// Three moments with five links each.
async fn links_with_ties(subject: &Subject) -> Vec<Link> {
    let mut links = Vec::new();
    for number in 0..15 {
        links.push(subject.given(&a_link().separate()).await);
        subject.clock.advance_micros(i64::from(number % 5 == 4));
    }
    links
}

pub async fn a_change_does_not_move_a_link_in_the_list(subject: Subject) {
    let links = links_a_microsecond_apart(&subject, 3).await;
    subject.clock.advance(60);
    subject.edit(&links[0], &entitle("Edited late")).await;
    subject.delete(&links[1]).await;
    let codes: Vec<_> = subject.list(&sorted(Sort::OldestFirst)).await.into_iter().map(|link| link.code).collect();
    assert_eq!(codes, links.into_iter().map(|link| link.code).collect::<Vec<_>>());
}

pub async fn a_page_holds_no_more_than_its_limit(subject: Subject) {
    let links = links_a_microsecond_apart(&subject, 3).await;
    for limit in 1..=4 {
        let page = subject.list(&ListQuery { limit, ..sorted(Sort::OldestFirst) }).await;
        assert_eq!(page, links[..links.len().min(limit as usize)]);
    }
}

pub async fn pages_of_any_size_join_without_gap_or_repetition(subject: Subject) {
    links_with_ties(&subject).await;
    for sort in [Sort::NewestFirst, Sort::OldestFirst] {
        let whole = subject.list(&sorted(sort)).await;
        for limit in 1..=6 {
            assert_eq!(walk(&subject, ListQuery { limit, ..sorted(sort) }).await, whole, "{sort:?} {limit}");
        }
    }
}

pub async fn filtered_pages_join_too(subject: Subject) {
    for number in 0..12 {
        let draft = a_link().separate().tagged(&[["even", "odd"][number % 2]]);
        subject.given(&if number % 3 == 0 { draft.deleted() } else { draft }).await;
    }
    let filter = LinkFilter { tag: Some("even".to_owned()), state: Some(StateFilter::Active), ..LinkFilter::default() };
    let whole = subject.list(&filtered(filter.clone())).await;
    assert_eq!(whole.len(), 4);
    assert_eq!(walk(&subject, ListQuery { limit: 1, ..filtered(filter) }).await, whole);
}

pub async fn a_position_need_not_belong_to_a_link(subject: Subject) {
    let links = links_a_microsecond_apart(&subject, 2).await;
    let between = Position { created_at: links[0].created_at, id: Uuid::max() };
    let after = Some(between);
    assert_eq!(subject.list(&ListQuery { after, ..sorted(Sort::OldestFirst) }).await, links[1..]);
    assert_eq!(subject.list(&ListQuery { after, ..sorted(Sort::NewestFirst) }).await, links[..1]);
}

pub async fn behind_the_last_link_there_is_nothing(subject: Subject) {
    let links = links_a_microsecond_apart(&subject, 2).await;
    let behind = |link: &Link, sort| ListQuery { after: Some(Position::from(link)), ..sorted(sort) };
    assert!(subject.list(&behind(&links[1], Sort::OldestFirst)).await.is_empty());
    assert!(subject.list(&behind(&links[0], Sort::NewestFirst)).await.is_empty());
}

pub async fn a_list_sees_every_acknowledged_change(subject: Subject) {
    let mut link = subject.given(&a_link()).await;
    for round in 0..10 {
        link = subject.edit(&link, &entitle(&format!("Title {round}"))).await;
        assert_eq!(subject.list(&all_links()).await, [link.clone()]);
    }
    let gone = subject.delete(&link).await;
    assert_eq!(subject.list(&all_links()).await, [gone]);
}

// ---- Walks ------------------------------------------------------------------------------------

pub async fn a_walk_shows_every_link_once_while_others_are_claimed(subject: Subject) {
    for sort in [Sort::NewestFirst, Sort::OldestFirst] {
        let there = links_with_ties(&subject).await;
        let mut query = ListQuery { limit: 4, ..sorted(sort) };
        let mut seen = Vec::new();
        for _ in 0..40 {
            let page = subject.list(&query).await;
            query.after = page.last().map(Position::from).or(query.after);
            seen.extend(page.into_iter().map(|link| link.code));
            subject.given(&a_link().separate()).await;
        }
        assert_each_once(&there, &seen);
    }
}

pub async fn a_walk_shows_every_link_once_while_it_changes(subject: Subject) {
    let there = links_with_ties(&subject).await;
    let mut query = ListQuery { limit: 2, ..all_links() };
    let mut seen = Vec::new();
    for link in &there {
        subject.clock.advance(1);
        let edited = subject.edit(link, &retarget("https://example.com/moved")).await;
        subject.delete(&edited).await;
        let page = subject.list(&query).await;
        query.after = page.last().map(Position::from).or(query.after);
        seen.extend(page.into_iter().map(|link| link.code));
    }
    assert_each_once(&there, &seen);
}

pub async fn a_walk_shows_every_link_once_in_the_middle_of_traffic(subject: Subject) {
    let there = links_with_ties(&subject).await;
    let traffic = {
        let (subject, there) = (subject.clone(), there.clone());
        tokio::spawn(async move {
            for link in &there {
                subject.clock.advance_micros(1);
                subject.delete(link).await;
                subject.given(&a_link().separate()).await;
            }
        })
    };
    let walks = at_once(4, |index| {
        let subject = subject.clone();
        let sort = [Sort::NewestFirst, Sort::OldestFirst][index % 2];
        async move { walk(&subject, ListQuery { limit: 3, ..sorted(sort) }).await }
    })
    .await;
    traffic.await.expect("the traffic runs through");
    for seen in walks {
        assert_each_once(&there, &seen.into_iter().map(|link| link.code).collect::<Vec<_>>());
    }
}

fn assert_each_once(there: &[Link], seen: &[Code]) {
    for link in there {
        assert_eq!(seen.iter().filter(|code| **code == link.code).count(), 1, "{}", link.code);
    }
}

/// All pages of a query, one after the other.
async fn walk(subject: &Subject, mut query: ListQuery) -> Vec<Link> {
    let mut links = Vec::new();
    loop {
        let page = subject.list(&query).await;
        let Some(last) = page.last() else {
            return links;
        };
        query.after = Some(Position::from(last));
        links.extend(page);
    }
}

// ---- Access -----------------------------------------------------------------------------------

pub async fn an_owner_sees_only_its_own_links(subject: Subject) {
    let ours = subject.given(&a_link().of("team-a")).await;
    subject.given(&a_link().of("team-b")).await;
    subject.given(&a_link().of("team")).await;
    let query = ListQuery { access: Access::Owner(owner("team-a")), ..all_links() };
    assert_eq!(subject.list(&query).await, [ours]);
}

pub async fn access_to_all_shows_everybodys_links(subject: Subject) {
    for name in ["team-a", "team-b"] {
        subject.given(&a_link().of(name)).await;
    }
    assert_eq!(subject.list(&all_links()).await.len(), 2);
}

pub async fn a_filter_does_not_widen_access(subject: Subject) {
    subject.given(&a_link().of("team-b").titled("findme").tagged(&["findme"])).await;
    let access = Access::Owner(owner("team-a"));
    for filter in [
        text("findme"),
        LinkFilter { tag: Some("findme".to_owned()), ..LinkFilter::default() },
        LinkFilter { target: Some(target("https://example.com/")), ..LinkFilter::default() },
        LinkFilter { state: Some(StateFilter::Active), ..LinkFilter::default() },
    ] {
        assert!(subject.list(&ListQuery { access: access.clone(), ..filtered(filter) }).await.is_empty());
    }
}

// ---- Filters ----------------------------------------------------------------------------------

pub async fn without_a_filter_deleted_links_are_listed_too(subject: Subject) {
    subject.given(&a_link().alias("active")).await;
    subject.given(&a_link().alias("gone").deleted()).await;
    assert_eq!(found(&subject, LinkFilter::default()).await, ["active", "gone"]);
}

pub async fn the_state_filter_tells_active_from_deleted(subject: Subject) {
    subject.given(&a_link().alias("active")).await;
    let back = subject.given(&a_link().alias("back").deleted()).await;
    subject.reactivate(&back).await;
    subject.given(&a_link().alias("gone").deleted()).await;
    let state = |state| LinkFilter { state: Some(state), ..LinkFilter::default() };
    assert_eq!(found(&subject, state(StateFilter::Active)).await, ["active", "back"]);
    assert_eq!(found(&subject, state(StateFilter::Deleted)).await, ["gone"]);
}

pub async fn expired_links_count_as_active(subject: Subject) {
    subject.given(&a_link().alias("expired").expiring(subject.in_seconds(1))).await;
    subject.clock.advance(2);
    let active = LinkFilter { state: Some(StateFilter::Active), ..LinkFilter::default() };
    assert_eq!(found(&subject, active).await, ["expired"]);
}

pub async fn text_is_found_in_code_target_and_title_only(subject: Subject) {
    subject.given(&a_link().alias("find-me-in-code")).await;
    subject.given(&a_link().alias("in-target").to("https://example.com/a/find-me?b")).await;
    subject.given(&a_link().alias("in-title").titled("Please find-me here")).await;
    subject.given(&a_link().alias("in-tag").tagged(&["find-me"])).await;
    subject.given(&a_link().of("find-me").alias("in-owner")).await;
    assert_eq!(found(&subject, text("find-me")).await, ["find-me-in-code", "in-target", "in-title"]);
}

pub async fn text_is_found_whatever_the_case_of_ascii_letters(subject: Subject) {
    subject.given(&a_link().alias("Find-ME")).await;
    subject.given(&a_link().alias("target").to("https://example.com/fInD-mE")).await;
    subject.given(&a_link().alias("title").titled("FIND-me")).await;
    for wanted in ["find-me", "FIND-ME", "Find-Me"] {
        assert_eq!(found(&subject, text(wanted)).await, ["Find-ME", "target", "title"], "{wanted}");
    }
}

pub async fn text_does_not_reach_from_one_field_into_the_next(subject: Subject) {
    subject.given(&a_link().alias("promo").titled("A title")).await;
    for joint in ["", " ", "\n"] {
        assert!(found(&subject, text(&format!("promo{joint}https"))).await.is_empty(), "{joint:?}");
        assert!(found(&subject, text(&format!("example.com/{joint}A title"))).await.is_empty(), "{joint:?}");
    }
}

pub async fn text_keeps_the_case_of_letters_beyond_ascii(subject: Subject) {
    subject.given(&a_link().alias("lower").titled("grün über kelvin")).await;
    subject.given(&a_link().alias("upper").titled("GRÜN ÜBER \u{212a}ELVIN")).await;
    assert_eq!(found(&subject, text("GRün")).await, ["lower"]);
    assert_eq!(found(&subject, text("Über")).await, ["upper"]);
    assert_eq!(found(&subject, text("Kelvin")).await, ["lower"]);
}

pub async fn a_percent_sign_in_text_stands_for_itself(subject: Subject) {
    subject.given(&a_link().alias("hundred").titled("100% sure")).await;
    subject.given(&a_link().alias("thousand").titled("1000 sure")).await;
    subject.given(&a_link().alias("encoded").to("https://example.com/%C3%BC")).await;
    assert_eq!(found(&subject, text("%")).await, ["encoded", "hundred"]);
    assert_eq!(found(&subject, text("0% s")).await, ["hundred"]);
    assert_eq!(found(&subject, text("%c3%bc")).await, ["encoded"]);
}

pub async fn an_underscore_in_text_stands_for_itself(subject: Subject) {
    subject.given(&a_link().alias("snake").titled("snake_case")).await;
    subject.given(&a_link().alias("kebab").titled("snake-case")).await;
    assert_eq!(found(&subject, text("e_c")).await, ["snake"]);
    assert_eq!(found(&subject, text("_")).await, ["snake"]);
}

pub async fn quotes_and_backslashes_in_text_stand_for_themselves(subject: Subject) {
    for (alias, title) in [
        ("apostrophe", "it's"),
        ("quotes", "say \"hi\""),
        ("backslash", "a\\b"),
        ("escaped-percent", "100\\%"),
        ("plain-percent", "100%"),
        ("brackets", "[a-z]*?"),
    ] {
        subject.given(&a_link().alias(alias).titled(title)).await;
    }
    assert_eq!(found(&subject, text("'")).await, ["apostrophe"]);
    assert_eq!(found(&subject, text("\"hi\"")).await, ["quotes"]);
    assert_eq!(found(&subject, text("\\")).await, ["backslash", "escaped-percent"]);
    assert_eq!(found(&subject, text("\\%")).await, ["escaped-percent"]);
    assert_eq!(found(&subject, text("[a-z]*?")).await, ["brackets"]);
    assert!(found(&subject, text("' OR '1'='1")).await.is_empty());
}

pub async fn a_tag_matches_whole_and_letter_by_letter(subject: Subject) {
    subject.given(&a_link().alias("news").tagged(&["first", "news"])).await;
    subject.given(&a_link().alias("capital").tagged(&["News"])).await;
    subject.given(&a_link().alias("longer").tagged(&["newsletter", "old news"])).await;
    subject.given(&a_link().alias("none")).await;
    let tag = |tag: &str| LinkFilter { tag: Some(tag.to_owned()), ..LinkFilter::default() };
    assert_eq!(found(&subject, tag("news")).await, ["news"]);
    assert_eq!(found(&subject, tag("News")).await, ["capital"]);
    assert!(found(&subject, tag("new")).await.is_empty());
}

pub async fn a_tag_may_have_any_character(subject: Subject) {
    let tags = ["a,b", "\"quoted\"", "it's", "back\\slash", "{brace}", "%", "_", "NULL", "[1]", "ü 🎉"];
    for (number, tag) in tags.into_iter().enumerate() {
        subject.given(&a_link().alias(&format!("tag-{number}")).tagged(&["other", tag])).await;
    }
    for (number, tag) in tags.into_iter().enumerate() {
        let filter = LinkFilter { tag: Some(tag.to_owned()), ..LinkFilter::default() };
        assert_eq!(found(&subject, filter).await, [format!("tag-{number}")], "{tag}");
    }
}

pub async fn a_target_matches_byte_for_byte(subject: Subject) {
    subject.given(&a_link().alias("plain").to("https://example.com/~user")).await;
    subject.given(&a_link().alias("encoded").to("https://example.com/%7Euser")).await;
    subject.given(&a_link().alias("longer").to("https://example.com/~user/")).await;
    subject.given(&a_link().alias("capital").to("https://example.com/~USER")).await;
    let leading_to = |url| LinkFilter { target: Some(target(url)), ..LinkFilter::default() };
    assert_eq!(found(&subject, leading_to("https://example.com/~user")).await, ["plain"]);
    assert_eq!(found(&subject, leading_to("https://example.com/%7Euser")).await, ["encoded"]);
}

pub async fn a_retargeted_link_is_listed_under_its_new_target(subject: Subject) {
    let link = subject.given(&a_link().alias("moved")).await;
    subject.edit(&link, &retarget("https://example.com/new")).await;
    let leading_to = |url| LinkFilter { target: Some(target(url)), ..LinkFilter::default() };
    assert!(found(&subject, leading_to("https://example.com/")).await.is_empty());
    assert_eq!(found(&subject, leading_to("https://example.com/new")).await, ["moved"]);
}

pub async fn the_bounds_of_creation_times_are_exclusive(subject: Subject) {
    let start = subject.now();
    for alias in ["one", "three", "two"] {
        subject.clock.advance_micros(1);
        subject.given(&a_link().alias(alias)).await;
    }
    let at = |micros| start.unix_micros().checked_add(micros).and_then(Timestamp::from_unix_micros);
    let between = |after, before| LinkFilter { created_after: after, created_before: before, ..LinkFilter::default() };
    assert_eq!(found(&subject, between(at(1), None)).await, ["three", "two"]);
    assert_eq!(found(&subject, between(None, at(3))).await, ["one", "three"]);
    assert_eq!(found(&subject, between(at(1), at(3))).await, ["three"]);
    assert!(found(&subject, between(at(2), at(3))).await.is_empty());
}

pub async fn all_conditions_must_hold(subject: Subject) {
    let good = || a_link().to("https://example.com/good").titled("good").tagged(&["good"]);
    subject.given(&good().alias("too-early")).await;
    subject.clock.advance(1);
    let start = subject.now();
    subject.clock.advance(1);
    subject.given(&good().alias("right")).await;
    subject.given(&good().alias("other-target").to("https://example.com/other")).await;
    subject.given(&good().alias("other-title").titled("other")).await;
    subject.given(&good().alias("other-tag").tagged(&["other"])).await;
    subject.given(&good().alias("gone").deleted()).await;
    let filter = LinkFilter {
        domain: Some(DomainId::DEFAULT),
        state: Some(StateFilter::Active),
        text: Some("RIGHT".to_owned()),
        tag: Some("good".to_owned()),
        target: Some(target("https://example.com/good")),
        created_after: Some(start),
        created_before: Some(subject.in_seconds(1)),
    };
    assert_eq!(found(&subject, filter.clone()).await, ["right"]);
    let any_text = LinkFilter { text: None, ..filter };
    assert_eq!(found(&subject, any_text.clone()).await, ["other-title", "right"]);
    assert_eq!(
        found(&subject, LinkFilter { created_after: None, ..any_text }).await,
        ["other-title", "right", "too-early"]
    );
}

pub async fn filters_select_what_the_pure_filter_matches(subject: Subject) {
    subject.given(&a_link().titled("Über 100% _sure_").tagged(&["a", "B"])).await;
    subject.clock.advance(1);
    subject.given(&a_link().alias("Promo_1").to("https://example.com/%41?q=a'b").deleted()).await;
    subject.clock.advance(1);
    let moved = subject.given(&a_link().of("team-b").tagged(&["b"]).expiring(moment("2031-01-01T00:00:00Z"))).await;
    subject.edit(&moved, &retarget("https://example.com/A?q=a'b")).await;
    let all = subject.list(&all_links()).await;

    let texts =
        [None, Some(""), Some("1"), Some("%41"), Some("a'B"), Some("PROMO_"), Some("über"), Some("example.com/")];
    let tags = [None, Some("a"), Some("b"), Some("B")];
    let states = [None, Some(StateFilter::Active), Some(StateFilter::Deleted)];
    for text in texts {
        for tag in tags {
            for state in states {
                let (text, tag) = (text.map(str::to_owned), tag.map(str::to_owned));
                let filter = LinkFilter { text, tag, state, ..LinkFilter::default() };
                let expected: Vec<_> = all.iter().filter(|link| filter.matches(link)).cloned().collect();
                assert_eq!(subject.list(&filtered(filter.clone())).await, expected, "{filter:?}");
            }
        }
    }
}

// ---- Helpers ----------------------------------------------------------------------------------

fn sorted(sort: Sort) -> ListQuery {
    ListQuery { sort, ..all_links() }
}

fn filtered(filter: LinkFilter) -> ListQuery {
    ListQuery { filter, ..all_links() }
}

fn text(text: &str) -> LinkFilter {
    LinkFilter { text: Some(text.to_owned()), ..LinkFilter::default() }
}

/// The codes of the links a filter selects, in alphabetical order.
async fn found(subject: &Subject, filter: LinkFilter) -> Vec<String> {
    let links = subject.list(&filtered(filter)).await;
    let mut codes: Vec<_> = links.into_iter().map(|link| link.code.to_string()).collect();
    codes.sort();
    codes
}
