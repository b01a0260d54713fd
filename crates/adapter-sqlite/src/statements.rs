//! Statements that claims and changes share.

use diesel::{QueryResult, prelude::*};
use domain::{code::Code, history::LinkEvent, link::Link};

use crate::{
    rows::{EventRow, LinkRow},
    schema::{link_events, links},
};

pub(crate) fn by_code(connection: &mut SqliteConnection, code: &Code) -> QueryResult<Option<Link>> {
    let query = links::table.filter(links::code.eq(code.as_str())).select(LinkRow::as_select());
    query.get_result(connection).optional()?.map(LinkRow::into_link).transpose()
}

pub(crate) fn update(connection: &mut SqliteConnection, link: &Link) -> QueryResult<()> {
    let row = links::table.filter(links::code.eq(link.code.as_str()));
    diesel::update(row).set(LinkRow::from(link)).execute(connection)?;
    Ok(())
}

pub(crate) fn add_event(connection: &mut SqliteConnection, link: &Link, event: &LinkEvent) -> QueryResult<()> {
    let row = (
        link_events::link_id.eq(link.id.as_bytes().to_vec()),
        link_events::code.eq(link.code.as_str()),
        EventRow::from(event),
    );
    diesel::insert_into(link_events::table).values(row).execute(connection)?;
    Ok(())
}
