//! The configured public URL.

use url::Url;

/// The configured public URL, under which the default short domain is reached.
#[derive(Clone, Debug)]
pub(crate) struct PublicUrl {
    pub(super) url: String,
    pub(super) host: String,
    /// `https` or `http`.
    pub(super) scheme: String,
    /// `:8080`, or nothing for the usual port.
    pub(super) port: String,
}

impl PublicUrl {
    /// Reads it. It has no slash at the end.
    pub(crate) fn of(url: &str) -> Self {
        let parsed = Url::parse(url).ok();
        let host = parsed.as_ref().and_then(Url::host_str).unwrap_or_default();
        Self {
            url: url.to_owned(),
            host: host.trim_end_matches('.').to_owned(),
            scheme: parsed.as_ref().map_or("http", Url::scheme).to_owned(),
            port: parsed.as_ref().and_then(Url::port).map_or_else(String::new, |port| format!(":{port}")),
        }
    }
}
