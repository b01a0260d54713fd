//! Previews: where a link leads, without going there.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    route, web,
};
use domain::{
    address::Address,
    code::Code,
    lifecycle::{Gone, Resolution},
    service::Previewed,
    time::Timestamp,
};
use serde::Serialize;
use unicode_security::MixedScript;
use url::Url;
use utoipa::ToSchema;

use super::charge::charge_when_known;
use crate::{
    html::{escaped, html},
    problem::{Problem, ProblemKind},
    request::{
        accept::{Format, preferred_format},
        context::{Context, Effect, InContext},
        domains::Bases,
    },
};

/// Shows where a link leads: a page, or JSON if `Accept` prefers it.
#[utoipa::path(method(get, head), path = "/{code}+", tag = "redirects", operation_id = "preview_link",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64)),
    responses(
        (status = 200, description = "Where it leads", content((Preview = "application/json"), (String = "text/html"))),
        (status = 410, description = "Deleted or expired", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 451, description = "Taken down", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[route("/{code}+", method = "GET", method = "HEAD")]
pub(crate) async fn show(
    InContext(context): InContext,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let code = Code::from_pasted(code.trim_end_matches('+')).map_err(|_| Problem::new(ProblemKind::NotFound))?;
    let address = context.visit(request.head())?.address(code);
    preview(&context, request.headers(), &address).await
}

/// The preview of the link at an address.
pub(crate) async fn preview(
    context: &Context,
    headers: &HeaderMap,
    address: &Address,
) -> Result<HttpResponse, Problem> {
    let format = preferred_format(headers)?;
    let resolution = followable(context, address).await?;
    let bases = Bases::known(&context.state);
    let preview = Preview::of(&address.code, &resolution, bases.url(address.domain, &address.code));
    Ok(match format {
        Format::Json => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "accept"))
            .insert_header(("x-robots-tag", "noindex"))
            .json(preview),
        Format::Html => html("Preview", &preview.to_html()),
    })
}

/// Where a link would lead now. Fails as a redirect would.
pub(super) async fn followable(context: &Context, address: &Address) -> Result<Arc<Resolution>, Problem> {
    context.note(|notes| notes.address = Some(address.clone()));
    let charge = charge_when_known(context, address).await?;
    let known = context.in_time(Effect::Read, context.state.services.resolver.preview(address)).await;
    match charge.settle(known, |known| *known == Previewed::Unknown)? {
        Previewed::Leads(resolution) => Ok(resolution),
        Previewed::Unknown => Err(Problem::new(ProblemKind::NotFound)),
        Previewed::Blocked => Err(Problem::new(ProblemKind::Blocked)),
        Previewed::Gone(Gone::Deleted | Gone::Expired) => Err(Problem::new(ProblemKind::Gone)),
    }
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
    /// The host it leads to, as people read it.
    host: String,
    /// The same host as it stands in the URL (punycode).
    #[serde(skip)]
    #[schema(ignore)]
    encoded_host: String,
    /// Whether a part of that name mixes scripts, as is done to make one name look like another.
    mixes_scripts: bool,
    /// The status it redirects with.
    redirect: u16,
    /// Whether the query of a request is added to the target.
    forward_query: bool,
    /// The time until which it works.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl Preview {
    fn of(code: &Code, resolution: &Resolution, short_url: String) -> Self {
        let behaviour = &resolution.behaviour;
        let host = Url::parse(behaviour.target.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned));
        let encoded_host = host.unwrap_or_default();
        let (host, mixes_scripts) = readable(&encoded_host);
        Self {
            host,
            encoded_host,
            mixes_scripts,
            code: code.to_string(),
            short_url,
            url: behaviour.target.to_string(),
            redirect: behaviour.redirect.as_u16(),
            forward_query: behaviour.forward_query,
            expires_at: behaviour.expires_at,
        }
    }

    fn to_html(&self) -> String {
        let url = escaped(&self.url);
        // The encoded name comes first: the readable one may look like another name.
        let spelled = if self.host.is_ascii() {
            String::new()
        } else {
            format!(
                "<p>It leads to the host <strong>{}</strong>. Browsers may show that as {}, with letters beyond a to z that can look like others.</p>\n",
                escaped(&self.encoded_host),
                escaped(&self.host)
            )
        };
        let warning = if self.mixes_scripts {
            "<p><strong>Careful:</strong> the name of the host mixes letters of several scripts, as is done to imitate another one.</p>\n"
        } else {
            ""
        };
        let until = self.expires_at.map_or(String::new(), |expiry| {
            let exact = expiry.to_string();
            let minute = exact[..16].replace('T', " ");
            format!("<p>It works until <time datetime=\"{exact}\">{minute} UTC</time>.</p>\n")
        });
        format!(
            "<h1>Where this link leads</h1>\n{warning}{spelled}<p><code>{short}</code> leads to</p>\n\
             <p><a rel=\"noreferrer nofollow\" href=\"{url}\">{url}</a></p>\n{until}",
            short = escaped(&self.short_url),
        )
    }
}

/// A host in readable characters, and whether a label of it mixes scripts (UTS 39 §5.1).
fn readable(host: &str) -> (String, bool) {
    let (name, _) = idna::domain_to_unicode(host);
    let mixes_scripts = name.split('.').any(|label| !label.is_single_script());
    (name, mixes_scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mix_scripts_are_recognised() {
        for (host, name, mixes) in [
            ("example.com", "example.com", false),
            ("xn--bcher-kva.example", "bücher.example", false),
            ("xn--e1afmkfd.xn--p1ai", "пример.рф", false),
            // Each label in a script of its own.
            ("xn--e1afmkfd.com", "пример.com", false),
            // Japanese is written in several scripts.
            ("xn--u9jt60grgrh3m.jp", "世界の本.jp", false),
            // A Cyrillic а among Latin letters.
            ("xn--pypal-4ve.com", "pаypal.com", true),
            ("203.0.113.7", "203.0.113.7", false),
            ("[2606:4700::1]", "[2606:4700::1]", false),
        ] {
            assert_eq!(readable(host), (name.to_owned(), mixes));
        }
    }
}
