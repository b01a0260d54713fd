//! Blocks.

use async_trait::async_trait;
use diesel::{
    dsl::{AsSelect, SqlTypeOf, exists, select, sql},
    pg::{Pg, data_types::PgTimestamp},
    prelude::*,
    sql_types::{Bool, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    block::{Block, Lifted, Subject},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{BlockPosition, BlockRepository, Blocking, Page, RepositoryError, Revision, UnreadableColumn, in_column},
};
use uuid::Uuid;

use crate::{
    PostgresStore,
    error::Effect,
    idempotency,
    rows::{Anything, RowPosition, moment, stored},
    schema::{blocks, blocks_revision},
    session::{Progress, until},
};

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
                    && let Some(before) = idempotency::begin(connection, request).await?
                {
                    return Ok(Blocking::Repeated(before));
                }
                let settled = match position(connection, block).await? {
                    None => Blocking::Added(block.clone()),
                    Some(row) => match row.parse() {
                        Ok(before) => Blocking::InForce(before),
                        // An error rolls back the idempotency record of this request.
                        Err(error) => return Err(diesel::result::Error::DeserializationError(error)),
                    },
                };
                if let (Some(request), Some(answer)) = (once, answer(&settled)) {
                    idempotency::finish(connection, request, &answer).await?;
                }
                progress.commits();
                QueryResult::Ok(settled)
            }),
        )
        .await;
        session.close(progress.effect(), settled)
    }

    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<bool, RepositoryError> {
        const DOING: &str = "lifting a block";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let found = until(
            deadline,
            connection.transaction(async |connection| {
                let in_force = blocks::table.find(id).filter(blocks::lifted_at.is_null());
                let ended =
                    (blocks::lifted_at.eq(lifted.at.to_datetime()), blocks::lifted_by.eq(lifted.by.to_string()));
                let count = diesel::update(in_force).set(ended).execute(connection).await?;
                let before = select(exists(blocks::table.find(id)));
                let found = count == 1 || before.get_result(connection).await?;
                progress.commits();
                QueryResult::Ok(found)
            }),
        )
        .await;
        session.close(progress.effect(), found)
    }

    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError> {
        let mut session = self.sessions.open("listing blocks").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let after = after.map(|at| RowPosition { created_at: stored(at.created_at), id: at.id });
        let mut page = Page::behind(after, limit);
        let filled = until(deadline, async {
            while let Some((after, count)) = page.missing() {
                let rows: Vec<BlockRow> = rows(lifted_too, after, count).load(connection).await?;
                page.take(rows, BlockRow::position, |row| self.left_out.unless("blocks", row.id, row.parse()));
            }
            QueryResult::Ok(page.into_items())
        });
        let filled = filled.await;
        session.close(Effect::Read, filled)
    }

    async fn in_force(&self, known: Option<Uuid>) -> Result<Option<Revision>, RepositoryError> {
        let mut session = self.sessions.open("reading what is blocked").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let found = until(deadline, async {
            // The revision is read before the blocks: a change in between is then read twice, but never missed.
            let id: Uuid = blocks_revision::table.select(blocks_revision::id).first(connection).await?;
            if known == Some(id) {
                return QueryResult::Ok(None);
            }
            let in_force = blocks::table.filter(blocks::lifted_at.is_null());
            let in_force = in_force.select((blocks::id, blocks::kind, blocks::value));
            Ok(Some((id, in_force.load::<(Uuid, String, String)>(connection).await?)))
        })
        .await;
        let Some((id, rows)) = session.close(Effect::Read, found)? else {
            return Ok(None);
        };
        let read = |(id, kind, value): (Uuid, String, String)| {
            self.left_out.unless("blocks", id, read_subject(&kind, &value).map_err(Into::into))
        };
        let count = rows.len();
        let subjects: Vec<_> = rows.into_iter().filter_map(read).collect();
        Ok(Some(Revision { id, left_out: count - subjects.len(), subjects }))
    }
}

/// The next rows of a list, newest first.
fn rows<'a>(
    lifted_too: bool,
    after: Option<RowPosition<Uuid>>,
    count: i64,
) -> blocks::BoxedQuery<'a, Pg, SqlTypeOf<AsSelect<BlockRow, Pg>>> {
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
            .bind::<Timestamptz, _>(after.created_at)
            .sql(", ")
            .bind::<SqlUuid, _>(after.id)
            .sql(")");
        query = query.filter(behind);
    }
    query
}

fn read_subject(kind: &str, value: &str) -> Result<Subject, UnreadableColumn> {
    in_column(if Subject::KINDS.contains(&kind) { "value" } else { "kind" }, Subject::from_stored(kind, value))
}

/// Inserts the block, unless one is in force for the same subject. Returns the block in force; `None` if this one was
/// inserted.
async fn position(connection: &mut AsyncPgConnection, block: &Block) -> QueryResult<Option<BlockRow>> {
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
            .filter(blocks::value.eq(block.subject.value().as_ref()))
            .filter(blocks::lifted_at.is_null())
            .select(BlockRow::as_select())
            .first(connection)
            .await
            .optional()?;
        // The block in force was lifted meanwhile: try to insert again.
        if before.is_some() {
            return Ok(before);
        }
    }
}

fn answer(settled: &Blocking) -> Option<IdempotencyRecord> {
    match settled {
        Blocking::Added(block) => Some(IdempotencyRecord::Block { block: block.clone(), added: true }),
        Blocking::InForce(block) => Some(IdempotencyRecord::Block { block: block.clone(), added: false }),
        Blocking::Repeated(_) => None,
    }
}

/// A block as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = blocks, check_for_backend(Pg))]
struct BlockRow {
    id: Uuid,
    kind: String,
    value: String,
    reason: String,
    created_at: PgTimestamp,
    created_by: String,
    lifted_at: Option<PgTimestamp>,
    lifted_by: Option<String>,
}

impl From<&Block> for BlockRow {
    fn from(block: &Block) -> Self {
        Self {
            id: block.id,
            kind: block.subject.kind().to_owned(),
            value: block.subject.value().into_owned(),
            reason: block.reason.as_str().to_owned(),
            created_at: stored(block.created_at),
            created_by: block.created_by.to_string(),
            lifted_at: block.lifted.as_ref().map(|lifted| stored(lifted.at)),
            lifted_by: block.lifted.as_ref().map(|lifted| lifted.by.to_string()),
        }
    }
}

impl BlockRow {
    /// Position in the order of lists.
    fn position(&self) -> RowPosition<Uuid> {
        RowPosition { created_at: self.created_at, id: self.id }
    }

    fn parse(self) -> Result<Block, Anything> {
        let lifted = match self.lifted_at.zip(self.lifted_by) {
            Some((at, by)) => {
                Some(Lifted { at: in_column("lifted_at", moment(at))?, by: in_column("lifted_by", by.parse())? })
            }
            None => None,
        };
        Ok(Block {
            id: self.id,
            subject: read_subject(&self.kind, &self.value)?,
            reason: in_column("reason", self.reason.parse())?,
            created_at: in_column("created_at", moment(self.created_at))?,
            created_by: in_column("created_by", self.created_by.parse())?,
            lifted,
        })
    }
}
