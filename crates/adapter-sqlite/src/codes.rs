//! Lists every code, page by page.

use async_trait::async_trait;
use diesel::{dsl::max, prelude::*};
use domain::ports::{CodeCatalog, RepositoryError};

use crate::{
    SqliteStore,
    schema::{link_events, links},
};

#[async_trait]
impl CodeCatalog for SqliteStore {
    /// An upper bound: every link has at least one entry in the history, so this is its last sequence number. An exact
    /// count would read every row.
    async fn estimate(&self) -> Result<u64, RepositoryError> {
        let last = self.threads.look_up("estimating how many links there are", |connection| {
            link_events::table.select(max(link_events::seq)).get_result::<Option<i64>>(connection)
        });
        Ok(last.await?.and_then(|last| u64::try_from(last).ok()).unwrap_or(0))
    }

    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError> {
        let after = after.unwrap_or_default().to_owned();
        self.threads
            .look_up("reading codes", move |connection| {
                let codes = links::table.filter(links::code.gt(after)).order(links::code).limit(i64::from(limit));
                codes.select(links::code).load(connection)
            })
            .await
    }

    async fn codes_among(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.threads
            .look_up("looking for codes", move |connection| {
                links::table.filter(links::code.eq_any(words)).select(links::code).load(connection)
            })
            .await
    }
}
