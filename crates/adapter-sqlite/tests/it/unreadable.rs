//! An unreadable row hides no other row.

use std::sync::Arc;

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use domain::{
    access::Access,
    actor::Actor,
    block::{Lifted, Subject as Blocked},
    ports::{AddressCatalog, KeyCreation, LinkFilter, ListQuery, Position, RepositoryErrorKind, Sort, StateFilter},
};
use tempfile::TempDir;
use test_support::{
    KeptRows,
    contract::{Subject, a_link},
};
use uuid::Uuid;

use crate::{fresh, path};

/// A store with `links` links, and a record of the rows that it left out.
async fn stocked(links: usize) -> (Subject, Arc<KeptRows>, SqliteConnection, TempDir) {
    let (store, folder) = fresh().await;
    let told = Arc::<KeptRows>::default();
    store.tell_of_unreadable_rows(told.clone());
    let subject = Subject::over(store, 7);
    for number in 0..links {
        subject.clock.advance_micros(1);
        subject.given(&a_link().to(&format!("https://example.com/{number}"))).await;
    }
    let mut raw = SqliteConnection::establish(path(&folder).to_str().expect("UTF-8")).expect("the file opens");
    raw.batch_execute("PRAGMA ignore_check_constraints = ON").expect("the test owns the file");
    (subject, told, raw, folder)
}

async fn walk(subject: &Subject, filter: &LinkFilter, sort: Sort, limit: u32) -> Vec<String> {
    let (mut after, mut walked): (Option<Position>, _) = (None, Vec::new());
    loop {
        let query = ListQuery { access: Access::All, filter: filter.clone(), sort, after, limit };
        let page = subject.links.list(&query).await.expect("bad rows are skipped");
        after = page.last().map(Position::from);
        walked.extend(page.iter().map(|link| link.behaviour.target.to_string()));
        if page.len() < limit as usize {
            return walked;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_of_links_goes_on_behind_rows_that_cannot_be_read() {
    let (subject, told, mut raw, _folder) = stocked(12).await;
    // Breaks the whole first page, the whole last page and one row in the middle, in different columns.
    raw.batch_execute(
        "UPDATE links SET title = '' WHERE target GLOB '*/[01]';
         UPDATE links SET tags = '[7]' WHERE target GLOB '*/5';
         UPDATE links SET updated_at = 9223372036854775807 WHERE target GLOB '*/1[01]'",
    )
    .expect("constraints are off");
    let readable = |numbers: &[u32]| numbers.iter().map(|n| format!("https://example.com/{n}")).collect::<Vec<_>>();
    let expected = readable(&[2, 3, 4, 6, 7, 8, 9]);
    let some = LinkFilter { state: Some(StateFilter::Active), ..LinkFilter::default() };
    for filter in [LinkFilter::default(), some] {
        for limit in [1, 2, 3, 100] {
            assert_eq!(walk(&subject, &filter, Sort::OldestFirst, limit).await, expected);
            let mut newest = walk(&subject, &filter, Sort::NewestFirst, limit).await;
            newest.reverse();
            assert_eq!(newest, expected);
        }
    }
    let told = told.told();
    let columns: Vec<_> =
        told.iter().map(|(table, why)| (*table, why.split(':').next().expect("a first part"))).collect();
    assert_eq!(columns, [("links", "tags"), ("links", "title"), ("links", "updated_at")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_cannot_be_read_fails_alone() {
    let (subject, _, mut raw, _folder) = stocked(0).await;
    let bad = subject.given(&a_link().to("https://example.com/bad")).await;
    let good = subject.given(&a_link().to("https://example.com/good")).await;
    let sql = format!("UPDATE links SET target = 'gopher://x' WHERE code = '{}'", bad.code);
    raw.batch_execute(&sql).expect("constraints are off");
    let found = subject.links.find(&bad.address()).await.map_err(|error| error.kind());
    assert_eq!(found, Err(RepositoryErrorKind::Corrupt));
    assert_eq!(subject.links.find(&good.address()).await.expect("it can be read"), Some(good));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takedown_that_cannot_be_read_switches_no_other_off() {
    let (subject, told, mut raw, _folder) = stocked(0).await;
    let insert = |kind: &str, value: &str, by: &str| {
        format!("INSERT INTO blocks VALUES (randomblob(16), '{kind}', '{value}', 'why', 1, '{by}', NULL, NULL);")
    };
    let rows = [
        // Codes that are reserved words by now, as any other may be one day.
        insert("code", "status", "system"),
        insert("code", "login", "system"),
        insert("host", "evil.example", "system"),
        insert("planet", "mars", "system"),
        insert("owner", "No Owner", "system"),
        insert("owner", "acme", "whom?"),
    ];
    raw.batch_execute(&rows.concat()).expect("constraints are off");
    let revision = subject.blocks.in_force(None).await.expect("bad rows are skipped").expect("a revision");
    let mut in_force: Vec<_> = revision.subjects.iter().map(Blocked::value).collect();
    in_force.sort_unstable();
    assert_eq!(in_force, ["acme", "evil.example", "login", "status"]);
    let mut listed: Vec<_> = subject.blocks.list(true, None, 100).await.expect("bad rows are skipped");
    listed.sort_by(|one, other| one.subject.value().cmp(&other.subject.value()));
    assert_eq!(
        listed.iter().map(|block| block.subject.value()).collect::<Vec<_>>(),
        ["evil.example", "login", "status"]
    );
    let columns: Vec<_> =
        told.told().into_iter().map(|(_, why)| why.split(':').next().expect("a first part").to_owned()).collect();
    assert_eq!(columns, ["created_by", "kind", "value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_history_entry_that_cannot_be_read_hides_no_other() {
    let (subject, told, mut raw, _folder) = stocked(0).await;
    for _ in 0..3 {
        subject.clock.advance_micros(1);
        let created = subject.keys.create(&subject.draw_key(), None).await.expect("the store works");
        assert_eq!(created, KeyCreation::Done);
    }
    let keys = subject.keys.list(None, 100).await.expect("all can be read");
    let link = subject.given(&a_link()).await;
    let bad = format!("UPDATE api_keys SET scopes = '[\"fly\"]' WHERE id = '{}'", keys[0].id);
    raw.batch_execute(&bad).expect("constraints are off");
    let event = "INSERT INTO link_events (link_id, code, generation, kind, actor, request_id, at)
                 SELECT id, code, 2, 'sold', 'system', 'r', 1 FROM links";
    raw.batch_execute(event).expect("constraints are off");
    for limit in [1, 2, 100] {
        let listed = subject.keys.list(None, limit).await.expect("bad rows are skipped");
        assert_eq!(listed, keys[1..].iter().take(limit as usize).cloned().collect::<Vec<_>>());
        let history = subject.links.history(&link.address(), None, limit).await.expect("bad rows are skipped");
        assert_eq!(history.iter().map(|event| event.generation.get()).collect::<Vec<_>>(), [1]);
    }
    let tables: Vec<_> = told.told().into_iter().map(|(table, _)| table).collect();
    assert_eq!(tables, ["api_keys", "link_events"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_read_is_counted_and_can_be_lifted() {
    let (subject, _told, mut raw, _folder) = stocked(0).await;
    let id = Uuid::from_u128(7);
    let bad =
        format!("INSERT INTO blocks VALUES (x'{}', 'planet', 'mars', 'why', 1, 'system', NULL, NULL);", id.simple());
    raw.batch_execute(&bad).expect("constraints are off");
    let left_out = async || subject.blocks.in_force(None).await.expect("bad rows are skipped").map(|now| now.left_out);
    assert_eq!(left_out().await, Some(1));
    let lifted = Lifted { at: subject.now(), by: Actor::System };
    for _ in 0..2 {
        assert!(subject.blocks.lift(&id, &lifted).await.expect("lifting does not read the row"));
    }
    assert_eq!(left_out().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_a_link_that_cannot_be_read_is_known() {
    let (store, folder) = fresh().await;
    let subject = Subject::over(store.clone(), 7);
    subject.given(&a_link().alias("inherited")).await;
    let mut raw = SqliteConnection::establish(path(&folder).to_str().expect("UTF-8")).expect("the file opens");
    let spoil = "PRAGMA ignore_check_constraints = ON; UPDATE links SET title = ''";
    raw.batch_execute(spoil).expect("the test owns the file");
    assert_eq!(store.with_codes(&["docs", "inherited"]).await.expect("bad rows are skipped"), ["inherited"]);
}
