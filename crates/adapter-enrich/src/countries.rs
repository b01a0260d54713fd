//! Countries of networks, from the operator's MMDB database.

use std::net::IpAddr;

use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};

/// Networks that are looked at to find out whether a database has countries at all.
const SAMPLE: usize = 10_000;

/// A database of countries, held in memory.
pub(crate) struct Countries(Reader<Vec<u8>>);

/// Why a file is no database of countries.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCountries {
    #[error("it is no MMDB database")]
    Broken(#[source] MaxMindDbError),
    #[error("it is a database of type `{0}`, which has no countries")]
    OtherType(String),
}

/// An ISO 3166-1 code.
pub(crate) type CountryCode = [u8; 2];

impl Countries {
    /// Reads a database. One without countries is refused.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self, NoCountries> {
        let database = Self(Reader::from_source(bytes).map_err(NoCountries::Broken)?);
        let networks = database.0.networks(WithinOptions::default()).map_err(NoCountries::Broken)?;
        for network in networks.take(SAMPLE) {
            let network = network.map_err(NoCountries::Broken)?.network().map_err(NoCountries::Broken)?;
            if database.country(network.ip()).is_some() {
                return Ok(database);
            }
        }
        Err(NoCountries::OtherType(database.0.metadata().database_type.clone()))
    }

    /// The country of `address`. Both forms of records are understood: `country.iso_code` and `country_code`.
    pub(crate) fn country(&self, address: IpAddr) -> Option<CountryCode> {
        const FORMS: [&[PathElement<'_>]; 2] =
            [&[PathElement::Key("country"), PathElement::Key("iso_code")], &[PathElement::Key("country_code")]];
        let found = self.0.lookup(address).ok()?;
        let code = FORMS.into_iter().find_map(|form| found.decode_path::<&str>(form).ok().flatten())?;
        let code: CountryCode = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphabetic).then(|| code.map(|letter| letter.to_ascii_uppercase()))
    }
}
