//! Lists every code, page by page.

use async_trait::async_trait;
use diesel::{dsl::sql, prelude::*, select, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use domain::ports::{CodeCatalog, RepositoryError};

use crate::{PostgresStore, error::Effect, schema::links, session::until};

#[async_trait]
impl CodeCatalog for PostgresStore {
    /// The planner's estimate. An exact count would read every row.
    async fn estimate(&self) -> Result<u64, RepositoryError> {
        let mut session = self.lists.open("estimating how many links there are").await?;
        let deadline = session.deadline();
        let believed = "(SELECT reltuples::bigint FROM pg_class WHERE oid = 'links'::regclass)";
        let estimate = until(deadline, select(sql::<BigInt>(believed)).get_result::<i64>(session.connection())).await;
        Ok(u64::try_from(session.close(Effect::Read, estimate)?).unwrap_or(0))
    }

    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError> {
        let mut session = self.lists.open("reading codes").await?;
        let deadline = session.deadline();
        let codes = links::table.filter(links::code.gt(after.unwrap_or_default())).order(links::code);
        let codes = codes.limit(i64::from(limit)).select(links::code);
        let codes = until(deadline, codes.load(session.connection())).await;
        session.close(Effect::Read, codes)
    }

    async fn codes_among(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError> {
        let mut session = self.lists.open("looking for codes").await?;
        let deadline = session.deadline();
        let codes = links::table.filter(links::code.eq_any(words)).select(links::code);
        let codes = until(deadline, codes.load(session.connection())).await;
        session.close(Effect::Read, codes)
    }
}
