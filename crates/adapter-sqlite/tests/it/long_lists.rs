//! Lists over more links than one statement examines.

use std::{sync::Arc, time::Duration};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use domain::{
    access::Access,
    link::Link,
    ports::{LinkFilter, ListQuery, Position, Sort},
};
use test_support::contract::{Subject, a_link};

use crate::{migrated_file, path};

/// One statement examines 2,000 links. These numbers are at the ends of statements and next to them.
const TAGGED: [u32; 7] = [1, 1_999, 2_000, 2_001, 4_000, 4_001, 6_500];

#[tokio::test(flavor = "multi_thread")]
async fn matching_links_are_found_anywhere_in_a_long_list() {
    let (file, folder) = migrated_file();
    let subject = Subject::over(Arc::new(file.open(Duration::from_secs(20)).expect("it opens")), 7);
    let model = subject.given(&a_link().separate()).await;
    let mut raw = SqliteConnection::establish(path(&folder).to_str().expect("UTF-8")).expect("the file opens");
    let tagged = TAGGED.map(|number| number.to_string()).join(", ");
    let many = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 6500)
         INSERT INTO links SELECT randomblob(16), 'many-' || n, owner_id, target, redirect, forward_query, expires_at, title,
            CASE WHEN n IN ({tagged}) THEN '[\"rare\"]' ELSE '[]' END, state, 0, dedup_key, 1, created_at + n,
            updated_at + n, NULL, NULL, 0
         FROM links, numbers WHERE code = '{}'",
        model.code
    );
    raw.batch_execute(&many).expect("the test owns the file");

    for sort in [Sort::NewestFirst, Sort::OldestFirst] {
        let mut expected = TAGGED.map(|number| format!("many-{number}"));
        if sort == Sort::NewestFirst {
            expected.reverse();
        }
        for limit in [1, 2, 3, 7, 100] {
            let mut query = ListQuery {
                access: Access::All,
                filter: LinkFilter { tag: Some("rare".to_owned()), ..LinkFilter::default() },
                sort,
                after: None,
                limit,
            };
            let (mut found, mut pages) = (Vec::new(), 0);
            loop {
                let page = subject.list(&query).await;
                assert!(page.len() <= limit as usize, "{sort:?} {limit}");
                pages += 1;
                let Some(Link { created_at, id, .. }) = page.last() else { break };
                query.after = Some(Position { created_at: *created_at, id: *id });
                found.extend(page.iter().map(|link| link.code.to_string()));
            }
            assert_eq!(found, expected, "{sort:?} {limit}");
            // A page is full if enough links are left, and the last one is empty.
            assert_eq!(pages, TAGGED.len().div_ceil(limit as usize) + 1, "{sort:?} {limit}");
        }
    }
}
