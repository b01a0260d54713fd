//! Lists every address, page by page.

use async_trait::async_trait;
use diesel::{
    dsl::{max, sql},
    prelude::*,
    sql_types::{Bool, SmallInt, Text},
};
use domain::{
    address::{parts_of, text_of},
    ports::{AddressCatalog, RepositoryError},
};

use crate::{
    SqliteStore,
    schema::{link_events, links},
};

#[async_trait]
impl AddressCatalog for SqliteStore {
    /// An upper bound: every link has at least one entry in the history, so this is its last sequence number. An exact
    /// count would read every row.
    async fn estimate(&self) -> Result<u64, RepositoryError> {
        let last = self.threads.look_up("estimating how many links there are", |connection| {
            link_events::table.select(max(link_events::seq)).get_result::<Option<i64>>(connection)
        });
        Ok(last.await?.and_then(|last| u64::try_from(last).ok()).unwrap_or(0))
    }

    async fn addresses(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError> {
        let after = after.map(parts_of).map(|(domain, code)| (domain, code.to_owned()));
        self.threads
            .look_up("reading addresses", move |connection| {
                let mut addresses = links::table.select((links::domain_id, links::code)).into_boxed();
                if let Some((domain, code)) = after {
                    let behind = sql::<Bool>("(code, domain_id) > (").bind::<Text, _>(code).sql(", ");
                    addresses = addresses.filter(behind.bind::<SmallInt, _>(domain).sql(")"));
                }
                addresses.order((links::code, links::domain_id)).limit(i64::from(limit)).load(connection)
            })
            .await
            .map(texts)
    }

    async fn with_codes(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.threads
            .look_up("looking for codes", move |connection| {
                let found = links::table.filter(links::code.eq_any(words)).select((links::domain_id, links::code));
                found.load(connection)
            })
            .await
            .map(texts)
    }
}

fn texts(rows: Vec<(i16, String)>) -> Vec<String> {
    rows.into_iter().map(|(domain, code)| text_of(domain, &code)).collect()
}
