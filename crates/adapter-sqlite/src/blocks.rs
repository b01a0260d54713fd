//! Blocks.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::{AsSelect, SqlTypeOf, exists, select, sql},
    prelude::*,
    sql_types::{BigInt, Binary, Bool},
    sqlite::Sqlite,
};
use domain::{
    block::{Block, Lifted, Subject},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{BlockPosition, BlockRepository, Blocking, Page, RepositoryError, Revision, UnreadableColumn, in_column},
};
use uuid::Uuid;

use crate::{
    SqliteStore,
    error::corrupt,
    idempotency,
    rows::{Anything, RowPosition, hex, moment},
    schema::{blocks, blocks_revision},
};

#[async_trait]
impl BlockRepository for SqliteStore {
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError> {
        let (block, once) = (block.clone(), once.cloned());
        self.threads
            .write("blocking", move |connection| {
                if let Some(request) = &once
                    && let Some(before) = idempotency::known_answer(connection, request)?
                {
                    return Ok(Box::new(Blocking::Repeated(before)));
                }
                let before = blocks::table
                    .filter(blocks::kind.eq(block.subject.kind()))
                    .filter(blocks::value.eq(block.subject.value().as_ref()))
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
                    idempotency::keep(connection, request, &IdempotencyRecord::Block { block: block.clone(), added })?;
                }
                Ok(Box::new(if added { Blocking::Added(block) } else { Blocking::InForce(block) }))
            })
            .await
            .map(|settled| *settled)
    }

    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<bool, RepositoryError> {
        let (id, lifted) = (id.as_bytes().to_vec(), lifted.clone());
        self.threads
            .write("lifting a block", move |connection| {
                let in_force = blocks::table.find(&id).filter(blocks::lifted_at.is_null());
                let ended =
                    (blocks::lifted_at.eq(lifted.at.unix_micros()), blocks::lifted_by.eq(lifted.by.to_string()));
                let count = diesel::update(in_force).set(ended).execute(connection)?;
                Ok(count == 1 || select(exists(blocks::table.find(&id))).get_result(connection)?)
            })
            .await
    }

    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError> {
        let after =
            after.map(|at| RowPosition { created_at: at.created_at.unix_micros(), id: at.id.as_bytes().to_vec() });
        let left_out = self.left_out.clone();
        self.threads
            .scan("listing blocks", move |connection, caller| {
                let mut page = Page::behind(after, limit);
                while let Some((after, count)) = page.missing() {
                    caller.still_waits()?;
                    let rows: Vec<BlockRow> = rows(lifted_too, after, count).load(connection)?;
                    page.take(rows, BlockRow::position, |row| left_out.unless("blocks", hex(&row.id), row.parse()));
                }
                Ok(page.into_items())
            })
            .await
    }

    async fn in_force(&self, known: Option<Uuid>) -> Result<Option<Revision>, RepositoryError> {
        let left_out = self.left_out.clone();
        self.threads
            .look_up("reading what is blocked", move |connection| {
                // The revision is read before the blocks: a change in between is then read twice, but never missed.
                let id: Vec<u8> = blocks_revision::table.select(blocks_revision::id).get_result(connection)?;
                let id = Uuid::from_slice(&id).map_err(corrupt)?;
                if known == Some(id) {
                    return Ok(None);
                }
                let in_force = blocks::table.filter(blocks::lifted_at.is_null());
                let rows: Vec<(Vec<u8>, String, String)> =
                    in_force.select((blocks::id, blocks::kind, blocks::value)).load(connection)?;
                let read = |(id, kind, value): (Vec<u8>, String, String)| {
                    left_out.unless("blocks", hex(&id), read_subject(&kind, &value).map_err(Into::into))
                };
                let count = rows.len();
                let subjects: Vec<_> = rows.into_iter().filter_map(read).collect();
                Ok(Some(Revision { id, left_out: count - subjects.len(), subjects }))
            })
            .await
    }
}

/// The next rows of a list, newest first.
fn rows<'a>(
    lifted_too: bool,
    after: Option<RowPosition>,
    count: i64,
) -> blocks::BoxedQuery<'a, Sqlite, SqlTypeOf<AsSelect<BlockRow, Sqlite>>> {
    let mut query = blocks::table
        .order((blocks::created_at.desc(), blocks::id.desc()))
        .limit(count)
        .select(BlockRow::as_select())
        .into_boxed();
    if !lifted_too {
        query = query.filter(blocks::lifted_at.is_null());
    }
    if let Some(after) = after {
        let behind = sql::<Bool>("(created_at, id) < (")
            .bind::<BigInt, _>(after.created_at)
            .sql(", ")
            .bind::<Binary, _>(after.id)
            .sql(")");
        query = query.filter(behind);
    }
    query
}

fn read_subject(kind: &str, value: &str) -> Result<Subject, UnreadableColumn> {
    in_column(if Subject::KINDS.contains(&kind) { "value" } else { "kind" }, Subject::from_stored(kind, value))
}

/// A block as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = blocks, check_for_backend(Sqlite))]
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
            value: block.subject.value().into_owned(),
            reason: block.reason.as_str().to_owned(),
            created_at: block.created_at.unix_micros(),
            created_by: block.created_by.to_string(),
            lifted_at: block.lifted.as_ref().map(|lifted| lifted.at.unix_micros()),
            lifted_by: block.lifted.as_ref().map(|lifted| lifted.by.to_string()),
        }
    }
}

impl BlockRow {
    /// Position in the order of lists.
    fn position(&self) -> RowPosition {
        RowPosition { created_at: self.created_at, id: self.id.clone() }
    }

    fn into_block(self) -> QueryResult<Block> {
        self.parse().map_err(corrupt)
    }

    fn parse(self) -> Result<Block, Anything> {
        let lifted = match self.lifted_at.zip(self.lifted_by) {
            Some((at, by)) => {
                Some(Lifted { at: in_column("lifted_at", moment(at))?, by: in_column("lifted_by", by.parse())? })
            }
            None => None,
        };
        Ok(Block {
            id: in_column("id", Uuid::from_slice(&self.id))?,
            subject: read_subject(&self.kind, &self.value)?,
            reason: in_column("reason", self.reason.parse())?,
            created_at: in_column("created_at", moment(self.created_at))?,
            created_by: in_column("created_by", self.created_by.parse())?,
            lifted,
        })
    }
}
