//! Pages of lists, as the query of a request asks for them.

use actix_web::{HttpRequest, HttpResponse, http::header, http::header::HeaderValue};
use domain::api_key::KeySecret;
use serde::Serialize;

use super::cursor::{CursorPosition, CursorScope};

use crate::{
    problem::Problem,
    request::{json::Fault, query::Query},
    response::fixed,
};

/// Entries of a page if the caller gives no limit.
const USUAL_PAGE: u32 = 50;
/// Most entries of a page.
const LARGEST_PAGE: u32 = 100;

impl Query {
    /// Whether a request about one link asks for its clicks. Other parameters mean nothing there, and are accepted.
    pub(crate) fn includes_clicks(request: &HttpRequest) -> Result<bool, Problem> {
        let mut query = Self::of(request).only("include");
        let included = query.take("include", included);
        query.finish("link")?;
        Ok(included.unwrap_or_default())
    }

    /// The page that the caller asks for. `question` names the list and its filters. Fails with everything that is
    /// wrong with the query.
    pub(crate) fn page<P: CursorPosition>(
        mut self,
        secret: &KeySecret,
        question: impl FnOnce() -> String,
    ) -> Result<PageRequest<P>, Problem> {
        let limit = self.limit();
        let cursor = self.take("cursor", |text| Ok(text.to_owned()));
        self.finish("list")?;
        let scope = CursorScope { caller: secret.digest(), question: question() };
        let after = cursor.map(|cursor| scope.open(&cursor)).transpose()?;
        Ok(PageRequest { limit, after, scope })
    }

    /// How many entries the caller wants.
    pub(crate) fn limit(&mut self) -> u32 {
        let wrong = || Fault::new("out-of-range", format!("must be a whole number from 1 to {LARGEST_PAGE}"));
        let read = |text: &str| match text.parse() {
            Ok(limit) if (1..=LARGEST_PAGE).contains(&limit) => Ok(limit),
            Ok(_) | Err(_) => Err(wrong()),
        };
        self.take("limit", read).unwrap_or(USUAL_PAGE)
    }
}

/// What else the links of an answer have: `clicks`, and nothing else.
pub(crate) fn included(text: &str) -> Result<bool, Fault> {
    if text == "clicks" { Ok(true) } else { Err(Fault::new("unknown-value", "must be clicks")) }
}

/// The page of a list that a caller asks for.
pub(crate) struct PageRequest<P> {
    pub(crate) limit: u32,
    /// Where the previous page ended.
    pub(crate) after: Option<P>,
    scope: CursorScope,
}

impl<P: CursorPosition> PageRequest<P> {
    /// The answer with the page, and with a `Link` to the next one if there is one.
    pub(crate) fn answer<B: Serialize>(
        &self,
        request: &HttpRequest,
        next: Option<&P>,
        body: impl FnOnce(Option<String>) -> B,
    ) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        let next_cursor = next.map(|position| self.scope.seal(position));
        if let Some(cursor) = &next_cursor {
            response.insert_header(next_page(request, cursor));
        }
        let json = serde_json::to_vec(&body(next_cursor)).expect("lists are JSON");
        fixed::list(request.headers(), &mut response, json)
    }
}

/// The `Link` field that leads to the next page (RFC 8288): the same request with another cursor.
fn next_page(request: &HttpRequest, cursor: &str) -> (header::HeaderName, HeaderValue) {
    let parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.filter(|(name, _)| name != "cursor")).append_pair("cursor", cursor);
    let link = format!("<{}?{}>; rel=\"next\"", request.path(), query.finish());
    (header::LINK, HeaderValue::from_str(&link).expect("paths and encoded queries are visible ASCII"))
}
