//! Idempotency records: the answers of requests that carried an `Idempotency-Key`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{ForgettingSteps, IdempotencyRepository, Repeated, RepositoryError},
    time::{InvalidTimestamp, Timestamp},
};
use tokio::time::Instant;

use crate::{
    PostgresStore,
    error::{Effect, corrupt},
    schema::idempotency_keys,
    session::{Progress, until},
};

/// Deletes the oldest records from `$1` or earlier, at most `$2` of them. Skips records that another process is
/// deleting.
const OLDEST: &str = "DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_keys WHERE recorded_at <= $1 ORDER BY recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

#[async_trait]
impl IdempotencyRepository for PostgresStore {
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError> {
        let mut session = self.sessions.open("recalling an answer").await?;
        let deadline = session.deadline();
        let known = until(deadline, known_answer(session.connection(), request)).await;
        session.close(Effect::Read, known)
    }

    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError> {
        const DOING: &str = "recalling when a request was answered";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let query = idempotency_keys::table
            .find((request.actor.to_string(), request.key.as_str()))
            .filter(idempotency_keys::recorded_at.gt(request.forgotten_before().to_datetime()))
            .select(idempotency_keys::recorded_at);
        let found = until(deadline, query.first::<DateTime<Utc>>(session.connection())).await;
        let moment = session.close(Effect::Read, found.map(OptionalExtension::optional))?;
        moment.map(|moment| moment.try_into().map_err(|error: InvalidTimestamp| corrupt(DOING, error))).transpose()
    }

    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &IdempotencyRecord,
    ) -> Result<Option<Repeated>, RepositoryError> {
        let mut session = self.sessions.open("recording an answer").await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let recorded = until(
            deadline,
            connection.transaction(async |connection| {
                let before = begin(connection, request).await?;
                if before.is_none() {
                    finish(connection, request, answer).await?;
                }
                progress.commits();
                QueryResult::Ok(before)
            }),
        )
        .await;
        session.close(progress.effect(), recorded)
    }

    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError> {
        let mut steps = ForgettingSteps::default();
        loop {
            let begun = Instant::now();
            let mut session = self.sessions.open("forgetting answers").await?;
            let deadline = session.deadline();
            let oldest = sql_query(OLDEST).bind::<Timestamptz, _>(moment.to_datetime()).bind::<BigInt, _>(steps.most());
            let count = until(deadline, oldest.execute(session.connection())).await;
            let count = session.close(Effect::Write, count)? as u64;
            if !steps.took(count, begun.elapsed()) {
                return Ok(steps.forgotten());
            }
        }
    }
}

/// Inserts the idempotency key in this transaction, or returns the record that already has it. Another transaction with
/// the same key waits here until this one ends.
pub(crate) async fn begin(
    connection: &mut AsyncPgConnection,
    request: &IdempotentRequest,
) -> QueryResult<Option<Repeated>> {
    let actor = request.actor.to_string();
    let row = idempotency_keys::table.find((&actor, request.key.as_str()));
    let forgotten = row.filter(idempotency_keys::recorded_at.le(request.forgotten_before().to_datetime()));
    diesel::delete(forgotten).execute(connection).await?;
    let taken = diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::actor.eq(&actor),
            idempotency_keys::key.eq(request.key.as_str()),
            idempotency_keys::fingerprint.eq(request.fingerprint.as_bytes().as_slice()),
            idempotency_keys::answer.eq(""),
            idempotency_keys::recorded_at.eq(request.at.to_datetime()),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    if taken == 1 { Ok(None) } else { known_answer(connection, request).await }
}

/// Writes the answer into the record that [`begin`] inserted.
pub(crate) async fn finish(
    connection: &mut AsyncPgConnection,
    request: &IdempotentRequest,
    answer: &IdempotencyRecord,
) -> QueryResult<()> {
    let text =
        serde_json::to_string(answer).map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
    let row = idempotency_keys::table.find((request.actor.to_string(), request.key.as_str()));
    diesel::update(row).set(idempotency_keys::answer.eq(text)).execute(connection).await?;
    Ok(())
}

async fn known_answer(
    connection: &mut AsyncPgConnection,
    request: &IdempotentRequest,
) -> QueryResult<Option<Repeated>> {
    let row: Option<(Vec<u8>, String)> = idempotency_keys::table
        .find((request.actor.to_string(), request.key.as_str()))
        .filter(idempotency_keys::recorded_at.gt(request.forgotten_before().to_datetime()))
        .select((idempotency_keys::fingerprint, idempotency_keys::answer))
        .first(connection)
        .await
        .optional()?;
    let Some((fingerprint, answer)) = row else {
        return Ok(None);
    };
    if fingerprint != request.fingerprint.as_bytes() {
        return Ok(Some(Repeated::KeyReused));
    }
    let answer =
        serde_json::from_str(&answer).map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
    Ok(Some(Repeated::Answer(Box::new(answer))))
}
