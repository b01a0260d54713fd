//! An unreadable row hides no other row.

use std::sync::Arc;

use domain::{
    access::Access,
    actor::Actor,
    block::{Lifted, Subject as Blocked},
    ports::{AddressCatalog, KeyCreation, LinkFilter, ListQuery, Position, RepositoryErrorKind, Sort},
};
use test_support::{
    KeptRows, TestDatabase,
    contract::{Subject, a_link},
};

use crate::fresh;

/// A store with `links` links and without guards, and a record of the rows that it left out.
async fn stocked(links: usize) -> (Subject, Arc<KeptRows>, TestDatabase) {
    let (store, database) = fresh().await;
    let told = Arc::<KeptRows>::default();
    store.tell_of_unreadable_rows(told.clone());
    let subject = Subject::over(store, 7);
    for number in 0..links {
        subject.clock.advance_micros(1);
        subject.given(&a_link().to(&format!("https://example.com/{number}"))).await;
    }
    let unguarded = "ALTER TABLE links DISABLE TRIGGER USER, DROP CONSTRAINT links_title_check;
                     ALTER TABLE blocks DISABLE TRIGGER USER, DROP CONSTRAINT blocks_kind_check;
                     ALTER TABLE api_keys DROP CONSTRAINT api_keys_scopes_check;
                     ALTER TABLE link_events DROP CONSTRAINT link_events_kind_check";
    database.sql(unguarded).expect("the test owns the database");
    (subject, told, database)
}

async fn walk(subject: &Subject, sort: Sort, limit: u32) -> Vec<String> {
    let (mut after, mut walked): (Option<Position>, _) = (None, Vec::new());
    loop {
        let query = ListQuery { access: Access::All, filter: LinkFilter::default(), sort, after, limit };
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
    let (subject, told, database) = stocked(12).await;
    // Breaks the whole first page, the whole last page and one row in the middle, each in different columns. Some of
    // the values cannot be represented by any client library.
    database
        .sql(
            "UPDATE links SET title = '' WHERE target ~ '/[01]$';
             UPDATE links SET tags = ARRAY[NULL]::text[] WHERE target ~ '/5$';
             UPDATE links SET updated_at = 'infinity' WHERE target ~ '/10$';
             UPDATE links SET created_at = 'infinity' WHERE target ~ '/11$'",
        )
        .expect("the test owns the database");
    let expected: Vec<_> = [2, 3, 4, 6, 7, 8, 9].iter().map(|n| format!("https://example.com/{n}")).collect();
    for limit in [1, 2, 3, 100] {
        assert_eq!(walk(&subject, Sort::OldestFirst, limit).await, expected);
        let mut newest = walk(&subject, Sort::NewestFirst, limit).await;
        newest.reverse();
        assert_eq!(newest, expected);
    }
    let told = told.told();
    let columns: Vec<_> =
        told.iter().map(|(table, why)| (*table, why.split(':').next().expect("a first part"))).collect();
    assert_eq!(columns, [("links", "created_at"), ("links", "tags"), ("links", "title"), ("links", "updated_at")]);
    // Reading a broken link fails, and reading another one does not.
    for (title, readable) in [("/5", false), ("/6", true)] {
        let code = database.sql(&format!("SELECT code FROM links WHERE target ~ '{title}$'")).expect("the link exists");
        let found = subject.links.find(&code.trim().parse().expect("a code")).await.map_err(|error| error.kind());
        assert_eq!(found.is_ok(), readable);
        assert!(readable || found == Err(RepositoryErrorKind::Corrupt));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takedown_that_cannot_be_read_switches_no_other_off() {
    let (subject, told, database) = stocked(0).await;
    let insert = |kind: &str, value: &str, by: &str, at: &str| {
        format!(
            "INSERT INTO blocks VALUES (gen_random_uuid(), '{kind}', '{value}', 'why', '{at}', '{by}', NULL, NULL);"
        )
    };
    let rows = [
        // Codes that are reserved words by now, as any other may be one day.
        insert("code", "status", "system", "2026-01-01T00:00:00Z"),
        insert("code", "login", "system", "infinity"),
        insert("host", "evil.example", "system", "2026-01-01T00:00:00Z"),
        insert("planet", "mars", "system", "2026-01-01T00:00:00Z"),
        insert("owner", "No Owner", "system", "2026-01-01T00:00:00Z"),
        insert("owner", "acme", "whom?", "2026-01-01T00:00:00Z"),
    ];
    database.sql(&rows.concat()).expect("the test owns the database");
    let revision = subject.blocks.in_force(None).await.expect("bad rows are skipped").expect("a revision");
    let mut in_force: Vec<_> = revision.subjects.iter().map(Blocked::value).collect();
    in_force.sort_unstable();
    assert_eq!(in_force, ["acme", "evil.example", "login", "status"]);
    let mut listed = subject.blocks.list(true, None, 100).await.expect("bad rows are skipped");
    listed.sort_by(|one, other| one.subject.value().cmp(&other.subject.value()));
    assert_eq!(listed.iter().map(|block| block.subject.value()).collect::<Vec<_>>(), ["evil.example", "status"]);
    let told = told.told();
    let columns: Vec<_> = told.iter().map(|(_, why)| why.split(':').next().expect("a first part")).collect();
    assert_eq!(columns, ["created_at", "created_by", "kind", "value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_history_entry_that_cannot_be_read_hides_no_other() {
    let (subject, told, database) = stocked(0).await;
    for _ in 0..3 {
        subject.clock.advance_micros(1);
        let created = subject.keys.create(&subject.draw_key(), None).await.expect("the store works");
        assert_eq!(created, KeyCreation::Done);
    }
    let keys = subject.keys.list(None, 100).await.expect("all can be read");
    let link = subject.given(&a_link()).await;
    let bad = format!("UPDATE api_keys SET scopes = ARRAY[NULL]::text[] WHERE id = '{}'", keys[0].id);
    database.sql(&bad).expect("the test owns the database");
    let event = "INSERT INTO link_events (link_id, code, generation, kind, actor, request_id, at)
                 SELECT id, code, 2, 'sold', 'system', 'r', now() FROM links";
    database.sql(event).expect("the test owns the database");
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
async fn a_block_that_cannot_be_read_can_be_lifted() {
    let (subject, _told, database) = stocked(0).await;
    let bad = "INSERT INTO blocks (id, kind, value, reason, created_at, created_by)
               VALUES (gen_random_uuid(), 'host', 'bad.example', 'test', 'infinity', 'system') RETURNING id";
    let id: uuid::Uuid =
        database.sql(bad).expect("the test owns the database").lines().next().expect("one row").parse().expect("an id");
    let lifted = Lifted { at: subject.now(), by: Actor::System };
    for _ in 0..2 {
        assert!(subject.blocks.lift(&id, &lifted).await.expect("lifting does not read the row"));
    }
    let left = database.sql("SELECT count(*) FROM blocks WHERE lifted_at IS NULL").expect("the test owns the database");
    assert_eq!(left, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_a_link_that_cannot_be_read_is_known() {
    let (store, database) = fresh().await;
    Subject::over(store.clone(), 7).given(&a_link().alias("inherited")).await;
    database.sql("UPDATE links SET updated_at = 'infinity'").expect("the test owns the database");
    assert_eq!(store.with_codes(&["docs", "inherited"]).await.expect("bad rows are skipped"), ["inherited"]);
}
