//! `Accept` and `Accept-Encoding`: whether a client wants an HTML page or JSON, and which content codings it takes
//! (RFC 9110 §12.5.1, §12.5.3).

use actix_web::http::header::{self, HeaderMap, HeaderName};

use crate::problem::{Problem, ProblemKind};

/// The formats of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
}

/// The format a client prefers for something made for people: the page if it prefers neither. Fails with
/// [`ProblemKind::NotAcceptable`] if it accepts neither.
pub(crate) fn preferred_format(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(ranges) = ranges(headers) else {
        return Ok(Format::Html);
    };
    let (html, json) = (quality(&ranges, "text", "html"), quality(&ranges, "application", "json"));
    // At equal quality, the format that is named explicitly wins.
    let names_json = named(&ranges, "application/json") && !named(&ranges, "text/html");
    if html <= 0.0 && json <= 0.0 {
        Err(Problem::new(ProblemKind::NotAcceptable))
    } else if json > html || (json >= html && names_json) {
        Ok(Format::Json)
    } else {
        Ok(Format::Html)
    }
}

/// Whether a client prefers an HTML page to a problem as JSON. Browsers do, programs do not.
pub(crate) fn prefers_page(headers: &HeaderMap) -> bool {
    ranges(headers).is_some_and(|ranges| {
        let problem = ["problem+json", "json"].map(|subtype| quality(&ranges, "application", subtype));
        quality(&ranges, "text", "html") > problem[0].max(problem[1])
    })
}

/// Whether a client prefers a table (RFC 4180) to JSON.
pub(crate) fn prefers_csv(headers: &HeaderMap) -> bool {
    let is_named = |ranges: &String| named(ranges, "text/csv");
    ranges(headers)
        .filter(is_named)
        .is_some_and(|ranges| quality(&ranges, "text", "csv") > quality(&ranges, "application", "json"))
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// Its name in header fields.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// Whether a coding may be sent (RFC 9110 §12.5.3). Without the field, none is sent.
pub(crate) fn takes(headers: &HeaderMap, wanted_coding: Coding) -> bool {
    let mut star = false;
    let Some(codings) = lines(headers, &header::ACCEPT_ENCODING) else {
        return false;
    };
    for coding in codings.split(',') {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let wanted = weight(parts) > 0.0;
        let older_name = wanted_coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip");
        if name.eq_ignore_ascii_case(wanted_coding.name()) || older_name {
            return wanted;
        }
        star |= name == "*" && wanted;
    }
    star
}

fn ranges(headers: &HeaderMap) -> Option<String> {
    lines(headers, &header::ACCEPT)
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).filter_map(|value| value.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn named(ranges: &str, essence: &str) -> bool {
    ranges.split(',').any(|range| range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(essence)))
}

/// The quality that `ranges` give a media type: that of the most specific range that covers it, or 0.
fn quality(ranges: &str, kind: &str, subtype: &str) -> f32 {
    let mut best = (0, 0.0);
    for range in ranges.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match essence.split_once('/') {
            Some((k, s)) if k == kind && s == subtype => 3,
            Some((k, "*")) if k == kind => 2,
            Some(("*", "*")) => 1,
            Some(_) | None => continue,
        };
        if specificity > best.0 {
            best = (specificity, weight(parts));
        }
    }
    best.1
}

/// The quality among the parameters of a range.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> f32 {
    parameters.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accepting(ranges: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ranges));
        headers
    }

    #[test]
    fn the_page_is_shown_unless_json_is_preferred() {
        let format = |ranges| preferred_format(&accepting(ranges)).ok();
        assert_eq!(format("*/*"), Some(Format::Html));
        assert_eq!(format("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), Some(Format::Html));
        assert_eq!(format("application/json"), Some(Format::Json));
        assert_eq!(format("text/html;q=0.5, application/json"), Some(Format::Json));
        assert_eq!(format("application/*, text/html;q=0"), Some(Format::Json));
        assert_eq!(format("image/png"), None);
        assert_eq!(format("*/*;q=0"), None);
    }

    #[test]
    fn a_table_is_sent_only_if_it_is_preferred_to_json() {
        for table in ["text/csv", "text/csv, application/json;q=0.9", "text/csv, */*;q=0.1"] {
            assert!(prefers_csv(&accepting(table)), "{table}");
        }
        for json in ["*/*", "application/json", "text/csv;q=0.5, application/json", "text/*", "text/csv;q=0"] {
            assert!(!prefers_csv(&accepting(json)), "{json}");
        }
        assert!(!prefers_csv(&HeaderMap::new()));
    }

    #[test]
    fn a_problem_becomes_a_page_only_if_the_client_prefers_html() {
        for browser in ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html", "text/*"] {
            assert!(prefers_page(&accepting(browser)), "{browser}");
        }
        for program in ["*/*", "application/json", "application/problem+json, text/html", "text/html, */*", "image/png"]
        {
            assert!(!prefers_page(&accepting(program)), "{program}");
        }
        assert!(!prefers_page(&HeaderMap::new()));
    }

    #[test]
    fn gzip_is_sent_only_if_the_client_accepts_it() {
        let takes_gzip = |codings| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(codings));
            takes(&headers, Coding::Gzip)
        };
        for good in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.8", "*", "x-gzip", "identity;q=0, *;q=0.1"]
        {
            assert!(takes_gzip(good), "{good}");
        }
        for bad in ["", "identity", "br", "gzip;q=0", "*, gzip;q=0", "*;q=0", "gzip;q=none"] {
            assert!(!takes_gzip(bad), "{bad}");
        }
        assert!(!takes(&HeaderMap::new(), Coding::Gzip));
    }
}
