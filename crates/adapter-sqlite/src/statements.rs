//! Statements that claims and changes share.

use diesel::{QueryResult, prelude::*};
use domain::{address::Address, history::LinkEvent, link::Link};

use crate::{
    rows::{EventRow, LinkRow},
    schema::{link_events, links},
};

/// Selects the link at the address of an `Address` or a `Link`. It is a macro because the type of a statement depends on what it selects.
macro_rules! at {
    ($link:expr) => {
        links::table.filter(links::code.eq($link.code.as_str())).filter(links::domain_id.eq(i16::from($link.domain)))
    };
}

pub(crate) use at;

pub(crate) fn by_address(connection: &mut SqliteConnection, address: &Address) -> QueryResult<Option<Link>> {
    at!(address).select(LinkRow::as_select()).get_result(connection).optional()?.map(LinkRow::into_link).transpose()
}

pub(crate) fn update(connection: &mut SqliteConnection, link: &Link) -> QueryResult<()> {
    diesel::update(at!(link)).set(LinkRow::from(link)).execute(connection)?;
    Ok(())
}

pub(crate) fn add_event(connection: &mut SqliteConnection, link: &Link, event: &LinkEvent) -> QueryResult<()> {
    let row = (
        link_events::link_id.eq(link.id.as_bytes().to_vec()),
        link_events::domain_id.eq(i16::from(link.domain)),
        link_events::code.eq(link.code.as_str()),
        EventRow::from(event),
    );
    diesel::insert_into(link_events::table).values(row).execute(connection)?;
    Ok(())
}
