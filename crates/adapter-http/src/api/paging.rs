//! Query strings of lists: every parameter must be known, given once and valid. All faults are reported at once.

use actix_web::{HttpRequest, HttpResponse, http::header, http::header::HeaderValue};
use domain::api_key::KeySecret;
use serde::Serialize;

use super::cursor::{CursorPosition, CursorScope};

use crate::{
    problem::{FieldProblem, Problem},
    request::json::{Fault, field_problem},
    response::fixed,
};

/// Entries of a page if the caller gives no limit.
const USUAL_PAGE: u32 = 50;
/// Most entries of a page.
const LARGEST_PAGE: u32 = 100;

/// The parameters of a request, taken one by one.
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    problems: Vec<FieldProblem>,
}

impl Query {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let given = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned();
        // Forms also send fields that were left empty.
        let parameters = given.filter(|(_, value)| !value.is_empty()).collect();
        Self { parameters, problems: Vec::new() }
    }

    /// Takes a parameter out and reads it.
    pub(crate) fn take<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        let index = self.parameters.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.parameters.remove(index);
        if self.parameters.iter().any(|(given, _)| given == name) {
            self.parameters.retain(|(given, _)| given != name);
            self.fault(name, &Fault::new("duplicate", "is given twice"));
            return None;
        }
        read(&value).map_err(|fault| self.fault(name, &fault)).ok()
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
        self.finish()?;
        let scope = CursorScope { caller: secret.digest(), question: question() };
        let after = cursor.map(|cursor| scope.open(&cursor)).transpose()?;
        Ok(PageRequest { limit, after, scope })
    }

    /// How many entries the caller wants.
    fn limit(&mut self) -> u32 {
        let wrong = || Fault::new("out-of-range", format!("must be a whole number from 1 to {LARGEST_PAGE}"));
        let read = |text: &str| match text.parse() {
            Ok(limit) if (1..=LARGEST_PAGE).contains(&limit) => Ok(limit),
            Ok(_) | Err(_) => Err(wrong()),
        };
        self.take("limit", read).unwrap_or(USUAL_PAGE)
    }

    /// Reports the parameters that were not taken as unknown. Fails with everything that is wrong.
    fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.parameters) {
            self.fault(&name, &Fault::new("unknown-parameter", "is not a parameter of this list"));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::invalid(self.problems)) }
    }

    fn fault(&mut self, name: &str, fault: &Fault) {
        let name: String = name.chars().take(100).collect();
        self.problems.push(field_problem(format!("query/{name}"), fault.code, &fault.detail));
    }
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
