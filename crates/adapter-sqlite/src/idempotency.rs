//! Idempotency records: the answers of requests that carried an `Idempotency-Key`.

use async_trait::async_trait;
use diesel::{QueryResult, prelude::*, result::Error, sql_query, sql_types::BigInt};
use domain::{
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{ForgettingSteps, IdempotencyRepository, Repeated, RepositoryError},
    time::Timestamp,
};
use tokio::time::Instant;

use crate::{SqliteStore, error::corrupt, rows::moment, schema::idempotency_keys};

/// Deletes the oldest records up to a moment, at most a given number of them.
const OLDEST: &str = "DELETE FROM idempotency_keys WHERE rowid IN \
                      (SELECT rowid FROM idempotency_keys WHERE recorded_at <= ? ORDER BY recorded_at LIMIT ?)";

#[async_trait]
impl IdempotencyRepository for SqliteStore {
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError> {
        let request = request.clone();
        self.threads.look_up("recalling an answer", move |connection| known_answer(connection, &request)).await
    }

    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError> {
        let request = request.clone();
        self.threads
            .look_up("recalling when a request was answered", move |connection| {
                let micros: Option<i64> = idempotency_keys::table
                    .find((request.actor.to_string(), request.key.as_str()))
                    .filter(idempotency_keys::recorded_at.gt(request.forgotten_before().unix_micros()))
                    .select(idempotency_keys::recorded_at)
                    .get_result(connection)
                    .optional()?;
                micros.map(|micros| moment(micros).map_err(corrupt)).transpose()
            })
            .await
    }

    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &IdempotencyRecord,
    ) -> Result<Option<Repeated>, RepositoryError> {
        let (request, answer) = (request.clone(), answer.clone());
        self.threads
            .write("recording an answer", move |connection| {
                let before = known_answer(connection, &request)?;
                if before.is_none() {
                    keep(connection, &request, &answer)?;
                }
                Ok(before)
            })
            .await
    }

    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError> {
        let mut steps = ForgettingSteps::default();
        loop {
            let (begun, most) = (Instant::now(), steps.most());
            let forget = move |connection: &mut SqliteConnection| {
                let oldest = sql_query(OLDEST).bind::<BigInt, _>(moment.unix_micros()).bind::<BigInt, _>(most);
                Ok(oldest.execute(connection)? as u64)
            };
            let count = self.threads.write("forgetting answers", forget).await?;
            if !steps.took(count, begun.elapsed()) {
                return Ok(steps.forgotten());
            }
        }
    }
}

/// Writes the record, over one that has expired.
pub(crate) fn keep(
    connection: &mut SqliteConnection,
    request: &IdempotentRequest,
    answer: &IdempotencyRecord,
) -> QueryResult<()> {
    let text = serde_json::to_string(answer).map_err(|error| Error::SerializationError(error.into()))?;
    diesel::replace_into(idempotency_keys::table)
        .values((
            idempotency_keys::actor.eq(request.actor.to_string()),
            idempotency_keys::key.eq(request.key.as_str()),
            idempotency_keys::fingerprint.eq(request.fingerprint.as_bytes().as_slice()),
            idempotency_keys::answer.eq(text),
            idempotency_keys::recorded_at.eq(request.at.unix_micros()),
        ))
        .execute(connection)?;
    Ok(())
}

/// The idempotency record, unless it has expired.
pub(crate) fn known_answer(
    connection: &mut SqliteConnection,
    request: &IdempotentRequest,
) -> QueryResult<Option<Repeated>> {
    let row: Option<(Vec<u8>, String)> = idempotency_keys::table
        .find((request.actor.to_string(), request.key.as_str()))
        .filter(idempotency_keys::recorded_at.gt(request.forgotten_before().unix_micros()))
        .select((idempotency_keys::fingerprint, idempotency_keys::answer))
        .get_result(connection)
        .optional()?;
    let Some((fingerprint, answer)) = row else {
        return Ok(None);
    };
    if fingerprint != request.fingerprint.as_bytes() {
        return Ok(Some(Repeated::KeyReused));
    }
    Ok(Some(Repeated::Answer(Box::new(serde_json::from_str(&answer).map_err(corrupt)?))))
}
