//! Clicks, and describers of them.

use std::path::Path;

use adapter_enrich::{Describer, DescriberOptions};
use domain::{
    click::{Click, ClientNetwork, Traits},
    ports::ClickDescriber,
};
use uuid::Uuid;

pub(crate) const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// A click of a browser, of which nothing else is known.
pub(crate) fn a_click() -> Click<'static> {
    Click {
        at: "2026-11-29T10:00:00Z".parse().expect("a moment"),
        link: Uuid::nil(),
        visitor: None,
        network: None,
        referrer: "",
        user_agent: FIREFOX,
        language: "",
        is_prefetch: false,
        opted_out: false,
    }
}

/// A describer that looks into no file.
pub(crate) fn describer() -> Describer {
    Describer::new(DescriberOptions::default()).expect("it needs no file")
}

/// Options with an own list of bots.
pub(crate) fn with_bots(file: &Path) -> DescriberOptions {
    DescriberOptions { bots_file: Some(file.to_owned()), ..DescriberOptions::default() }
}

/// Options with a database of countries.
pub(crate) fn with_countries(file: &Path) -> DescriberOptions {
    DescriberOptions { geo_database: Some(file.to_owned()), ..DescriberOptions::default() }
}

/// What a click with this user agent tells.
pub(crate) fn describe_agent(describer: &mut Describer, user_agent: &str) -> Traits {
    describer.describe(&Click { user_agent, ..a_click() })
}

/// The country of an address.
pub(crate) fn country(describer: &mut Describer, address: &str) -> String {
    let network = Some(ClientNetwork::of(address.parse().expect("an address")));
    describer.describe(&Click { network, ..a_click() }).country.to_string()
}
