//! API keys.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::{AsSelect, SqlTypeOf, exists, select, sql},
    prelude::*,
    sql_types::{BigInt, Bool, Text},
    sqlite::Sqlite,
};
use domain::{
    actor::Actor,
    api_key::{ApiKey, KeyDigest, KeyId},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{ApiKeyRepository, KeyCreation, KeyPosition, Page, RepositoryError, StoredKey, in_column},
    time::Timestamp,
};

use crate::{
    SqliteStore,
    error::corrupt,
    idempotency,
    rows::{Anything, moment},
    schema::api_keys,
};

#[async_trait]
impl ApiKeyRepository for SqliteStore {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &IdempotencyRecord)>,
    ) -> Result<KeyCreation, RepositoryError> {
        let key = key.clone();
        let once = once.map(|(request, answer)| (request.clone(), answer.clone()));
        self.threads
            .write("creating an API key", move |connection| {
                if let Some((request, answer)) = once {
                    if let Some(before) = idempotency::known_answer(connection, &request)? {
                        return Ok(KeyCreation::Repeated(before));
                    }
                    idempotency::keep(connection, &request, &answer)?;
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
        let after = after.map(|at| (at.created_at.unix_micros(), at.id.to_string()));
        let left_out = self.left_out.clone();
        self.threads
            .scan("listing API keys", move |connection, caller| {
                let mut page = Page::behind(after, limit);
                while let Some((after, count)) = page.missing() {
                    caller.still_waits()?;
                    let rows: Vec<KeyRow> = rows(after, count).load(connection)?;
                    page.take(rows, KeyRow::position, |row| {
                        left_out.unless("api_keys", row.id.clone(), row.parse().map(|stored| stored.key))
                    });
                }
                Ok(page.into_items())
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

/// The next rows of a list, newest first.
fn rows<'a>(
    after: Option<(i64, String)>,
    count: i64,
) -> api_keys::BoxedQuery<'a, Sqlite, SqlTypeOf<AsSelect<KeyRow, Sqlite>>> {
    let query = api_keys::table
        .order((api_keys::created_at.desc(), api_keys::id.desc()))
        .limit(count)
        .select(KeyRow::as_select())
        .into_boxed();
    let Some((created_at, id)) = after else {
        return query;
    };
    let behind =
        sql::<Bool>("(created_at, id) < (").bind::<BigInt, _>(created_at).sql(", ").bind::<Text, _>(id).sql(")");
    query.filter(behind)
}

fn insert(connection: &mut SqliteConnection, key: &StoredKey) -> QueryResult<()> {
    diesel::insert_into(api_keys::table).values(KeyRow::from(key)).execute(connection)?;
    Ok(())
}

/// A key as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, check_for_backend(Sqlite))]
struct KeyRow {
    id: String,
    name: String,
    owner_id: String,
    scopes: String,
    domains: String,
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
            domains: serde_json::to_string(&key.domains).expect("a list of numbers is JSON"),
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
    /// Position in the order of lists.
    fn position(&self) -> (i64, String) {
        (self.created_at, self.id.clone())
    }

    fn into_key(self) -> QueryResult<StoredKey> {
        self.parse().map_err(corrupt)
    }

    fn parse(self) -> Result<StoredKey, Anything> {
        let key = ApiKey {
            id: in_column("id", self.id.parse())?,
            name: in_column("name", self.name.parse())?,
            owner: in_column("owner_id", self.owner_id.parse())?,
            scopes: in_column("scopes", serde_json::from_str(&self.scopes))?,
            domains: in_column("domains", serde_json::from_str(&self.domains))?,
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
