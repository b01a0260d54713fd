//! API keys.

use async_trait::async_trait;
use diesel::{
    dsl::{AsSelect, SqlTypeOf, exists, not, select, sql},
    pg::{Pg, data_types::PgTimestamp},
    prelude::*,
    sql_types::{Bool, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use domain::{
    actor::Actor,
    address::DomainId,
    api_key::{ApiKey, KeyDigest, KeyId},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{ApiKeyRepository, KeyCreation, KeyPosition, Page, RepositoryError, StoredKey, in_column},
    time::Timestamp,
};

use crate::{
    PostgresStore,
    error::{Effect, corrupt},
    idempotency,
    rows::{Anything, RowPosition, Texts, moment, stored},
    schema::api_keys,
    session::{Progress, until},
};

#[async_trait]
impl ApiKeyRepository for PostgresStore {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &IdempotencyRecord)>,
    ) -> Result<KeyCreation, RepositoryError> {
        let mut session = self.sessions.open("creating an API key").await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let created = until(
            deadline,
            connection.transaction(async |connection| {
                if let Some((request, answer)) = once {
                    if let Some(before) = idempotency::begin(connection, request).await? {
                        return Ok(KeyCreation::Repeated(before));
                    }
                    idempotency::finish(connection, request, answer).await?;
                }
                insert(connection, key).await?;
                progress.commits();
                QueryResult::Ok(KeyCreation::Done)
            }),
        )
        .await;
        session.close(progress.effect(), created)
    }

    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError> {
        let mut session = self.sessions.open("creating the first API key").await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let created = until(
            deadline,
            connection.transaction(async |connection| {
                // This lock conflicts with itself and with inserts: of several concurrent first keys, only one is
                // created.
                connection.batch_execute("LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE").await?;
                let none: bool =
                    select(not(exists(api_keys::table.select(api_keys::id)))).get_result(connection).await?;
                if none {
                    insert(connection, key).await?;
                }
                progress.commits();
                QueryResult::Ok(none)
            }),
        )
        .await;
        session.close(progress.effect(), created)
    }

    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError> {
        const DOING: &str = "finding an API key";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let query = api_keys::table.find(id.as_str()).select(KeyRow::as_select());
        let found = until(deadline, query.first(session.connection())).await;
        let row = session.close(Effect::Read, found.map(OptionalExtension::optional))?;
        row.map(|row: KeyRow| row.into_key(DOING)).transpose()
    }

    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError> {
        let mut session = self.sessions.open("listing API keys").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let after = after.map(|at| RowPosition { created_at: stored(at.created_at), id: at.id.to_string() });
        let mut page = Page::behind(after, limit);
        let filled = until(deadline, async {
            while let Some((after, count)) = page.missing() {
                let rows: Vec<KeyRow> = rows(after, count).load(connection).await?;
                page.take(rows, KeyRow::position, |row| {
                    self.left_out.unless("api_keys", row.id.clone(), row.parse().map(|stored| stored.key))
                });
            }
            QueryResult::Ok(page.into_items())
        });
        let filled = filled.await;
        session.close(Effect::Read, filled)
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError> {
        let mut session = self.sessions.open("revoking an API key").await?;
        let deadline = session.deadline();
        let first = sql::<diesel::sql_types::Nullable<Timestamptz>>("coalesce(revoked_at, ")
            .bind::<Timestamptz, _>(at.to_datetime())
            .sql(")");
        let actor = sql::<diesel::sql_types::Nullable<Text>>("CASE WHEN revoked_at IS NULL THEN ")
            .bind::<Text, _>(by.to_string())
            .sql(" ELSE revoked_by END");
        let update = diesel::update(api_keys::table.find(id.as_str()))
            .set((api_keys::revoked_at.eq(first), api_keys::revoked_by.eq(actor)));
        let revoked = until(deadline, update.execute(session.connection())).await;
        Ok(session.close(Effect::Write, revoked)? == 1)
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        let mut session = self.sessions.open("noting the use of an API key").await?;
        let deadline = session.deadline();
        let earlier = api_keys::last_used_at.is_null().or(api_keys::last_used_at.lt(at.to_datetime()));
        let update = diesel::update(api_keys::table.find(id.as_str()).filter(earlier))
            .set(api_keys::last_used_at.eq(at.to_datetime()));
        let noted = until(deadline, update.execute(session.connection())).await;
        session.close(Effect::Write, noted)?;
        Ok(())
    }
}

/// The next rows of a list, newest first.
fn rows<'a>(
    after: Option<RowPosition<String>>,
    count: i64,
) -> api_keys::BoxedQuery<'a, Pg, SqlTypeOf<AsSelect<KeyRow, Pg>>> {
    let query = api_keys::table
        .order((api_keys::created_at.desc(), api_keys::id.desc()))
        .limit(count)
        .select(KeyRow::as_select())
        .into_boxed();
    let Some(after) = after else {
        return query;
    };
    let behind = sql::<Bool>("(created_at, id) < (")
        .bind::<Timestamptz, _>(after.created_at)
        .sql(", ")
        .bind::<Text, _>(after.id)
        .sql(")");
    query.filter(behind)
}

async fn insert(connection: &mut AsyncPgConnection, StoredKey { key, digest }: &StoredKey) -> QueryResult<()> {
    let scopes: Vec<String> = key.scopes.clone().into();
    diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(key.id.as_str()),
            api_keys::name.eq(key.name.as_str()),
            api_keys::owner_id.eq(key.owner.as_str()),
            api_keys::scopes.eq(scopes),
            api_keys::domains.eq(key.domains.iter().map(|id| i16::from(*id)).collect::<Vec<_>>()),
            api_keys::digest.eq(digest.as_bytes().as_slice()),
            api_keys::created_at.eq(stored(key.created_at)),
            api_keys::expires_at.eq(key.expires_at.map(stored)),
            api_keys::last_used_at.eq(key.last_used_at.map(stored)),
            api_keys::revoked_at.eq(key.revoked_at.map(stored)),
            api_keys::created_by.eq(key.created_by.to_string()),
            api_keys::revoked_by.eq(key.revoked_by.as_ref().map(ToString::to_string)),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// A key as it is stored.
#[derive(Queryable, Selectable)]
#[diesel(table_name = api_keys, check_for_backend(Pg))]
struct KeyRow {
    id: String,
    name: String,
    owner_id: String,
    scopes: Texts,
    domains: Vec<i16>,
    digest: Vec<u8>,
    created_at: PgTimestamp,
    expires_at: Option<PgTimestamp>,
    last_used_at: Option<PgTimestamp>,
    revoked_at: Option<PgTimestamp>,
    created_by: String,
    revoked_by: Option<String>,
}

impl KeyRow {
    /// Position in the order of lists.
    fn position(&self) -> RowPosition<String> {
        RowPosition { created_at: self.created_at, id: self.id.clone() }
    }

    fn into_key(self, doing: &'static str) -> Result<StoredKey, RepositoryError> {
        self.parse().map_err(|error| corrupt(doing, error))
    }

    fn parse(self) -> Result<StoredKey, Anything> {
        let key = ApiKey {
            id: in_column("id", self.id.parse())?,
            name: in_column("name", self.name.parse())?,
            owner: in_column("owner_id", self.owner_id.parse())?,
            scopes: in_column("scopes", in_column("scopes", self.scopes.read())?.try_into())?,
            domains: in_column("domains", self.domains.into_iter().map(DomainId::try_from).collect())?,
            created_at: in_column("created_at", moment(self.created_at))?,
            expires_at: in_column("expires_at", self.expires_at.map(moment).transpose())?,
            last_used_at: in_column("last_used_at", self.last_used_at.map(moment).transpose())?,
            revoked_at: in_column("revoked_at", self.revoked_at.map(moment).transpose())?,
            created_by: in_column("created_by", self.created_by.parse())?,
            revoked_by: in_column("revoked_by", self.revoked_by.map(|by| by.parse()).transpose())?,
        };
        let digest = <[u8; 32]>::try_from(self.digest).map_err(|_| "a digest has 32 bytes");
        let digest = in_column("digest", digest)?;
        Ok(StoredKey { key, digest: KeyDigest::from_stored(digest) })
    }
}
