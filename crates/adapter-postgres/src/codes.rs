//! Lists every address, page by page.

use async_trait::async_trait;
use diesel::{
    dsl::sql,
    prelude::*,
    select,
    sql_types::{BigInt, Bool, SmallInt, Text},
};
use diesel_async::RunQueryDsl;
use domain::{
    address::{parts_of, text_of},
    ports::{AddressCatalog, RepositoryError},
};

use crate::{PostgresStore, error::Effect, schema::links, session::until};

#[async_trait]
impl AddressCatalog for PostgresStore {
    /// The planner's estimate. An exact count would read every row.
    async fn estimate(&self) -> Result<u64, RepositoryError> {
        let mut session = self.lists.open("estimating how many links there are").await?;
        let deadline = session.deadline();
        let believed = "(SELECT reltuples::bigint FROM pg_class WHERE oid = 'links'::regclass)";
        let estimate = until(deadline, select(sql::<BigInt>(believed)).get_result::<i64>(session.connection())).await;
        Ok(u64::try_from(session.close(Effect::Read, estimate)?).unwrap_or(0))
    }

    async fn addresses(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError> {
        let mut session = self.lists.open("reading addresses").await?;
        let deadline = session.deadline();
        let (domain, code) = after.map_or((i16::MIN, ""), parts_of);
        let behind = sql::<Bool>("(code, domain_id) > (").bind::<Text, _>(code).sql(", ");
        let addresses = links::table.filter(behind.bind::<SmallInt, _>(domain).sql(")"));
        let addresses = addresses.order((links::code, links::domain_id)).limit(i64::from(limit));
        let addresses = addresses.select((links::domain_id, links::code));
        let addresses = until(deadline, addresses.load(session.connection())).await;
        session.close(Effect::Read, addresses).map(texts)
    }

    async fn with_codes(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError> {
        let mut session = self.lists.open("looking for codes").await?;
        let deadline = session.deadline();
        let found = links::table.filter(links::code.eq_any(words)).select((links::domain_id, links::code));
        let found = until(deadline, found.load(session.connection())).await;
        session.close(Effect::Read, found).map(texts)
    }
}

fn texts(rows: Vec<(i16, String)>) -> Vec<String> {
    rows.into_iter().map(|(domain, code)| text_of(domain, &code)).collect()
}
