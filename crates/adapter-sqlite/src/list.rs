//! The list query, the only one that is built at run time.

use diesel::{
    QueryResult,
    dsl::{AsSelect, SqlTypeOf, sql},
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Text},
    sqlite::Sqlite,
};
use domain::{
    link::Link,
    ports::{LeftOut, LinkFilter, ListQuery, Page, Sort},
};

use crate::{
    rows::{LinkRow, RowPosition},
    schema::links,
    threads::Caller,
};

/// Maximum links that one statement examines if it may skip nearly all of them. That takes some milliseconds.
const STEP: i64 = 2_000;

/// Adds the conditions that an index covers, and the order of the query. This is a macro because the type of a
/// statement depends on what it selects.
macro_rules! narrowed {
    ($statement:expr, $query:expr, $after:expr, $end:expr) => {{
        let (mut statement, query, after, end): (_, &ListQuery, Option<&RowPosition>, Option<&RowPosition>) =
            ($statement, $query, $after, $end);
        if let Some(owner) = query.access.owner() {
            statement = statement.filter(links::owner_id.eq(owner.as_str()));
        }
        if let Some(moment) = query.filter.created_after {
            statement = statement.filter(links::created_at.gt(moment.unix_micros()));
        }
        if let Some(moment) = query.filter.created_before {
            statement = statement.filter(links::created_at.lt(moment.unix_micros()));
        }
        let (behind, up_to) = match query.sort {
            Sort::NewestFirst => ("<", ">="),
            Sort::OldestFirst => (">", "<="),
        };
        for (relation, position) in [(behind, after), (up_to, end)] {
            if let Some(position) = position {
                let there = sql::<Bool>(&format!("(links.created_at, links.id) {relation} ("))
                    .bind::<BigInt, _>(position.created_at)
                    .sql(", ")
                    .bind::<Binary, _>(position.id.clone())
                    .sql(")");
                statement = statement.filter(there);
            }
        }
        match query.sort {
            Sort::NewestFirst => statement.order((links::created_at.desc(), links::id.desc())),
            Sort::OldestFirst => statement.order((links::created_at.asc(), links::id.asc())),
        }
    }};
}

/// A list statement that selects whole rows.
type Rows<'a> = links::BoxedQuery<'a, Sqlite, SqlTypeOf<AsSelect<LinkRow, Sqlite>>>;
type Places<'a> = links::BoxedQuery<'a, Sqlite, (BigInt, Binary)>;

/// The links of `query`, in its order.
pub(crate) fn links(
    connection: &mut SqliteConnection,
    caller: &Caller<'_>,
    query: &ListQuery,
    left_out: &LeftOut,
) -> QueryResult<Vec<Link>> {
    let after =
        query.after.map(|at| RowPosition { created_at: at.created_at.unix_micros(), id: at.id.as_bytes().to_vec() });
    let mut page = Page::behind(after, query.limit);
    while let Some((after, count)) = page.missing() {
        let rows = rows(connection, caller, query, after, count)?;
        page.take(rows, LinkRow::position, |row| left_out.unless("links", row.name(), row.parse()));
    }
    Ok(page.into_items())
}

/// The next `count` rows after a position, or all that are left.
fn rows(
    connection: &mut SqliteConnection,
    caller: &Caller<'_>,
    query: &ListQuery,
    mut after: Option<RowPosition>,
    count: i64,
) -> QueryResult<Vec<LinkRow>> {
    let mut rows = Vec::new();
    loop {
        caller.still_waits()?;
        let wanted = count - i64::try_from(rows.len()).expect("a page has fewer than 2^32 rows");
        let end = if query.access.domains().is_some() || passes_over_links(&query.filter) {
            step(connection, query, after.as_ref())?
        } else {
            None
        };
        let statement = matching(statement(query, after.as_ref(), end.as_ref()), query).limit(wanted);
        let some: Vec<LinkRow> = statement.load(connection)?;
        let is_full = some.len() == usize::try_from(wanted).unwrap_or(usize::MAX);
        rows.extend(some);
        match end {
            Some(end) if !is_full => after = Some(end),
            Some(_) | None => return Ok(rows),
        }
    }
}

/// Whether the filter has conditions that no index covers.
fn passes_over_links(filter: &LinkFilter) -> bool {
    let LinkFilter { domain, state, text, tag, target, created_after: _, created_before: _ } = filter;
    domain.is_some() || state.is_some() || text.is_some() || tag.is_some() || target.is_some()
}

/// The end of the step that begins after a position; `None` if it is the last step. Reads only an index.
fn step(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    after: Option<&RowPosition>,
) -> QueryResult<Option<RowPosition>> {
    let positions: Places<'_> = links::table.select((links::created_at, links::id)).into_boxed();
    let end = narrowed!(positions, query, after, None).offset(STEP - 1).limit(1);
    let end: Option<(i64, Vec<u8>)> = end.first(connection).optional()?;
    Ok(end.map(|(created_at, id)| RowPosition { created_at, id }))
}

/// The rows after one position and up to another, before the conditions that no index covers.
fn statement<'a>(query: &'a ListQuery, after: Option<&RowPosition>, end: Option<&RowPosition>) -> Rows<'a> {
    let rows: Rows<'a> = links::table.select(LinkRow::as_select()).into_boxed();
    narrowed!(rows, query, after, end)
}

/// Adds the conditions that no index covers.
fn matching<'a>(mut statement: Rows<'a>, query: &'a ListQuery) -> Rows<'a> {
    if let Some(domains) = query.access.domains() {
        let numbers: Vec<_> = domains.iter().map(|domain| i16::from(*domain)).collect();
        statement = statement.filter(links::domain_id.eq_any(numbers));
    }
    let LinkFilter { domain, state, text, tag, target, created_after: _, created_before: _ } = &query.filter;
    if let Some(domain) = domain {
        statement = statement.filter(links::domain_id.eq(i16::from(*domain)));
    }
    if let Some(state) = state {
        statement = statement.filter(links::state.eq(state.name()));
    }
    if let Some(text) = text {
        // lower() changes ASCII letters only, as the domain requires.
        let wanted = text.to_ascii_lowercase();
        let fields = "EXISTS (SELECT 1 FROM (SELECT code AS field UNION ALL SELECT target UNION ALL SELECT title) \
                      WHERE instr(lower(field), ";
        let mentions = sql::<Bool>(fields).bind::<Text, _>(wanted).sql(") > 0)");
        statement = statement.filter(mentions);
    }
    if let Some(tag) = tag {
        let tagged =
            sql::<Bool>("EXISTS (SELECT 1 FROM json_each(links.tags) WHERE value = ").bind::<Text, _>(tag).sql(")");
        statement = statement.filter(tagged);
    }
    if let Some(target) = target {
        statement = statement.filter(links::target.eq(target.as_str()));
    }
    statement
}

#[cfg(test)]
mod tests {
    use domain::{
        address::DomainId,
        ports::StateFilter,
        target::{Target, TargetPolicy},
        time::Timestamp,
    };

    use super::*;

    #[test]
    fn only_conditions_that_no_index_covers_skip_links() {
        let none = LinkFilter::default();
        let moment = Timestamp::from_unix_micros(7);
        let indexed = LinkFilter { created_after: moment, created_before: moment, ..none.clone() };
        assert!(!passes_over_links(&none) && !passes_over_links(&indexed));
        let target = Target::parse("https://example.com/", &TargetPolicy::default()).expect("valid");
        for filter in [
            LinkFilter { domain: Some(DomainId::DEFAULT), ..none.clone() },
            LinkFilter { state: Some(StateFilter::Deleted), ..none.clone() },
            LinkFilter { text: Some("a".to_owned()), ..none.clone() },
            LinkFilter { tag: Some("a".to_owned()), ..none.clone() },
            LinkFilter { target: Some(target), ..none },
        ] {
            assert!(passes_over_links(&filter), "{filter:?}");
        }
    }
}
