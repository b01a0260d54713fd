//! Text forms of domain values, as stores, callers and logs see them. Each value parses back from its own text, and
//! invalid text is rejected.

use std::{error::Error, fmt::Debug};

use chrono::{DateTime, Utc};
use domain::{
    actor::Actor,
    address::DomainId,
    api_key::{KeyId, KeyName, Scope, Scopes},
    behaviour::{Behaviour, RedirectStatus},
    block::{Host, InForce, Reason, Subject},
    code::Code,
    history::RequestId,
    idempotency::IdempotencyKey,
    lifecycle::Resolution,
    link::{Generation, Link, LinkState, Owner, Tags, Title},
    ports::{Position, RepositoryError, RepositoryErrorKind},
    target::{Target, TargetPolicy},
    time::{Lifetime, Timestamp},
};
use uuid::Uuid;

/// Asserts that `written` parses and converts back unchanged, and that `strange` is rejected.
fn reads_back<T>(written: &str, strange: &str)
where
    T: TryFrom<String> + Into<String> + Clone + PartialEq + Debug,
    T::Error: Debug,
{
    let word = T::try_from(written.to_owned()).expect("a stored text is valid");
    assert_eq!(word.clone().into(), written);
    assert!(T::try_from(strange.to_owned()).is_err(), "{strange}");
}

#[test]
fn texts_parse_back_and_convert_to_the_same_text() {
    reads_back::<Owner>("team-a", "Team A");
    reads_back::<Code>("Abc-1", "a b");
    reads_back::<Title>("Ü 🎉", "a\nb");
    reads_back::<KeyName>("deploy", "a\nb");
    reads_back::<KeyId>("ABCDEFGHJKMN", "short");
    reads_back::<Reason>("phishing", "a\nb");
    reads_back::<Host>("evil.example.com", "no host");
    reads_back::<RequestId>("req-1.a_B", "a b");
    reads_back::<Actor>("api_key:ABCDEFGHJKMN", "api_key:short");
    reads_back::<Actor>("system", "root");
    reads_back::<Actor>("anonymous", "");
    reads_back::<Timestamp>("2026-01-02T03:04:05.678901Z", "yesterday");
    reads_back::<Target>("https://example.com/a?b=1#c", "gopher://example.com/");
}

#[test]
fn lists_of_tags_and_scopes_parse_back_unchanged() {
    let tags: Vec<String> = ["b", "a"].map(str::to_owned).into();
    assert_eq!(Vec::from(Tags::try_from(tags.clone()).expect("two tags")), tags);
    let names: Vec<String> = Scope::ALL.map(|scope| scope.name().to_owned()).into();
    let scopes = Scopes::try_from(names.clone()).expect("every scope has a name");
    let mut written = Vec::from(scopes);
    let mut expected = names;
    written.sort_unstable();
    expected.sort_unstable();
    assert_eq!(written, expected);
}

#[test]
fn generations_and_redirect_statuses_parse_back_from_numbers() {
    let generation = Generation::try_from(7).expect("above 0");
    assert_eq!((i64::from(generation), generation.get(), generation.to_string()), (7, 7, "7".to_owned()));
    assert!(Generation::try_from(0).is_err() && Generation::new(0).is_none());
    assert_eq!(generation.next().get(), 8);
    for status in RedirectStatus::ALL {
        assert_eq!(RedirectStatus::try_from(u16::from(status)), Ok(status));
    }
    assert!(RedirectStatus::try_from(303).is_err());
}

/// Logs and messages show values in the same text form as stores and callers.
#[test]
fn values_display_as_their_text_form() {
    for (shown, written) in [
        ("team-a".parse::<Owner>().expect("valid").to_string(), "team-a"),
        ("Abc-1".parse::<Code>().expect("valid").to_string(), "Abc-1"),
        ("ABCDEFGHJKMN".parse::<KeyId>().expect("valid").to_string(), "ABCDEFGHJKMN"),
        ("req-1".parse::<RequestId>().expect("valid").to_string(), "req-1"),
        ("once-1".parse::<IdempotencyKey>().expect("valid").to_string(), "once-1"),
        (RequestId::from(Uuid::from_u128(1)).to_string(), &Uuid::from_u128(1).to_string()),
        (target("https://example.com/a").to_string(), "https://example.com/a"),
        ("req-1".parse::<RequestId>().expect("valid").as_str().to_owned(), "req-1"),
        ("once-1".parse::<IdempotencyKey>().expect("valid").as_str().to_owned(), "once-1"),
        ("why".parse::<Reason>().expect("valid").as_str().to_owned(), "why"),
        ("deploy".parse::<KeyName>().expect("valid").as_str().to_owned(), "deploy"),
        ("Ü".parse::<Title>().expect("valid").as_str().to_owned(), "Ü"),
    ] {
        assert_eq!(shown, written);
    }
    // There may be a million subjects, so only their counts are shown.
    assert_eq!(format!("{:?}", blocking(&[("code", "abc"), ("owner", "acme")])), "InForce(1 links, 0 hosts, 1 owners)");
}

#[test]
fn a_timestamp_is_equal_in_every_notation() {
    let moment: Timestamp = "2026-01-02T03:04:05.678901Z".parse().expect("RFC 3339");
    assert_eq!(moment.unix_micros(), 1_767_323_045_678_901);
    assert_eq!(moment.unix_millis(), 1_767_323_045_678);
    assert_eq!("2026-01-02T05:04:05.678901+02:00".parse(), Ok(moment));
    let datetime: DateTime<Utc> = moment.to_datetime();
    assert_eq!(Timestamp::try_from(datetime), Ok(moment));
    let earlier = Timestamp::from_unix_micros(moment.unix_micros() - 2_500_000).expect("in range");
    assert_eq!((moment.seconds_since(earlier), earlier.seconds_since(moment)), (2, 0));
}

#[test]
fn lifetimes_convert_to_seconds_by_their_unit() {
    for (text, seconds) in [("1s", 1), ("2m", 120), ("3h", 10_800), ("4d", 345_600), ("5w", 3_024_000)] {
        assert_eq!(text.parse::<Lifetime>().map(Lifetime::seconds), Ok(seconds), "{text}");
    }
    for strange in ["", "s", "0s", "01s", "100000s", "1", "1y", "-1s", "1.5h", "1 s"] {
        assert!(strange.parse::<Lifetime>().is_err(), "{strange}");
    }
    assert_eq!("99999s".parse::<Lifetime>().map(Lifetime::seconds), Ok(99_999));
}

#[test]
fn a_link_is_blocked_only_by_its_code_its_host_or_its_owner() {
    let (code, link) = (code("abc"), Resolution::from(&a_link()));
    for subject in [("code", "abc"), ("host", "www.example.com"), ("host", "example.com"), ("owner", "acme")] {
        let blocked = blocking(&[subject]);
        assert!(blocked.block(&code.clone().into(), &link) && !blocked.is_empty(), "{subject:?}");
    }
    for subject in [("code", "abd"), ("host", "other.example.com"), ("owner", "acme-2")] {
        let blocked = blocking(&[subject]);
        assert!(!blocked.block(&code.clone().into(), &link) && !blocked.is_empty(), "{subject:?}");
    }
    assert!(!InForce::default().block(&code.clone().into(), &link) && InForce::default().is_empty());
}

#[test]
fn only_the_blocked_owner_is_blocked() {
    let blocked = blocking(&[("owner", "acme")]);
    assert!(blocked.block_owner(&"acme".parse().expect("valid")));
    assert!(!blocked.block_owner(&"other".parse().expect("valid")));
}

#[test]
fn the_position_of_a_link_is_its_creation_time_and_id() {
    let link = a_link();
    assert_eq!(Position::from(&link), Position { created_at: link.created_at, id: link.id });
}

#[test]
fn a_repository_error_names_the_operation_and_keeps_its_cause() {
    use RepositoryErrorKind::{Corrupt, Indeterminate, Internal, StorageFull, Unavailable};
    for (kind, told) in [
        (Unavailable, "finding a link: unavailable"),
        (Indeterminate, "finding a link: the outcome is unknown"),
        (StorageFull, "finding a link: the storage is full"),
        (Corrupt, "finding a link: stored data is corrupt"),
        (Internal, "finding a link: failed"),
    ] {
        let error = RepositoryError::new(kind, "finding a link");
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, told));
        assert!(error.source().is_none());
        let caused = error.caused_by("connection reset");
        assert_eq!((caused.kind(), caused.to_string().as_str()), (kind, told));
        assert_eq!(caused.source().map(ToString::to_string), Some("connection reset".to_owned()));
    }
}

fn blocking(subjects: &[(&str, &str)]) -> InForce {
    subjects.iter().map(|(kind, value)| Subject::parse(kind, value, DomainId::DEFAULT).expect("valid")).collect()
}

fn code(text: &str) -> Code {
    text.parse().expect("valid")
}

fn target(url: &str) -> Target {
    Target::parse(url, &TargetPolicy::default()).expect("valid")
}

fn a_link() -> Link {
    let now = Timestamp::from_unix_micros(1_767_323_045_678_901).expect("in range");
    Link {
        domain: DomainId::DEFAULT,
        id: Uuid::from_u128(7),
        code: code("abc"),
        owner: "acme".parse().expect("valid"),
        behaviour: Behaviour::to(target("https://www.example.com/a")),
        deduplicated: true,
        title: None,
        tags: Tags::default(),
        state: LinkState::Active,
        generation: Generation::FIRST,
        created_at: now,
        updated_at: now,
        reactivated_at: None,
    }
}
