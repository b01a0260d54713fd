//! Previews: where a link leads, without going there.

use actix_web::{HttpRequest, HttpResponse, http::header, route, web};
use domain::{
    code::Code,
    lifecycle::{Gone, Resolution},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    context::{Effect, InContext},
    pages::{escaped, html},
    problem::{Problem, ProblemKind},
    redirect::Trying,
    state::State,
};

/// Shows where a link leads: a page, or JSON where `Accept` prefers it. Never counted as a click.
#[utoipa::path(method(get, head), path = "/{code}+", tag = "redirects", operation_id = "preview",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]{3,64}$")),
    responses(
        (status = 200, description = "Where it leads", content((Preview = "application/json"), (String = "text/html"))),
        (status = 410, description = "Deleted or expired", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[route("/{code}+", method = "GET", method = "HEAD")]
pub(crate) async fn preview(
    state: web::Data<State>,
    InContext(context): InContext,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let format = preferred_format(&request)?;
    let code: Code = code.parse().map_err(|_| Problem::new(ProblemKind::NotFound))?;
    context.note(|notes| notes.code = Some(code.clone()));
    let trying = Trying::begin(&state, &context)?;
    let known = context.in_time(Effect::Read, state.services.resolver.preview(&code)).await?;
    trying.found(known.is_some());
    let (resolution, now) = known.ok_or_else(|| Problem::new(ProblemKind::NotFound))?;
    match resolution.follow(now) {
        Err(Gone::Deleted | Gone::Expired) => return Err(Problem::new(ProblemKind::Gone)),
        Ok(_) => {}
    }
    let preview = Preview::of(&code, &resolution, &state.settings.public_url);
    Ok(match format {
        Format::Json => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "accept"))
            .insert_header(("x-robots-tag", "noindex"))
            .json(preview),
        Format::Html => html("Preview", &preview.to_html()),
    })
}

/// Where a link leads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Preview {
    /// The code of the link.
    code: String,
    /// The short address.
    short_url: String,
    /// Where it leads.
    url: String,
    /// The status it redirects with.
    redirect: u16,
    /// Whether the query of a request is added to the target.
    forward_query: bool,
    /// Until when it works.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl Preview {
    fn of(code: &Code, resolution: &Resolution, public_url: &str) -> Self {
        let behaviour = &resolution.behaviour;
        Self {
            code: code.to_string(),
            short_url: format!("{public_url}/{code}"),
            url: behaviour.target.to_string(),
            redirect: behaviour.redirect.as_u16(),
            forward_query: behaviour.forward_query,
            expires_at: behaviour.expires_at,
        }
    }

    fn to_html(&self) -> String {
        let url = escaped(&self.url);
        let until = self.expires_at.map_or(String::new(), |expiry| format!("<p>It works until {expiry}.</p>\n"));
        format!(
            "<h1>Where this link leads</h1>\n<p><code>{short}</code> leads to</p>\n\
             <p><a rel=\"noreferrer nofollow\" href=\"{url}\">{url}</a></p>\n{until}",
            short = escaped(&self.short_url),
        )
    }
}

/// What a preview can be shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Json,
}

/// What `Accept` prefers (RFC 9110 §12.5.1): the page where it does not care.
fn preferred_format(request: &HttpRequest) -> Result<Format, Problem> {
    let lines: Vec<_> = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()).collect();
    if lines.is_empty() {
        return Ok(Format::Html);
    }
    let ranges = lines.join(",");
    let (html, json) = (quality(&ranges, "text", "html"), quality(&ranges, "application", "json"));
    if html <= 0.0 && json <= 0.0 {
        Err(Problem::new(ProblemKind::NotAcceptable))
    } else if json > html {
        Ok(Format::Json)
    } else {
        Ok(Format::Html)
    }
}

/// How much `ranges` want a media type: the quality of the most specific range that covers it.
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
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if specificity > best.0 {
            best = (specificity, weight);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_page_is_shown_unless_json_is_preferred() {
        let format = |accept: &str| {
            preferred_format(&TestRequest::get().insert_header((header::ACCEPT, accept)).to_http_request()).ok()
        };
        assert_eq!(format("*/*"), Some(Format::Html));
        assert_eq!(format("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), Some(Format::Html));
        assert_eq!(format("application/json"), Some(Format::Json));
        assert_eq!(format("text/html;q=0.5, application/json"), Some(Format::Json));
        assert_eq!(format("application/*, text/html;q=0"), Some(Format::Json));
        assert_eq!(format("image/png"), None);
        assert_eq!(format("*/*;q=0"), None);
    }
}
