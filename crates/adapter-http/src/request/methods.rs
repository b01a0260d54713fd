//! Which methods a path has, and the answers for unknown paths and methods.

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web,
};

use super::{context::Context, state::State};
use crate::problem::{Problem, ProblemKind};

/// The methods of every path.
#[derive(Debug)]
pub(crate) struct RouteTable(Vec<(Vec<String>, Vec<Method>)>);

impl RouteTable {
    /// Of path templates, such as `/api/v1/links/{code}`, and their methods.
    pub(crate) fn new(routes: impl Iterator<Item = (String, Vec<Method>)>) -> Self {
        let split = |path: String| path.split('/').map(str::to_owned).collect();
        Self(routes.map(|(path, methods)| (split(path), methods)).collect())
    }

    /// The path templates, by their segments.
    #[cfg(test)]
    pub(crate) fn templates(&self) -> impl Iterator<Item = &[String]> {
        self.0.iter().map(|(template, _)| template.as_slice())
    }

    /// The methods of a path, for `Allow`; `None` if there is no such path.
    pub(crate) fn allowed(&self, path: &str) -> Option<String> {
        if path == "*" {
            return Some("GET, HEAD, POST, PATCH, DELETE, OPTIONS".to_owned());
        }
        let segments: Vec<_> = path.split('/').collect();
        let mut fitting: Vec<_> = self.0.iter().filter(|(template, _)| fits(template, &segments)).collect();
        // A literal path wins over one with a parameter.
        fitting.sort_by_key(|(template, _)| template.iter().filter(|part| part.starts_with('{')).count());
        let (_, methods) = fitting.first()?;
        let methods = methods.iter().map(Method::as_str).chain(["OPTIONS"]);
        Some(methods.collect::<Vec<_>>().join(", "))
    }
}

fn fits(template: &[String], segments: &[&str]) -> bool {
    let part_fits = |(part, segment): (&String, &&str)| match part.strip_prefix('{') {
        Some(parameter) => {
            let suffix = parameter.split_once('}').map_or("", |(_, suffix)| suffix);
            segment.len() > suffix.len() && segment.ends_with(suffix) && (!suffix.is_empty() || !has_suffix(segment))
        }
        None => part == segment,
    };
    template.len() == segments.len() && template.iter().zip(segments).all(part_fits)
}

/// What follows a code in the address of its QR code.
pub(crate) const PICTURE: &str = ".qr";

/// Whether a segment is that of a preview or a QR code.
fn has_suffix(segment: &str) -> bool {
    segment.ends_with('+') || segment.ends_with(PICTURE)
}

/// Answers a request for which there is no handler: an unknown path, an unknown method, or `OPTIONS`.
pub(crate) async fn nothing_there(
    state: web::Data<State>,
    routes: web::Data<RouteTable>,
    request: HttpRequest,
) -> Result<HttpResponse<BoxBody>, Problem> {
    // Some proxies probe with this request by default, so it fails too while the process is to get no traffic.
    if request.method() == Method::OPTIONS && matches!(request.path(), "/" | "*") && !state.phase.is_ready() {
        return Err(state.phase.not_ready());
    }
    // Every preflight succeeds, because browsers hide why one failed. The request itself reports a wrong path or
    // method.
    if request.path().starts_with("/api/") && Context::of(&request).cross_origin.is_preflight(request.head()) {
        return Ok(tell_methods(&request, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
    }
    let allowed = routes.allowed(request.path()).ok_or_else(|| Problem::new(ProblemKind::NotFound))?;
    let allow = HeaderValue::from_str(&allowed).expect("methods are ASCII");
    if request.method() == Method::OPTIONS { Ok(tell_methods(&request, allow)) } else { Err(not_allowed(allow)) }
}

/// The answer to `OPTIONS`: which methods there are. Also answers a preflight.
pub(crate) fn tell_methods(request: &HttpRequest, allow: HeaderValue) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    Context::of(request).cross_origin.answer_preflight(request.head(), &allow, &mut answer);
    answer.insert_header((header::ALLOW, allow)).finish()
}

pub(crate) fn not_allowed(allow: HeaderValue) -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed).header(header::ALLOW, allow)
}
