//! The caller of a request: its API key, and what the key allows.

use std::{borrow::Cow, marker::PhantomData, rc::Rc};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use domain::{
    access::Access,
    actor::Actor,
    address::{Address, DomainId},
    api_key::{self, Caller, KeySecret, Scope},
    code::Code,
    idempotency::{Fingerprint, IdempotencyKey},
    link::Owner,
    service::Call,
};

use futures_util::{FutureExt, future::LocalBoxFuture};

use super::{
    context::{Context, Effect},
    json::field_problem,
    query::Query,
    state::State,
};
use crate::problem::{Problem, ProblemKind};

/// A caller whose key is valid and has the scope `S`. A handler with this argument runs only for such callers.
pub(crate) struct Authorized<S> {
    pub(crate) caller: Caller,
    pub(crate) secret: KeySecret,
    pub(crate) context: Rc<Context>,
    scope: PhantomData<S>,
}

/// A scope, as a type.
pub(crate) trait RequiredScope: 'static {
    const SCOPE: Scope;
}

macro_rules! required_scopes {
    ($($name:ident),*) => {$(
        #[doc = concat!("The scope `", stringify!($name), "`.")]
        pub(crate) struct $name;

        impl RequiredScope for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )*};
}

required_scopes!(LinksRead, LinksCreate, LinksWrite, StatsRead, Admin);

impl<S: RequiredScope> FromRequest for Authorized<S> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { Self::of(&request).await }.boxed_local()
    }
}

impl<S: RequiredScope> Authorized<S> {
    /// The caller of a request. Refused callers have no key id in the log.
    pub(crate) async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let context = Context::of(request);
        let state = &context.state;
        let secret = presented_key(request.headers())?.ok_or_else(|| Problem::new(ProblemKind::Unauthenticated))?;
        let keys = &state.services.keys;
        let (caller, worth_noting) = context.within_budget(Effect::Read, keys.authenticate(&secret)).await?;
        if state.services.blocks.blocked().in_force().is_some_and(|blocked| blocked.block_key(&secret.id())) {
            return Err(Problem::new(ProblemKind::Unauthenticated));
        }
        context.note(|notes| notes.key_id = Some(secret.id()));
        if let Some(policy) = context.tally.policy {
            state.limits.charge_key(&context.tally, policy, &secret.id()).await?;
        }
        if worth_noting {
            note_use(state, &secret);
        }
        if !caller.scopes.allow(S::SCOPE) {
            let needed = format!("The key lacks the scope {}.", S::SCOPE.name());
            return Err(Problem::new(ProblemKind::Forbidden).detail(needed));
        }
        Ok(Self { caller, secret, context, scope: PhantomData })
    }

    /// The links that the caller may see.
    pub(crate) fn access(&self) -> Access {
        self.caller.access()
    }

    /// The call to pass to a service.
    pub(crate) fn call(&self) -> Call {
        Call { caller: self.caller.clone(), request_id: self.context.request_id.clone(), idempotency: None }
    }

    /// The same for a POST, which may carry an `Idempotency-Key`.
    pub(crate) fn repeatable_call(&self, request: &HttpRequest, body: &[u8]) -> Result<Call, Problem> {
        Ok(Call { idempotency: idempotency(request, body)?, ..self.call() })
    }
}

/// A caller with the scope `S`, and the address of a link: the code in the path, and the short domain that the query
/// names. A text that cannot be a code names no link. The scope is
/// checked first, so only a caller that has it gets the 404.
pub(crate) struct OnLink<S> {
    pub(crate) caller: Authorized<S>,
    pub(crate) address: Address,
}

impl<S: RequiredScope> FromRequest for OnLink<S> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let caller = Authorized::of(&request).await?;
            let address = address_of(&request, &caller.context).await?;
            Ok(Self { caller, address })
        }
        .boxed_local()
    }
}

/// A caller that may change links, and the address of one. A blocked owner is rejected before the address is read.
pub(crate) struct LinkChange {
    pub(crate) caller: Authorized<LinksWrite>,
    pub(crate) address: Address,
}

impl FromRequest for LinkChange {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let caller = Authorized::<LinksWrite>::of(&request).await?;
            ensure_owner_active(&caller.context.state, &caller.caller.owner)?;
            let address = address_of(&request, &caller.context).await?;
            Ok(Self { caller, address })
        }
        .boxed_local()
    }
}

async fn address_of(request: &HttpRequest, context: &Context) -> Result<Address, Problem> {
    let code = request.match_info().get("code").and_then(|code| code.parse::<Code>().ok());
    let code = code.ok_or_else(|| Problem::new(ProblemKind::NotFound))?;
    let mut query = Query::of_link(request).only("domain");
    let host = query.take("domain", |text| Ok(text.to_owned()));
    query.finish("link")?;
    let domain = match host {
        None => DomainId::DEFAULT,
        Some(host) => context.domain_in_query(&host).await?,
    };
    let address = Address::new(domain, code);
    context.note(|notes| notes.address = Some(address.clone()));
    Ok(address)
}

/// Fails if the owner is blocked. Look for an idempotency record first: a repeated request still gets its answer.
pub(crate) fn ensure_owner_active(state: &State, owner: &Owner) -> Result<(), Problem> {
    let admitted = state.blocked()?.map_or(Ok(()), |blocked| blocked.admit_owner(owner));
    admitted.map_err(|blocked| Problem::new(ProblemKind::Forbidden).detail("The owner is blocked.").caused_by(blocked))
}

/// Whether the request carries any key at all.
pub(crate) fn carries_key(headers: &HeaderMap) -> bool {
    plain_tokens(headers).next().is_some() || bearer_tokens(headers).next().is_some()
}

/// Saves in the background that a key was used, at most once a minute for each key. A failure is only logged.
fn note_use(state: &web::Data<State>, secret: &KeySecret) {
    let (state, id) = (state.clone(), secret.id());
    actix_web::rt::spawn(async move {
        if let Err(error) = state.services.keys.note_use(&id).await {
            slog::debug!(state.log, "the last use of key `{}` was not saved", id; "event.name" => "api_key.last_used_failed", "api_key.id" => %id, "error.message" => %error);
        }
    });
}

/// The one key of a request: from `X-API-Key` if present, otherwise from `Authorization: Bearer`. Other schemes of
/// `Authorization` are for a proxy or a gateway in front, and ignored unless they hold a key. Fails if there are
/// several different keys.
fn presented_key(headers: &HeaderMap) -> Result<Option<KeySecret>, Problem> {
    let invalid = || Problem::new(ProblemKind::Unauthenticated);
    let mut presented: Option<KeySecret> = None;
    let plain: Vec<_> = plain_tokens(headers).collect();
    let tokens = if plain.is_empty() { bearer_tokens(headers).map(Some).collect() } else { plain };
    for token in tokens {
        let secret: KeySecret = token.ok_or_else(invalid)?.trim().parse().map_err(|_| invalid())?;
        if presented.as_ref().is_some_and(|other| *other != secret) {
            return Err(invalid());
        }
        presented = Some(secret);
    }
    Ok(presented)
}

/// The values of `X-API-Key`; `None` for one that is not UTF-8. Leaves out empty ones, which a gateway without a key
/// sends.
fn plain_tokens(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let values = headers.get_all("x-api-key").map(|value| str::from_utf8(value.as_bytes()).ok());
    values.filter(|text| text.is_none_or(|text| !text.trim().is_empty()))
}

fn bearer_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // A value that is not UTF-8 counts as an empty bearer token, which is refused.
    let texts =
        headers.get_all(header::AUTHORIZATION).map(|value| str::from_utf8(value.as_bytes()).unwrap_or("Bearer"));
    texts.filter_map(|value| {
        let (scheme, token) = value.trim().split_once(char::is_whitespace).unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(token);
        }
        // A key in the wrong form is refused. Otherwise its caller would count as anonymous.
        api_key::carries_key(value).then_some("")
    })
}

/// The call of a client without a key.
pub(crate) fn anonymous_call(context: &Context, request: &HttpRequest, body: &[u8]) -> Result<Call, Problem> {
    let caller = Caller::anonymous();
    debug_assert_eq!(caller.actor, Actor::Anonymous);
    // Anonymous clients may choose the same idempotency key. Each client's keys are separate.
    let own =
        |(key, fingerprint): (IdempotencyKey, Fingerprint)| (key.within(&context.tally.client.stranger()), fingerprint);
    Ok(Call { caller, request_id: context.request_id.clone(), idempotency: idempotency(request, body)?.map(own) })
}

fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<(IdempotencyKey, Fingerprint)>, Problem> {
    let mut given = request.headers().get_all("idempotency-key");
    let wrong = |detail: &str| {
        let field = field_problem("header/idempotency-key".to_owned(), "invalid", detail);
        Problem::invalid(vec![field])
    };
    let key = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => return Err(wrong("must be given once")),
        (Some(value), None) => value.to_str().unwrap_or_default(),
    };
    let key: IdempotencyKey = key.parse().map_err(|error| wrong(&format!("{error}")))?;
    let mut path = Cow::Borrowed(request.path());
    // A repetition names the same short domain. Without one, the fingerprint is that of earlier releases.
    if let Some(domain) = Query::of_link(request).only("domain").take("domain", |text| Ok(text.to_owned())) {
        path.to_mut().push_str(&format!("?domain={domain}"));
    }
    let fingerprint = Fingerprint::of(request.method().as_str(), &path, body);
    Ok(Some((key, fingerprint)))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    struct Fixed(u8);

    impl domain::ports::Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid"));
        }
        headers
    }

    #[test]
    fn a_key_may_be_in_either_field_and_x_api_key_wins() {
        let (one, other) = (KeySecret::draw(&Fixed(1)), KeySecret::draw(&Fixed(2)));
        let bearer = format!("bEaReR {}", one.expose());
        let found = |lines: &[_]| presented_key(&headers(lines)).ok().flatten();
        assert_eq!(found(&[("authorization", &bearer)]).as_ref(), Some(&one));
        assert_eq!(found(&[("x-api-key", one.expose())]).as_ref(), Some(&one));
        assert_eq!(found(&[("authorization", &bearer), ("x-api-key", one.expose())]).as_ref(), Some(&one));
        assert_eq!(found(&[("authorization", &bearer), ("x-api-key", other.expose())]).as_ref(), Some(&other));
        assert_eq!(found(&[("authorization", "Basic YTpi"), ("authorization", &bearer)]).as_ref(), Some(&one));
        assert!(presented_key(&headers(&[("x-api-key", one.expose()), ("x-api-key", other.expose())])).is_err());
        assert_eq!(found(&[("authorization", &bearer), ("x-api-key", " ")]).as_ref(), Some(&one));
        for bad in ["Bearer", "Bearer ", "Bearer sgn_x", "bearer x y"] {
            assert!(presented_key(&headers(&[("authorization", bad)])).is_err(), "{bad}");
            assert!(carries_key(&headers(&[("authorization", bad)])), "{bad}");
        }
        for bad in [one.expose().to_owned(), format!("Token {}", one.expose()), format!("Bearer: {}", one.expose())] {
            assert!(
                presented_key(&headers(&[("authorization", &bad)])).is_err()
                    && carries_key(&headers(&[("authorization", &bad)]))
            );
        }
        assert_eq!(found(&[("authorization", &format!("Bearer\t{}", one.expose()))]).as_ref(), Some(&one));
        for other in ["Basic YTpi", "Digest a=b", ""] {
            assert!(presented_key(&headers(&[("authorization", other)])).is_ok_and(|key| key.is_none()), "{other}");
        }
        assert!(presented_key(&headers(&[])).is_ok_and(|key| key.is_none()));
    }
}
