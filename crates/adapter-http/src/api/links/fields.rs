//! The fields of links in bodies. Each is read in one place.

use domain::{
    api_key::Caller,
    behaviour::{Behaviour, RedirectStatus},
    block::InForce,
    code::{Code, InvalidCode},
    lifecycle::{BehaviourEdit, Edit},
    link::{Tags, Title},
    service::ClaimRequest,
    short_domain::ShortDomain,
    target::{InvalidTarget, Target, TargetPolicy},
    time::{Lifetime, Timestamp},
};
use utoipa::ToSchema;

use crate::{
    api::common_fields::{expiry, text_fault},
    problem::FieldProblem,
    request::domains::Bases,
    request::json::{Fault, Fields, Json, boolean, string, strings, whole_number},
};

/// What a claim asks for.
#[derive(ToSchema)]
#[schema(as = Claim)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct ClaimBody {
    /// Where the link should lead: `http` or `https`, no user name, no private address. Outer white space is ignored.
    #[schema(format = Uri, max_length = 8192, example = "https://example.com/a?b=1")]
    url: String,
    /// The host of the short domain; the default one if not given.
    #[schema(max_length = 253)]
    domain: Option<String>,
    /// A code of your choice; reserved words are refused.
    #[schema(pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64)]
    alias: Option<String>,
    /// The status to redirect with: 301, 302, 307 or 308; that of the short domain if not given, usually 302.
    redirect: Option<RedirectSchema>,
    /// Whether the query of a request is added to the target's.
    forward_query: Option<bool>,
    /// The time until which the link works, in the future. Not together with `expires_in`.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// For how long the link works: a whole number and `s`, `m`, `h`, `d` or `w`.
    #[schema(pattern = "^[1-9][0-9]{0,4}[smhdw]$", example = "7d")]
    expires_in: Option<String>,
    /// Its title, for people. Titles of existing links are not touched.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
    )]
    title: Option<String>,
    /// Its tags, by which people sort it. Tags of existing links are not touched.
    #[schema(max_items = 20)]
    tags: Option<Vec<TagSchema>>,
    /// Whether to make a separate link, out of deduplication.
    force_new: Option<bool>,
}

/// The fields that an edit sets; `null` clears a field.
#[derive(ToSchema)]
#[schema(as = Edit)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct EditBody {
    /// Where the link should lead.
    #[schema(format = Uri, max_length = 8192, nullable = false)]
    url: Option<String>,
    /// The status to redirect with.
    redirect: Option<RedirectSchema>,
    /// Whether the query of a request is added to the target's.
    forward_query: Option<bool>,
    /// The time until which the link works, in the future.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Its title, for people.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
    )]
    title: Option<String>,
    /// Its tags, by which people sort it.
    #[schema(max_items = 20)]
    tags: Option<Vec<TagSchema>>,
}

/// The status of a redirect.
#[derive(ToSchema)]
#[schema(as = RedirectStatus, value_type = u16, minimum = 301, maximum = 308)]
pub(crate) struct RedirectSchema(#[expect(dead_code, reason = "describes a value")] u16);

/// A tag.
#[derive(ToSchema)]
#[schema(as = Tag, value_type = String, min_length = 1, max_length = 50, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$")]
pub(crate) struct TagSchema(#[expect(dead_code, reason = "describes a value")] String);

/// The rules by which the fields of a link are judged.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) targets: &'a TargetPolicy,
    /// The blocks in force; `None` if there are none.
    pub(crate) blocked: Option<&'a InForce>,
    /// The short domains.
    pub(crate) bases: &'a Bases<'a>,
    /// Who asks.
    pub(crate) caller: &'a Caller,
    pub(crate) now: Timestamp,
}

/// Reads one claim; `at` is the JSON Pointer to it.
pub(crate) fn claim(json: Json, at: &str, rules: Rules<'_>) -> Result<ClaimRequest, Vec<FieldProblem>> {
    let mut fields = Fields::of(json, at);
    let target = fields.required("url", |json| target(json, rules));
    let domain = fields.optional("domain", |json| domain(json, rules));
    let domain = domain.unwrap_or_else(|| rules.bases.default_domain());
    if !domain.settings.accepts_links {
        fields.fault("domain", "retired-domain", "takes no new links");
    }
    if !rules.caller.may_claim_on(domain.id) {
        fields.fault("domain", "forbidden-domain", "is not one of the short domains to which the key is bound");
    }
    let alias = fields.optional("alias", alias);
    let redirect = fields.optional("redirect", redirect).or(domain.settings.redirect).unwrap_or_default();
    let forward_query = fields.optional("forward_query", boolean).unwrap_or_default();
    let expires_at = fields.optional("expires_at", |json| expiry(json, rules.now));
    let expires_in = fields.optional("expires_in", |json| lifetime(json, rules.now));
    if expires_at.is_some() && expires_in.is_some() {
        fields.fault("expires_in", "conflict", "cannot be given together with expires_at");
    }
    let title = fields.optional("title", title);
    let tags = fields.optional("tags", tags).unwrap_or_default();
    let force_new = fields.optional("force_new", boolean).unwrap_or_default();
    let problems = fields.finish();
    match target {
        Some(target) if problems.is_empty() => {
            let behaviour = Behaviour { target, redirect, forward_query, expires_at: expires_at.or(expires_in) };
            Ok(ClaimRequest { behaviour, domain: domain.id, alias, force_new, title, tags })
        }
        _ => Err(problems),
    }
}

/// Reads a merge patch (RFC 7396).
pub(crate) fn edit(json: Json, rules: Rules<'_>) -> Result<Edit, Vec<FieldProblem>> {
    let mut fields = Fields::of(json, "");
    let target = fields.patch("url", |json| target(json, rules));
    if target == Some(None) {
        fields.fault("url", "required", "cannot be cleared");
    }
    let edit = Edit {
        behaviour: BehaviourEdit {
            target: target.flatten(),
            redirect: fields.patch("redirect", redirect).map(Option::unwrap_or_default),
            forward_query: fields.patch("forward_query", boolean).map(Option::unwrap_or_default),
            expires_at: fields.patch("expires_at", |json| expiry(json, rules.now)),
        },
        title: fields.patch("title", title),
        tags: fields.patch("tags", tags).map(Option::unwrap_or_default),
    };
    let problems = fields.finish();
    if problems.is_empty() { Ok(edit) } else { Err(problems) }
}

fn target(json: Json, rules: Rules<'_>) -> Result<Target, Fault> {
    let text = string(json)?;
    let target = match rules.blocked {
        Some(blocked) => blocked.target(&text, rules.targets),
        None => Target::parse(&text, rules.targets),
    };
    match target {
        Ok(target) if rules.bases.is_own(&target.host()) => Err(InvalidTarget::OwnHost),
        other => other,
    }
    .map_err(|error| Fault::new(target_fault(error), error))
}

/// The short domain that a claim names.
pub(crate) fn domain_of(claim: &Json) -> Option<&str> {
    claim.text_of("domain")
}

fn domain(json: Json, rules: Rules<'_>) -> Result<&ShortDomain, Fault> {
    rules.bases.named(string(json)?.trim())
}

pub(crate) fn target_fault(error: InvalidTarget) -> &'static str {
    match error {
        InvalidTarget::Empty => "empty",
        InvalidTarget::TooLong { .. } => "too-long",
        InvalidTarget::Control => "control-character",
        InvalidTarget::NoScheme => "no-scheme",
        InvalidTarget::NotAUrl | InvalidTarget::Host | InvalidTarget::Port | InvalidTarget::TwoSchemes => "not-a-url",
        InvalidTarget::Scheme => "scheme",
        InvalidTarget::UserInfo => "user-info",
        InvalidTarget::OwnHost => "own-host",
        InvalidTarget::PrivateAddress => "private-address",
        InvalidTarget::InternalName => "internal-name",
        InvalidTarget::RefusedHost => "refused-host",
    }
}

fn alias(json: Json) -> Result<Code, Fault> {
    let code = |error| match error {
        InvalidCode::Length => "length",
        InvalidCode::Character => "character",
        InvalidCode::Reserved | InvalidCode::Key | InvalidCode::Picture => "reserved",
    };
    Code::parse_alias(string(json)?.trim()).map_err(|error| Fault::new(code(error), error))
}

pub(crate) fn redirect(json: Json) -> Result<RedirectStatus, Fault> {
    let status = u16::try_from(whole_number(json)?).unwrap_or_default();
    RedirectStatus::try_from(status).map_err(|error| Fault::new("not-a-redirect", error))
}

fn lifetime(json: Json, now: Timestamp) -> Result<Timestamp, Fault> {
    let lifetime: Lifetime = string(json)?.parse().map_err(|error| Fault::new("not-a-lifetime", error))?;
    let end = now.plus_seconds(lifetime.seconds());
    end.ok_or_else(|| Fault::new("too-long", "must end before the year 10000"))
}

fn title(json: Json) -> Result<Title, Fault> {
    string(json)?.trim().parse().map_err(text_fault)
}

fn tags(json: Json) -> Result<Tags, Fault> {
    let tags: Vec<_> = strings(json)?.iter().map(|tag| tag.trim().to_owned()).collect();
    if tags.len() <= Tags::MAX_COUNT {
        for (index, tag) in tags.iter().enumerate() {
            Tags::check(tag).map_err(|error| text_fault(error).of_item(index))?;
        }
    }
    tags.try_into().map_err(text_fault)
}
