//! API keys.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::{exists, select, sql},
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use domain::{
    api_key::{ApiKey, KeyDigest, KeyId},
    history::Actor,
    idempotency::{IdempotentRequest, RecordedAnswer},
    ports::{ApiKeyRepository, KeyCreation, KeyPosition, RepositoryError, StoredKey},
    time::Timestamp,
};

use crate::{SqliteStore, answers, error::corrupt, rows::moment, schema::api_keys};

#[async_trait]
impl ApiKeyRepository for SqliteStore {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &RecordedAnswer)>,
    ) -> Result<KeyCreation, RepositoryError> {
        let key = key.clone();
        let once = once.map(|(request, answer)| (request.clone(), answer.clone()));
        self.threads
            .write("creating an API key", move |connection| {
                if let Some((request, answer)) = once {
                    if let Some(before) = answers::known_answer(connection, &request)? {
                        return Ok(KeyCreation::Repeated(before));
                    }
                    answers::keep(connection, &request, &answer)?;
                }
                insert(connection, &key)?;
                Ok(KeyCreation::Done)
            })
            .await
    }

    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError> {
        let key = key.clone();
        self.threads
            .write("creating the first API key", move |connection| {
                let some: bool = select(exists(api_keys::table.select(api_keys::id))).get_result(connection)?;
                if !some {
                    insert(connection, &key)?;
                }
                Ok(!some)
            })
            .await
    }

    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError> {
        let id = id.clone();
        self.threads
            .look_up("finding an API key", move |connection| {
                let query = api_keys::table.find(id.as_str()).select(KeyRow::as_select());
                query.get_result(connection).optional()?.map(KeyRow::into_key).transpose()
            })
            .await
    }

    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError> {
        let after = after.cloned();
        self.threads
            .scan("listing API keys", move |connection| {
                let mut query = api_keys::table
                    .order((api_keys::created_at.desc(), api_keys::id.desc()))
                    .limit(i64::from(limit))
                    .select(KeyRow::as_select())
                    .into_boxed();
                if let Some(after) = &after {
                    let behind = sql::<Bool>("(created_at, id) < (")
                        .bind::<BigInt, _>(after.created_at.unix_micros())
                        .sql(", ")
                        .bind::<Text, _>(after.id.as_str())
                        .sql(")");
                    query = query.filter(behind);
                }
                let rows: Vec<KeyRow> = query.load(connection)?;
                rows.into_iter().map(|row| row.into_key().map(|stored| stored.key)).collect()
            })
            .await
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError> {
        let (id, by) = (id.clone(), by.to_string());
        self.threads
            .write("revoking an API key", move |connection| {
                let key = api_keys::table.find(id.as_str());
                let live = key.filter(api_keys::revoked_at.is_null());
                diesel::update(live)
                    .set((api_keys::revoked_at.eq(at.unix_micros()), api_keys::revoked_by.eq(&by)))
                    .execute(connection)?;
                Ok(select(exists(key)).get_result(connection)?)
            })
            .await
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        let id = id.clone();
        self.threads
            .write("noting the use of an API key", move |connection| {
                let earlier = api_keys::last_used_at.is_null().or(api_keys::last_used_at.lt(at.unix_micros()));
                diesel::update(api_keys::table.find(id.as_str()).filter(earlier))
                    .set(api_keys::last_used_at.eq(at.unix_micros()))
                    .execute(connection)?;
                Ok(())
            })
            .await
    }
}

fn insert(connection: &mut SqliteConnection, key: &StoredKey) -> QueryResult<()> {
    diesel::insert_into(api_keys::table).values(KeyRow::from(key)).execute(connection)?;
    Ok(())
}

/// A key as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, check_for_backend(diesel::sqlite::Sqlite))]
struct KeyRow {
    id: String,
    name: String,
    owner_id: String,
    scopes: String,
    digest: Vec<u8>,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
    created_by: String,
    revoked_by: Option<String>,
}

impl From<&StoredKey> for KeyRow {
    fn from(StoredKey { key, digest }: &StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.as_str().to_owned(),
            owner_id: key.owner.to_string(),
            scopes: serde_json::to_string(&key.scopes).expect("a list of strings is JSON"),
            digest: digest.as_bytes().to_vec(),
            created_at: key.created_at.unix_micros(),
            expires_at: key.expires_at.map(Timestamp::unix_micros),
            last_used_at: key.last_used_at.map(Timestamp::unix_micros),
            revoked_at: key.revoked_at.map(Timestamp::unix_micros),
            created_by: key.created_by.to_string(),
            revoked_by: key.revoked_by.as_ref().map(ToString::to_string),
        }
    }
}

impl KeyRow {
    fn into_key(self) -> QueryResult<StoredKey> {
        self.parse().map_err(corrupt)
    }

    fn parse(self) -> Result<StoredKey, Box<dyn std::error::Error + Send + Sync>> {
        let key = ApiKey {
            id: self.id.parse()?,
            name: self.name.parse()?,
            owner: self.owner_id.parse()?,
            scopes: serde_json::from_str(&self.scopes)?,
            created_at: moment(self.created_at)?,
            expires_at: self.expires_at.map(moment).transpose()?,
            last_used_at: self.last_used_at.map(moment).transpose()?,
            revoked_at: self.revoked_at.map(moment).transpose()?,
            created_by: self.created_by.parse()?,
            revoked_by: self.revoked_by.map(|by| by.parse()).transpose()?,
        };
        let digest = <[u8; 32]>::try_from(self.digest).map_err(|_| "a digest has 32 bytes")?;
        Ok(StoredKey { key, digest: KeyDigest::from_stored(digest) })
    }
}
