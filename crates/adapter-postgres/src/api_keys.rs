//! API keys.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    dsl::{exists, not, select, sql},
    prelude::*,
    sql_types::{Bool, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use domain::{
    api_key::{ApiKey, KeyDigest, KeyId},
    history::Actor,
    idempotency::{IdempotentRequest, RecordedAnswer},
    ports::{ApiKeyRepository, KeyCreation, KeyPosition, RepositoryError, StoredKey},
    time::Timestamp,
};

use crate::{
    PostgresStore, answers,
    error::{Effect, corrupt},
    schema::api_keys,
    session::{Progress, until},
};

#[async_trait]
impl ApiKeyRepository for PostgresStore {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &RecordedAnswer)>,
    ) -> Result<KeyCreation, RepositoryError> {
        let mut session = self.sessions.open("creating an API key").await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let created = until(
            deadline,
            connection.transaction(async |connection| {
                if let Some((request, answer)) = once {
                    if let Some(before) = answers::begin(connection, request).await? {
                        return Ok(KeyCreation::Repeated(before));
                    }
                    answers::finish(connection, request, answer).await?;
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
                // Conflicts with itself and with inserts: of many first keys one is first.
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
        const DOING: &str = "listing API keys";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let mut query = api_keys::table
            .order((api_keys::created_at.desc(), api_keys::id.desc()))
            .limit(i64::from(limit))
            .select(KeyRow::as_select())
            .into_boxed();
        if let Some(after) = after {
            let behind = sql::<Bool>("(created_at, id) < (")
                .bind::<Timestamptz, _>(after.created_at.to_datetime())
                .sql(", ")
                .bind::<Text, _>(after.id.as_str())
                .sql(")");
            query = query.filter(behind);
        }
        let rows = until(deadline, query.load(session.connection())).await;
        let rows: Vec<KeyRow> = session.close(Effect::Read, rows)?;
        rows.into_iter().map(|row| row.into_key(DOING).map(|stored| stored.key)).collect()
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

async fn insert(connection: &mut AsyncPgConnection, key: &StoredKey) -> QueryResult<()> {
    diesel::insert_into(api_keys::table).values(KeyRow::from(key)).execute(connection).await?;
    Ok(())
}

/// A key as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, check_for_backend(diesel::pg::Pg))]
struct KeyRow {
    id: String,
    name: String,
    owner_id: String,
    scopes: Vec<String>,
    digest: Vec<u8>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    created_by: String,
    revoked_by: Option<String>,
}

impl From<&StoredKey> for KeyRow {
    fn from(StoredKey { key, digest }: &StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.as_str().to_owned(),
            owner_id: key.owner.to_string(),
            scopes: key.scopes.clone().into(),
            digest: digest.as_bytes().to_vec(),
            created_at: key.created_at.to_datetime(),
            expires_at: key.expires_at.map(Timestamp::to_datetime),
            last_used_at: key.last_used_at.map(Timestamp::to_datetime),
            revoked_at: key.revoked_at.map(Timestamp::to_datetime),
            created_by: key.created_by.to_string(),
            revoked_by: key.revoked_by.as_ref().map(ToString::to_string),
        }
    }
}

impl KeyRow {
    fn into_key(self, doing: &'static str) -> Result<StoredKey, RepositoryError> {
        self.parse().map_err(|error| corrupt(doing, error))
    }

    fn parse(self) -> Result<StoredKey, Box<dyn std::error::Error + Send + Sync>> {
        let moment = |time: Option<DateTime<Utc>>| time.map(Timestamp::try_from).transpose();
        let key = ApiKey {
            id: self.id.parse()?,
            name: self.name.parse()?,
            owner: self.owner_id.parse()?,
            scopes: self.scopes.try_into()?,
            created_at: self.created_at.try_into()?,
            expires_at: moment(self.expires_at)?,
            last_used_at: moment(self.last_used_at)?,
            revoked_at: moment(self.revoked_at)?,
            created_by: self.created_by.parse()?,
            revoked_by: self.revoked_by.map(|by| by.parse()).transpose()?,
        };
        let digest = <[u8; 32]>::try_from(self.digest).map_err(|_| "a digest has 32 bytes")?;
        Ok(StoredKey { key, digest: KeyDigest::from_stored(digest) })
    }
}
