//! The header fields about limits: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), and
//! the older `X-RateLimit-*`.

use std::{num::NonZeroU32, time::Duration};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Policy, Quota};
use crate::problem::{Problem, ProblemKind};

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A name and two parameters, as a structured field item (RFC 9651 §3.3).
fn item(name: &str, parameters: [(&str, u64); 2]) -> HeaderValue {
    let mut text = String::with_capacity(USUAL_BYTES);
    text.extend(["\"", name, "\""]);
    for (key, value) in parameters {
        text.extend([";", key, "=", itoa::Buffer::new().format(value)]);
    }
    HeaderValue::try_from(text).expect("names and numbers are ASCII")
}

/// How a client stands to one limit. Every redirect makes one and does not send it, so the values of header fields are
/// computed only when they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    policy: Policy,
    quota: Quota,
    /// The number of processes the quota is divided among.
    share: NonZeroU32,
    /// Time until the whole quota is available again.
    whole_in: Duration,
    /// If the request was refused: time until it would be admitted.
    refused_for: Option<Duration>,
}

/// Capacity, in bytes, that is enough for every item and nearly every problem detail.
const USUAL_BYTES: usize = 80;

/// The problem of a request over its quota, with `Retry-After`.
pub(super) fn quota_exceeded(policy: Policy, wait: Duration) -> Problem {
    let seconds = retry_after(wait);
    let mut detail = String::with_capacity(USUAL_BYTES);
    let mut digits = itoa::Buffer::new();
    detail.extend([
        "Too many requests of the policy `",
        policy.name(),
        "`; try again in ",
        digits.format(seconds),
        " s.",
    ]);
    Problem::new(ProblemKind::QuotaExceeded).detail(detail).header(header::RETRY_AFTER, seconds.into())
}

/// The seconds of `Retry-After`: rounded up, at least 1.
fn retry_after(wait: Duration) -> u64 {
    whole_seconds(wait).max(1)
}

/// Rounded up: a client that waits so long has waited long enough.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl Standing {
    /// To one of `share` parts of a quota, all of which is available again after `whole_in`.
    pub(super) fn new(policy: Policy, quota: Quota, share: NonZeroU32, whole_in: Duration) -> Self {
        Self { policy, quota, share, whole_in, refused_for: None }
    }

    /// The same, for a request that was refused and would be admitted after `wait`.
    pub(super) fn refused(self, wait: Duration) -> Self {
        Self { refused_for: Some(wait), ..self }
    }

    /// The tighter of two: the one that refuses, if one does.
    pub(crate) fn tighter(self, other: Self) -> Self {
        if self.refused_for.is_some() != other.refused_for.is_some() {
            return if other.refused_for.is_some() { other } else { self };
        }
        let missing = |standing: Self| standing.whole_in.as_secs_f64() / standing.quota.refill().as_secs_f64();
        if missing(other) > missing(self) { other } else { self }
    }

    fn remaining(self) -> u32 {
        let missing = self.whole_in.as_nanos().div_ceil(self.quota.emission_interval().as_nanos().max(1));
        self.quota.burst.get().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX)) / self.share
    }

    /// Seconds until the whole quota is available or, if nothing is left, until one more request is admitted. For a
    /// refused request it is the same as `Retry-After`.
    fn reset(self) -> u64 {
        match self.refused_for {
            Some(wait) => retry_after(wait),
            None if self.remaining() == 0 => {
                let one = self.quota.time_of(self.share.get());
                retry_after((self.whole_in + one).saturating_sub(self.quota.refill()))
            }
            None => whole_seconds(self.whole_in),
        }
    }

    /// Sets `RateLimit` and `RateLimit-Policy` in an answer.
    pub(crate) fn set_headers(self, headers: &mut HeaderMap) {
        let (quota, remaining) = (self.quota.part(self.share), self.remaining());
        let (name, window, reset) = (self.policy.name(), whole_seconds(quota.refill()).max(1), self.reset());
        headers.insert(RATELIMIT_POLICY.clone(), item(name, [("q", quota.burst.get().into()), ("w", window)]));
        headers.insert(RATELIMIT.clone(), item(name, [("r", remaining.into()), ("t", reset)]));
    }

    /// Sets the older `X-RateLimit-*` fields, for clients that know no others.
    pub(crate) fn set_legacy_headers(self, headers: &mut HeaderMap) {
        let mut add = |name, value: u64| headers.insert(HeaderName::from_static(name), value.into());
        add("x-ratelimit-limit", self.quota.part(self.share).burst.get().into());
        add("x-ratelimit-remaining", self.remaining().into());
        add("x-ratelimit-reset", self.reset());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }

    #[test]
    fn the_fields_say_what_is_left_of_which_quota() {
        let quota = Quota::new(10.0, NonZeroU32::new(25).expect("not zero")).expect("sensible");
        let standing = |share| Standing::new(Policy::Claim, quota, share, Duration::from_millis(1_800));
        let tell = |standing: Standing| {
            let mut headers = HeaderMap::new();
            standing.set_headers(&mut headers);
            standing.set_legacy_headers(&mut headers);
            let told = |name: &str| headers.get(name).expect("told").to_str().expect("ASCII").to_owned();
            ["ratelimit-policy", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(told)
        };
        assert_eq!(tell(standing(NonZeroU32::MIN)), ["\"claim\";q=25;w=3", "\"claim\";r=7;t=2", "7", "2"]);
        // One of three processes allows a third of the quota by itself.
        let third = NonZeroU32::new(3).expect("not zero");
        assert_eq!(tell(standing(third)), ["\"claim\";q=8;w=3", "\"claim\";r=2;t=2", "2", "2"]);
    }

    #[test]
    fn with_nothing_left_the_reset_equals_retry_after() {
        let quota = Quota::new(1.0, NonZeroU32::new(3).expect("not zero")).expect("sensible");
        let empty = Standing::new(Policy::Claim, quota, NonZeroU32::MIN, Duration::from_millis(2_900));
        // One more in 0.9 s, all of it in 2.9 s.
        assert_eq!((empty.remaining(), empty.reset()), (0, 1));
        let refused = empty.refused(Duration::from_millis(1_200));
        assert_eq!(refused.reset(), 2);
        let whole = Standing::new(Policy::Read, quota, NonZeroU32::MIN, Duration::from_secs(3));
        assert_eq!((whole.tighter(refused), refused.tighter(whole)), (refused, refused));
    }

    #[test]
    fn the_tighter_limit_is_sent() {
        let quota = |burst| Quota::new(1.0, NonZeroU32::new(burst).expect("not zero")).expect("sensible");
        let standing =
            |burst, missing| Standing::new(Policy::Read, quota(burst), NonZeroU32::MIN, Duration::from_secs(missing));
        let (narrow, wide) = (standing(10, 6), standing(40, 28));
        assert_eq!(narrow.tighter(wide), wide);
        assert_eq!(wide.tighter(narrow), wide);
    }
}
