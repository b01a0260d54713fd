//! Short domains.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::{exists, select},
    pg::{Pg, data_types::PgTimestamp},
    prelude::*,
    result::Error,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use domain::{
    address::DomainId,
    behaviour::RedirectStatus,
    idempotency::{IdempotencyRecord, IdempotentRequest},
    link::Generation,
    ports::{Adding, LeftOut, NewShortDomain, Removal, RepositoryError, ShortDomainRepository, in_column},
    short_domain::{DomainSettings, ShortDomain, ShortDomains},
    target::Target,
};

use crate::{
    PostgresStore,
    error::{Effect, is_domain_in_use},
    idempotency,
    rows::{Anything, moment, redirect_column, stored},
    schema::{blocks, short_domains},
    session::{Progress, until},
};

/// Additions wait for each other, so that none exceeds the limit. Readers and claims do not wait.
const LOCK: &str = "LOCK TABLE short_domains IN SHARE ROW EXCLUSIVE MODE";

#[async_trait]
impl ShortDomainRepository for PostgresStore {
    async fn add(&self, new: &NewShortDomain, once: Option<&IdempotentRequest>) -> Result<Adding, RepositoryError> {
        let mut session = self.sessions.open("adding a short domain").await?;
        let deadline = session.deadline();
        let (connection, progress) = (session.connection(), Progress::default());
        let added = until(
            deadline,
            connection.transaction(async |connection| {
                if let Some(request) = once
                    && let Some(before) = idempotency::begin(connection, request).await?
                {
                    return Ok(Adding::Repeated(before));
                }
                connection.batch_execute(LOCK).await?;
                let outcome = insert(connection, new).await?;
                match (&outcome, once) {
                    (Adding::Added(domain), Some(request)) => {
                        idempotency::finish(connection, request, &IdempotencyRecord::Domain(domain.clone())).await?;
                    }
                    (Adding::Added(_), None) => {}
                    // Also rolls back the idempotency record.
                    _refused => return Err(Undone::Outcome(outcome)),
                }
                progress.commits();
                Ok(outcome)
            }),
        )
        .await;
        let added = added.map(|outcome| match outcome {
            Ok(outcome) | Err(Undone::Outcome(outcome)) => Ok(outcome),
            Err(Undone::Diesel(error)) => Err(error),
        });
        session.close(progress.effect(), added)
    }

    async fn all(&self) -> Result<Vec<ShortDomain>, RepositoryError> {
        let mut session = self.sessions.open("reading short domains").await?;
        let deadline = session.deadline();
        let rows = short_domains::table.order(short_domains::id).select(DomainRow::as_select());
        let rows = until(deadline, rows.load(session.connection())).await;
        let rows: Vec<DomainRow> = session.close(Effect::Read, rows)?;
        Ok(rows.into_iter().filter_map(|row| row.kept(&self.left_out)).collect())
    }

    async fn update(&self, after: &ShortDomain, from: Generation) -> Result<bool, RepositoryError> {
        let mut session = self.sessions.open("changing a short domain").await?;
        let (deadline, progress) = (session.deadline(), Progress::default());
        let before = short_domains::table.find(i16::from(after.id));
        let before = before.filter(short_domains::generation.eq(from.get()));
        let change = (
            short_domains::generation.eq(after.generation.get()),
            short_domains::updated_at.eq(stored(after.updated_at)),
            SettingsRow::from(&after.settings),
        );
        let connection = session.connection();
        let updated = until(
            deadline,
            connection.transaction(async |connection| {
                let count = diesel::update(before).set(change).execute(connection).await?;
                progress.commits();
                QueryResult::Ok(count == 1)
            }),
        )
        .await;
        session.close(progress.effect(), updated)
    }

    async fn remove(&self, id: DomainId) -> Result<Removal, RepositoryError> {
        if id.is_default() {
            return Ok(Removal::Missing);
        }
        let mut session = self.sessions.open("removing a short domain").await?;
        let (deadline, progress) = (session.deadline(), Progress::default());
        let connection = session.connection();
        let removed = until(
            deadline,
            connection.transaction(async |connection| {
                let on_it = blocks::kind.eq("code").and(blocks::value.like(format!("{id}/%")));
                let in_force = blocks::table.filter(blocks::lifted_at.is_null()).filter(on_it);
                if select(exists(in_force)).get_result(connection).await? {
                    return Ok(Removal::HasBlocks);
                }
                let count = diesel::delete(short_domains::table.find(i16::from(id))).execute(connection).await?;
                progress.commits();
                QueryResult::Ok(if count == 1 { Removal::Done } else { Removal::Missing })
            }),
        )
        .await;
        let removed = removed.map(|outcome| match outcome {
            Err(error) if is_domain_in_use(&error) => Ok(Removal::HasLinks),
            outcome => outcome,
        });
        session.close(progress.effect(), removed)
    }
}

/// Why a transaction is rolled back.
enum Undone {
    Outcome(Adding),
    Diesel(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Self::Diesel(error)
    }
}

/// Inserts a short domain, under the lock.
async fn insert(connection: &mut AsyncPgConnection, new: &NewShortDomain) -> QueryResult<Adding> {
    let taken = short_domains::table.filter(short_domains::host.eq(new.host.as_str()));
    if select(exists(taken)).get_result(connection).await? {
        return Ok(Adding::Taken);
    }
    let count: i64 = short_domains::table.count().get_result(connection).await?;
    if usize::try_from(count).is_ok_and(|count| count >= ShortDomains::MAX) {
        return Ok(Adding::Full);
    }
    let row = (
        short_domains::host.eq(new.host.as_str()),
        short_domains::created_at.eq(stored(new.at)),
        short_domains::updated_at.eq(stored(new.at)),
        short_domains::generation.eq(Generation::FIRST.get()),
        SettingsRow::from(&new.settings),
    );
    let added = diesel::insert_into(short_domains::table).values(row).returning(DomainRow::as_returning());
    let added: DomainRow = added.get_result(connection).await?;
    added.parse().map(Adding::Added).map_err(Error::DeserializationError)
}

/// A short domain as it is stored.
#[derive(Queryable, Selectable)]
#[diesel(table_name = short_domains, check_for_backend(Pg))]
struct DomainRow {
    id: i16,
    host: Option<String>,
    #[diesel(embed)]
    settings: SettingsRow,
    generation: i64,
    created_at: PgTimestamp,
    updated_at: PgTimestamp,
}

/// The settings of a short domain as they are stored.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = short_domains, check_for_backend(Pg), treat_none_as_null = true)]
struct SettingsRow {
    landing_url: Option<String>,
    not_found_url: Option<String>,
    gone_url: Option<String>,
    blocked_url: Option<String>,
    redirect: Option<i16>,
    robots: String,
    accepts_links: bool,
}

impl From<&DomainSettings> for SettingsRow {
    fn from(settings: &DomainSettings) -> Self {
        let text = |url: &Option<Target>| url.as_ref().map(|url| url.as_str().to_owned());
        Self {
            landing_url: text(&settings.landing_url),
            not_found_url: text(&settings.not_found_url),
            gone_url: text(&settings.gone_url),
            blocked_url: text(&settings.blocked_url),
            redirect: settings.redirect.map(redirect_column),
            robots: settings.robots.name().to_owned(),
            accepts_links: settings.accepts_links,
        }
    }
}

impl SettingsRow {
    fn parse(self) -> Result<DomainSettings, Anything> {
        let url = |column, text: Option<String>| in_column(column, text.map(Target::from_stored).transpose());
        let status = |status: i16| RedirectStatus::try_from(u16::try_from(status).unwrap_or_default());
        Ok(DomainSettings {
            landing_url: url("landing_url", self.landing_url)?,
            not_found_url: url("not_found_url", self.not_found_url)?,
            gone_url: url("gone_url", self.gone_url)?,
            blocked_url: url("blocked_url", self.blocked_url)?,
            redirect: in_column("redirect", self.redirect.map(status).transpose())?,
            robots: in_column("robots", self.robots.parse())?,
            accepts_links: self.accepts_links,
        })
    }
}

impl DomainRow {
    /// The short domain, or what stands for it if its row cannot be read.
    fn kept(self, left_out: &LeftOut) -> Option<ShortDomain> {
        let substitute = ShortDomain::in_place_of_unreadable(self.id, self.host.as_deref());
        left_out.unless("short_domains", self.id, self.parse()).or(substitute)
    }

    fn parse(self) -> Result<ShortDomain, Anything> {
        Ok(ShortDomain {
            id: in_column("id", self.id.try_into())?,
            host: in_column("host", self.host.map(|host| host.parse()).transpose())?,
            settings: self.settings.parse()?,
            generation: in_column("generation", Generation::try_from(self.generation))?,
            created_at: in_column("created_at", moment(self.created_at))?,
            updated_at: in_column("updated_at", moment(self.updated_at))?,
        })
    }
}
