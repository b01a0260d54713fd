//! Short domains.

use async_trait::async_trait;
use diesel::{
    QueryResult,
    dsl::{exists, select},
    prelude::*,
    sqlite::Sqlite,
};
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
    SqliteStore,
    error::corrupt,
    idempotency,
    rows::{Anything, moment},
    schema::{blocks, links, short_domains},
};

#[async_trait]
impl ShortDomainRepository for SqliteStore {
    async fn add(&self, new: &NewShortDomain, once: Option<&IdempotentRequest>) -> Result<Adding, RepositoryError> {
        let (new, once) = (new.clone(), once.cloned());
        self.threads
            .write("adding a short domain", move |connection| {
                if let Some(request) = &once
                    && let Some(before) = idempotency::known_answer(connection, request)?
                {
                    return Ok(Box::new(Adding::Repeated(before)));
                }
                let taken = short_domains::table.filter(short_domains::host.eq(new.host.as_str()));
                if select(exists(taken)).get_result(connection)? {
                    return Ok(Box::new(Adding::Taken));
                }
                let count: i64 = short_domains::table.count().get_result(connection)?;
                if usize::try_from(count).is_ok_and(|count| count >= ShortDomains::MAX) {
                    return Ok(Box::new(Adding::Full));
                }
                let row = (
                    short_domains::host.eq(new.host.as_str()),
                    short_domains::created_at.eq(new.at.unix_micros()),
                    short_domains::updated_at.eq(new.at.unix_micros()),
                    short_domains::generation.eq(Generation::FIRST.get()),
                    SettingsRow::from(&new.settings),
                );
                let added = diesel::insert_into(short_domains::table).values(row).returning(DomainRow::as_returning());
                let domain = added.get_result(connection)?.parse().map_err(corrupt)?;
                if let Some(request) = &once {
                    idempotency::keep(connection, request, &IdempotencyRecord::Domain(domain.clone()))?;
                }
                Ok(Box::new(Adding::Added(domain)))
            })
            .await
            .map(|outcome| *outcome)
    }

    async fn all(&self) -> Result<Vec<ShortDomain>, RepositoryError> {
        let left_out = self.left_out.clone();
        self.threads
            .look_up("reading short domains", move |connection| {
                let rows = short_domains::table.order(short_domains::id).select(DomainRow::as_select());
                let rows: Vec<DomainRow> = rows.load(connection)?;
                Ok(rows.into_iter().filter_map(|row| row.kept(&left_out)).collect())
            })
            .await
    }

    async fn update(&self, after: &ShortDomain, from: Generation) -> Result<bool, RepositoryError> {
        let after = after.clone();
        self.threads
            .write("changing a short domain", move |connection| {
                let before = short_domains::table.find(i16::from(after.id));
                let change = (
                    short_domains::generation.eq(after.generation.get()),
                    short_domains::updated_at.eq(after.updated_at.unix_micros()),
                    SettingsRow::from(&after.settings),
                );
                let before = before.filter(short_domains::generation.eq(from.get()));
                Ok(diesel::update(before).set(change).execute(connection)? == 1)
            })
            .await
    }

    async fn remove(&self, id: DomainId) -> Result<Removal, RepositoryError> {
        self.threads.write("removing a short domain", move |connection| Ok(remove(connection, id)?)).await
    }
}

fn remove(connection: &mut SqliteConnection, id: DomainId) -> QueryResult<Removal> {
    if id.is_default() {
        return Ok(Removal::Missing);
    }
    let number = i16::from(id);
    // Spelled as in the condition of the partial index.
    let links = links::table.filter(links::domain_id.eq(number)).filter(links::domain_id.ne(0));
    if select(exists(links)).get_result(connection)? {
        return Ok(Removal::HasLinks);
    }
    let on_it = blocks::kind.eq("code").and(blocks::value.like(format!("{id}/%")));
    if select(exists(blocks::table.filter(blocks::lifted_at.is_null()).filter(on_it))).get_result(connection)? {
        return Ok(Removal::HasBlocks);
    }
    let count = diesel::delete(short_domains::table.find(number)).execute(connection)?;
    Ok(if count == 1 { Removal::Done } else { Removal::Missing })
}

/// A short domain as it is stored.
#[derive(Queryable, Selectable)]
#[diesel(table_name = short_domains, check_for_backend(Sqlite))]
struct DomainRow {
    id: i16,
    host: Option<String>,
    #[diesel(embed)]
    settings: SettingsRow,
    generation: i64,
    created_at: i64,
    updated_at: i64,
}

/// The settings of a short domain as they are stored.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = short_domains, check_for_backend(Sqlite), treat_none_as_null = true)]
struct SettingsRow {
    landing_url: Option<String>,
    not_found_url: Option<String>,
    gone_url: Option<String>,
    blocked_url: Option<String>,
    redirect: Option<i32>,
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
            redirect: settings.redirect.map(|status| status.as_u16().into()),
            robots: settings.robots.name().to_owned(),
            accepts_links: settings.accepts_links,
        }
    }
}

impl SettingsRow {
    fn parse(self) -> Result<DomainSettings, Anything> {
        let url = |column, text: Option<String>| in_column(column, text.map(Target::from_stored).transpose());
        let status = |status: i32| RedirectStatus::try_from(u16::try_from(status).unwrap_or_default());
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
