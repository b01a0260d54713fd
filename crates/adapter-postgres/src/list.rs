//! The list query, the only one that is built at run time.

use diesel::{
    dsl::{AsSelect, SqlTypeOf, sql},
    pg::Pg,
    prelude::*,
    sql_types::{Bool, Text, Timestamptz, Uuid as SqlUuid},
};
use domain::{
    address::DomainId,
    ports::{LinkFilter, ListQuery, Sort},
};
use uuid::Uuid;

use crate::{
    rows::{LinkRow, RowPosition},
    schema::links,
};

fn numbers(domains: &[DomainId]) -> Vec<i16> {
    domains.iter().map(|domain| i16::from(*domain)).collect()
}

/// The next `count` links of `query` after a position, in its order.
pub(crate) fn statement(
    query: &ListQuery,
    after: Option<RowPosition<Uuid>>,
    count: i64,
) -> links::BoxedQuery<'_, Pg, SqlTypeOf<AsSelect<LinkRow, Pg>>> {
    let mut statement = links::table.select(LinkRow::as_select()).into_boxed();
    if let Some(owner) = query.access.owner() {
        statement = statement.filter(links::owner_id.eq(owner.as_str()));
    }
    if let Some(domains) = query.access.domains() {
        statement = statement.filter(links::domain_id.eq_any(numbers(domains)));
    }
    let LinkFilter { domain, state, text, tag, target, created_after, created_before } = &query.filter;
    if let Some(domain) = domain {
        statement = statement.filter(links::domain_id.eq(i16::from(*domain)));
    }
    if let Some(state) = state {
        statement = statement.filter(links::state.eq(state.name()));
    }
    if let Some(text) = text {
        // With collation "C", lower() changes ASCII letters only, as the domain requires.
        let wanted = text.to_ascii_lowercase();
        let mentions = sql::<Bool>("EXISTS (SELECT FROM unnest(ARRAY[code, target, title]) AS field WHERE position(")
            .bind::<Text, _>(wanted)
            .sql(r#" IN lower(field COLLATE "C")) > 0)"#);
        statement = statement.filter(mentions);
    }
    if let Some(tag) = tag {
        statement = statement.filter(links::tags.contains(vec![tag]));
    }
    if let Some(target) = target {
        statement = statement.filter(links::target.eq(target.as_str()));
    }
    if let Some(moment) = created_after {
        statement = statement.filter(links::created_at.gt(moment.to_datetime()));
    }
    if let Some(moment) = created_before {
        statement = statement.filter(links::created_at.lt(moment.to_datetime()));
    }
    if let Some(after) = after {
        let row = match query.sort {
            Sort::NewestFirst => "(links.created_at, links.id) < (",
            Sort::OldestFirst => "(links.created_at, links.id) > (",
        };
        let behind =
            sql::<Bool>(row).bind::<Timestamptz, _>(after.created_at).sql(", ").bind::<SqlUuid, _>(after.id).sql(")");
        statement = statement.filter(behind);
    }
    let statement = match query.sort {
        Sort::NewestFirst => statement.order((links::created_at.desc(), links::id.desc())),
        Sort::OldestFirst => statement.order((links::created_at.asc(), links::id.asc())),
    };
    statement.limit(count)
}
