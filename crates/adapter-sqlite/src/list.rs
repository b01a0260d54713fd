//! Lists: the one query that is put together at run time.

use diesel::{
    dsl::{AsSelect, SqlTypeOf, sql},
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Text},
    sqlite::Sqlite,
};
use domain::{
    lifecycle::Access,
    ports::{LinkFilter, ListQuery, Sort},
};

use crate::{rows::LinkRow, schema::links};

/// The links of `query`, in its order.
pub(crate) fn statement(query: &ListQuery) -> links::BoxedQuery<'_, Sqlite, SqlTypeOf<AsSelect<LinkRow, Sqlite>>> {
    let mut statement = links::table.select(LinkRow::as_select()).into_boxed();
    if let Access::Owner(owner) = &query.access {
        statement = statement.filter(links::owner_id.eq(owner.as_str()));
    }
    let LinkFilter { state, text, tag, target, created_after, created_before } = &query.filter;
    if let Some(state) = state {
        statement = statement.filter(links::state.eq(state.name()));
    }
    if let Some(text) = text {
        // lower() touches ASCII letters only, as the domain wants it.
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
    if let Some(moment) = created_after {
        statement = statement.filter(links::created_at.gt(moment.unix_micros()));
    }
    if let Some(moment) = created_before {
        statement = statement.filter(links::created_at.lt(moment.unix_micros()));
    }
    if let Some(after) = query.after {
        let row = match query.sort {
            Sort::NewestFirst => "(links.created_at, links.id) < (",
            Sort::OldestFirst => "(links.created_at, links.id) > (",
        };
        let behind = sql::<Bool>(row)
            .bind::<BigInt, _>(after.created_at.unix_micros())
            .sql(", ")
            .bind::<Binary, _>(after.id.as_bytes().to_vec())
            .sql(")");
        statement = statement.filter(behind);
    }
    let statement = match query.sort {
        Sort::NewestFirst => statement.order((links::created_at.desc(), links::id.desc())),
        Sort::OldestFirst => statement.order((links::created_at.asc(), links::id.asc())),
    };
    statement.limit(i64::from(query.limit))
}
