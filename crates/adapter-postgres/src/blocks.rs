//! Blocks.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    block::{Block, Lifted, Subject},
    idempotency::{IdempotentRequest, RecordedAnswer},
    ports::{BlockPosition, BlockRepository, Blocking, RepositoryError, Revision},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    PostgresStore, answers,
    error::{Effect, corrupt},
    schema::{blocks, blocks_revision},
    session::{Progress, until},
};

type Anything = Box<dyn std::error::Error + Send + Sync>;

#[async_trait]
impl BlockRepository for PostgresStore {
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError> {
        const DOING: &str = "blocking";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let settled = until(
            deadline,
            connection.transaction(async |connection| {
                if let Some(request) = once
                    && let Some(before) = answers::begin(connection, request).await?
                {
                    return Ok(Ok(Blocking::Repeated(before)));
                }
                let settled = match place(connection, block).await? {
                    None => Blocking::Added(block.clone()),
                    Some(row) => match row.parse() {
                        Ok(before) => Blocking::InForce(before),
                        Err(error) => return Ok(Err(error)),
                    },
                };
                if let (Some(request), Some(answer)) = (once, answer(&settled)) {
                    answers::finish(connection, request, &answer).await?;
                }
                progress.commits();
                QueryResult::Ok(Ok(settled))
            }),
        )
        .await;
        session.close(progress.effect(), settled)?.map_err(|error| corrupt(DOING, error))
    }

    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<Option<Block>, RepositoryError> {
        const DOING: &str = "lifting a block";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let found = until(
            deadline,
            connection.transaction(async |connection| {
                let in_force = blocks::table.find(id).filter(blocks::lifted_at.is_null());
                diesel::update(in_force)
                    .set((blocks::lifted_at.eq(lifted.at.to_datetime()), blocks::lifted_by.eq(lifted.by.to_string())))
                    .execute(connection)
                    .await?;
                let found = blocks::table.find(id).select(BlockRow::as_select()).first(connection).await.optional()?;
                progress.commits();
                QueryResult::Ok(found)
            }),
        )
        .await;
        let found: Option<BlockRow> = session.close(progress.effect(), found)?;
        found.map(|row| row.parse().map_err(|error| corrupt(DOING, error))).transpose()
    }

    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError> {
        const DOING: &str = "listing blocks";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let mut query = blocks::table
            .order((blocks::created_at.desc(), blocks::id.desc()))
            .limit(i64::from(limit))
            .select(BlockRow::as_select())
            .into_boxed();
        if !lifted_too {
            query = query.filter(blocks::lifted_at.is_null());
        }
        if let Some(after) = after {
            let behind = sql::<Bool>("(created_at, id) < (")
                .bind::<Timestamptz, _>(after.created_at.to_datetime())
                .sql(", ")
                .bind::<SqlUuid, _>(after.id)
                .sql(")");
            query = query.filter(behind);
        }
        let rows = until(deadline, query.load(session.connection())).await;
        let rows: Vec<BlockRow> = session.close(Effect::Read, rows)?;
        rows.into_iter().map(|row| row.parse().map_err(|error| corrupt(DOING, error))).collect()
    }

    async fn in_force(&self, known: Option<i64>) -> Result<Option<Revision>, RepositoryError> {
        const DOING: &str = "reading what is blocked";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let found = until(deadline, async {
            // Before the blocks: what is changed in between is read twice, but not missed.
            let number: i64 = blocks_revision::table.select(blocks_revision::number).first(connection).await?;
            if known == Some(number) {
                return QueryResult::Ok(None);
            }
            let in_force = blocks::table.filter(blocks::lifted_at.is_null()).select((blocks::kind, blocks::value));
            Ok(Some((number, in_force.load::<(String, String)>(connection).await?)))
        })
        .await;
        let Some((number, rows)) = session.close(Effect::Read, found)? else {
            return Ok(None);
        };
        let subjects: Result<_, _> = rows.iter().map(|(kind, value)| Subject::parse(kind, value)).collect();
        Ok(Some(Revision { number, subjects: subjects.map_err(|error| corrupt(DOING, error))? }))
    }
}

/// The block that is in force already, if there is one.
async fn place(connection: &mut AsyncPgConnection, block: &Block) -> QueryResult<Option<BlockRow>> {
    loop {
        let added = diesel::insert_into(blocks::table)
            .values(BlockRow::from(block))
            .on_conflict_do_nothing()
            .execute(connection)
            .await?;
        if added == 1 {
            return Ok(None);
        }
        let before = blocks::table
            .filter(blocks::kind.eq(block.subject.kind()))
            .filter(blocks::value.eq(block.subject.value()))
            .filter(blocks::lifted_at.is_null())
            .select(BlockRow::as_select())
            .first(connection)
            .await
            .optional()?;
        // Lifted just now: then it can be placed.
        if before.is_some() {
            return Ok(before);
        }
    }
}

fn answer(settled: &Blocking) -> Option<RecordedAnswer> {
    match settled {
        Blocking::Added(block) => Some(RecordedAnswer::Block { block: block.clone(), added: true }),
        Blocking::InForce(block) => Some(RecordedAnswer::Block { block: block.clone(), added: false }),
        Blocking::Repeated(_) => None,
    }
}

/// A block as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = blocks, check_for_backend(diesel::pg::Pg))]
struct BlockRow {
    id: Uuid,
    kind: String,
    value: String,
    reason: String,
    created_at: DateTime<Utc>,
    created_by: String,
    lifted_at: Option<DateTime<Utc>>,
    lifted_by: Option<String>,
}

impl From<&Block> for BlockRow {
    fn from(block: &Block) -> Self {
        Self {
            id: block.id,
            kind: block.subject.kind().to_owned(),
            value: block.subject.value().to_owned(),
            reason: block.reason.as_str().to_owned(),
            created_at: block.created_at.to_datetime(),
            created_by: block.created_by.to_string(),
            lifted_at: block.lifted.as_ref().map(|lifted| lifted.at.to_datetime()),
            lifted_by: block.lifted.as_ref().map(|lifted| lifted.by.to_string()),
        }
    }
}

impl BlockRow {
    fn parse(self) -> Result<Block, Anything> {
        let lifted = match self.lifted_at.zip(self.lifted_by) {
            Some((at, by)) => Some(Lifted { at: Timestamp::try_from(at)?, by: by.parse()? }),
            None => None,
        };
        Ok(Block {
            id: self.id,
            subject: Subject::parse(&self.kind, &self.value)?,
            reason: self.reason.parse()?,
            created_at: self.created_at.try_into()?,
            created_by: self.created_by.parse()?,
            lifted,
        })
    }
}
