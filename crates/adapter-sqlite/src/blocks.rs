//! Blocks.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Binary, Bool},
};
use domain::{
    block::{Block, Lifted, Subject},
    idempotency::{IdempotentRequest, RecordedAnswer},
    ports::{BlockPosition, BlockRepository, Blocking, RepositoryError, Revision},
};
use uuid::Uuid;

use crate::{
    SqliteStore, answers,
    error::corrupt,
    rows::moment,
    schema::{blocks, blocks_revision},
};

type Anything = Box<dyn std::error::Error + Send + Sync>;

#[async_trait]
impl BlockRepository for SqliteStore {
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError> {
        let (block, once) = (block.clone(), once.cloned());
        self.threads
            .write("blocking", move |connection| {
                if let Some(request) = &once
                    && let Some(before) = answers::known_answer(connection, request)?
                {
                    return Ok(Box::new(Blocking::Repeated(before)));
                }
                let before = blocks::table
                    .filter(blocks::kind.eq(block.subject.kind()))
                    .filter(blocks::value.eq(block.subject.value()))
                    .filter(blocks::lifted_at.is_null())
                    .select(BlockRow::as_select())
                    .get_result(connection)
                    .optional()?;
                let added = before.is_none();
                let block = if let Some(row) = before {
                    row.into_block()?
                } else {
                    diesel::insert_into(blocks::table).values(BlockRow::from(&block)).execute(connection)?;
                    block.clone()
                };
                if let Some(request) = &once {
                    answers::keep(connection, request, &RecordedAnswer::Block { block: block.clone(), added })?;
                }
                Ok(Box::new(if added { Blocking::Added(block) } else { Blocking::InForce(block) }))
            })
            .await
            .map(|settled| *settled)
    }

    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<Option<Block>, RepositoryError> {
        let (id, lifted) = (id.as_bytes().to_vec(), lifted.clone());
        self.threads
            .write("lifting a block", move |connection| {
                let in_force = blocks::table.find(&id).filter(blocks::lifted_at.is_null());
                diesel::update(in_force)
                    .set((blocks::lifted_at.eq(lifted.at.unix_micros()), blocks::lifted_by.eq(lifted.by.to_string())))
                    .execute(connection)?;
                let found = blocks::table.find(&id).select(BlockRow::as_select()).get_result(connection).optional()?;
                Ok(Box::new(found.map(BlockRow::into_block).transpose()?))
            })
            .await
            .map(|block| *block)
    }

    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError> {
        let after = after.cloned();
        self.threads
            .scan("listing blocks", move |connection| {
                let mut query = blocks::table
                    .order((blocks::created_at.desc(), blocks::id.desc()))
                    .limit(i64::from(limit))
                    .select(BlockRow::as_select())
                    .into_boxed();
                if !lifted_too {
                    query = query.filter(blocks::lifted_at.is_null());
                }
                if let Some(after) = &after {
                    let behind = sql::<Bool>("(created_at, id) < (")
                        .bind::<BigInt, _>(after.created_at.unix_micros())
                        .sql(", ")
                        .bind::<Binary, _>(after.id.as_bytes().to_vec())
                        .sql(")");
                    query = query.filter(behind);
                }
                let rows: Vec<BlockRow> = query.load(connection)?;
                rows.into_iter().map(BlockRow::into_block).collect()
            })
            .await
    }

    async fn in_force(&self, known: Option<i64>) -> Result<Option<Revision>, RepositoryError> {
        self.threads
            .look_up("reading what is blocked", move |connection| {
                // Before the blocks: what is changed in between is read twice, but not missed.
                let number: i64 = blocks_revision::table.select(blocks_revision::number).get_result(connection)?;
                if known == Some(number) {
                    return Ok(None);
                }
                let in_force = blocks::table.filter(blocks::lifted_at.is_null()).select((blocks::kind, blocks::value));
                let rows: Vec<(String, String)> = in_force.load(connection)?;
                let subjects: Result<_, _> = rows.iter().map(|(kind, value)| Subject::parse(kind, value)).collect();
                Ok(Some(Revision { number, subjects: subjects.map_err(corrupt)? }))
            })
            .await
    }
}

/// A block as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = blocks, check_for_backend(diesel::sqlite::Sqlite))]
struct BlockRow {
    id: Vec<u8>,
    kind: String,
    value: String,
    reason: String,
    created_at: i64,
    created_by: String,
    lifted_at: Option<i64>,
    lifted_by: Option<String>,
}

impl From<&Block> for BlockRow {
    fn from(block: &Block) -> Self {
        Self {
            id: block.id.as_bytes().to_vec(),
            kind: block.subject.kind().to_owned(),
            value: block.subject.value().to_owned(),
            reason: block.reason.as_str().to_owned(),
            created_at: block.created_at.unix_micros(),
            created_by: block.created_by.to_string(),
            lifted_at: block.lifted.as_ref().map(|lifted| lifted.at.unix_micros()),
            lifted_by: block.lifted.as_ref().map(|lifted| lifted.by.to_string()),
        }
    }
}

impl BlockRow {
    fn into_block(self) -> QueryResult<Block> {
        self.parse().map_err(corrupt)
    }

    fn parse(self) -> Result<Block, Anything> {
        let lifted = match self.lifted_at.zip(self.lifted_by) {
            Some((at, by)) => Some(Lifted { at: moment(at)?, by: by.parse()? }),
            None => None,
        };
        Ok(Block {
            id: Uuid::from_slice(&self.id)?,
            subject: Subject::parse(&self.kind, &self.value)?,
            reason: self.reason.parse()?,
            created_at: moment(self.created_at)?,
            created_by: self.created_by.parse()?,
            lifted,
        })
    }
}
