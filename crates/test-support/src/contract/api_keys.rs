//! API keys: what `ApiKeyRepository` promises, and the keys service above it.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    actor::Actor,
    api_key::{ApiKey, KeyId, KeySecret, Scope, Scopes},
    link::Owner,
    ports::{KeyCreation, KeyPosition, StoredKey},
    service::{Call, FirstKey, IssuedKey, NewKey, Refused, ServiceError},
    time::Timestamp,
};

use super::subject::{Subject, at_once, call_of_admin, moment, owner, repeatable};

// ---- Storing ----------------------------------------------------------------------------------

pub async fn a_key_is_found_as_it_was_created(subject: Subject) {
    subject.clock.advance_micros(123_457);
    let (plain, full, slim) = (subject.draw_key(), subject.draw_key(), subject.draw_key());
    let every_field = ApiKey {
        name: "ü".repeat(100).parse().expect("a valid name"),
        owner: owner(&"o".repeat(64)),
        scopes: Scopes::new(Scope::ALL).expect("five scopes"),
        expires_at: Some(moment("9999-12-31T23:59:59.999999Z")),
        last_used_at: Some(subject.in_seconds(1)),
        created_by: Actor::ApiKey(plain.key.id.clone()),
        revoked_at: Some(subject.in_seconds(2)),
        revoked_by: Some(Actor::ApiKey(plain.key.id.clone())),
        ..full.key
    };
    let one_scope = ApiKey { scopes: Scopes::new([Scope::LinksRead]).expect("one scope"), ..slim.key };
    for stored in
        [plain, StoredKey { key: every_field, digest: full.digest }, StoredKey { key: one_scope, digest: slim.digest }]
    {
        add(&subject, &stored).await;
        assert_eq!(find(&subject, &stored.key.id).await.key, stored.key);
    }
}

pub async fn the_digest_is_kept_byte_for_byte(subject: Subject) {
    let (one, other) = (subject.draw_key(), subject.draw_key());
    for key in [&one, &other] {
        add(&subject, key).await;
    }
    let found = find(&subject, &one.key.id).await.digest;
    assert_eq!(found.as_bytes(), one.digest.as_bytes());
    assert!(found.matches(&one.digest) && !found.matches(&other.digest));
}

pub async fn an_unknown_key_is_not_found(subject: Subject) {
    add(&subject, &subject.draw_key()).await;
    assert!(look_up(&subject, &subject.draw_key().key.id).await.is_none());
}

pub async fn ids_of_keys_are_compared_letter_by_letter(subject: Subject) {
    let named = |id: &str, name: &str| {
        let drawn = subject.draw_key();
        let (id, name) = (id.parse().expect("a valid id"), name.parse().expect("a valid name"));
        StoredKey { key: ApiKey { id, name, ..drawn.key }, digest: drawn.digest }
    };
    let keys = [named("abcdefghabcd", "lower"), named("ABCDEFGHABCD", "upper")];
    for key in &keys {
        add(&subject, key).await;
    }
    for key in keys {
        assert_eq!(find(&subject, &key.key.id).await.key, key.key);
    }
}

async fn add(subject: &Subject, key: &StoredKey) {
    assert_eq!(subject.keys.create(key, None).await.expect("the store works"), KeyCreation::Done);
}

async fn look_up(subject: &Subject, id: &KeyId) -> Option<StoredKey> {
    subject.keys.find(id).await.expect("the store works")
}

async fn find(subject: &Subject, id: &KeyId) -> StoredKey {
    look_up(subject, id).await.expect("the key is there")
}

// ---- Listing ----------------------------------------------------------------------------------

pub async fn without_keys_the_list_is_empty(subject: Subject) {
    assert!(list(&subject, None, 10).await.is_empty());
}

pub async fn the_newest_key_comes_first(subject: Subject) {
    let mut keys = keys_a_microsecond_apart(&subject, 4).await;
    keys.reverse();
    assert_eq!(list(&subject, None, 10).await, keys);
}

pub async fn a_page_of_keys_holds_no_more_than_its_limit(subject: Subject) {
    let mut keys = keys_a_microsecond_apart(&subject, 3).await;
    keys.reverse();
    for limit in 1..=4 {
        assert_eq!(list(&subject, None, limit).await, keys[..keys.len().min(limit as usize)]);
    }
}

pub async fn pages_of_keys_join_without_gap_or_repetition(subject: Subject) {
    for _ in 0..3 {
        for _ in 0..4 {
            add(&subject, &subject.draw_key()).await;
        }
        subject.clock.advance_micros(1);
    }
    let whole = list(&subject, None, 100).await;
    assert_eq!(whole.len(), 12);
    for limit in 1..=5 {
        let mut seen: Vec<ApiKey> = Vec::new();
        loop {
            let after = seen.last().map(KeyPosition::from);
            let page = list(&subject, after.as_ref(), limit).await;
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, whole, "{limit}");
    }
}

pub async fn revoked_and_expired_keys_are_still_found_and_listed(subject: Subject) {
    let drawn = subject.draw_key();
    let expiring = ApiKey { expires_at: Some(subject.in_seconds(1)), ..drawn.key };
    let stored = StoredKey { key: expiring, digest: drawn.digest };
    add(&subject, &stored).await;
    assert!(revoke(&subject, &stored.key.id, subject.now()).await);
    subject.clock.advance(60);
    let revoked_by = Some(Actor::System);
    let expected = ApiKey { revoked_at: Some(subject.in_seconds(-60)), revoked_by, ..stored.key };
    assert_eq!(find(&subject, &expected.id).await.key, expected);
    assert_eq!(list(&subject, None, 10).await, [expected]);
}

async fn keys_a_microsecond_apart(subject: &Subject, count: usize) -> Vec<ApiKey> {
    let mut keys = Vec::new();
    for _ in 0..count {
        let stored = subject.draw_key();
        add(subject, &stored).await;
        keys.push(stored.key);
        subject.clock.advance_micros(1);
    }
    keys
}

async fn list(subject: &Subject, after: Option<&KeyPosition>, limit: u32) -> Vec<ApiKey> {
    subject.keys.list(after, limit).await.expect("the store works")
}

// ---- Revoking and using -----------------------------------------------------------------------

pub async fn the_first_revocation_stays(subject: Subject) {
    let stored = subject.draw_key();
    add(&subject, &stored).await;
    let first = subject.in_seconds(10);
    for at in [first, subject.in_seconds(20), subject.in_seconds(5)] {
        assert!(revoke(&subject, &stored.key.id, at).await);
        assert_eq!(find(&subject, &stored.key.id).await.key.revoked_at, Some(first));
    }
}

pub async fn revoking_an_unknown_key_says_so(subject: Subject) {
    let (known, unknown) = (subject.draw_key(), subject.draw_key());
    add(&subject, &known).await;
    assert!(!revoke(&subject, &unknown.key.id, subject.now()).await);
    assert_eq!(find(&subject, &known.key.id).await.key, known.key);
}

pub async fn revoking_changes_nothing_else(subject: Subject) {
    let (stored, other) = (subject.draw_key(), subject.draw_key());
    add(&subject, &stored).await;
    add(&subject, &other).await;
    note_use(&subject, &stored.key.id, subject.in_seconds(1)).await;
    assert!(revoke(&subject, &stored.key.id, subject.in_seconds(2)).await);
    let found = find(&subject, &stored.key.id).await;
    let expected = ApiKey {
        last_used_at: Some(subject.in_seconds(1)),
        revoked_at: Some(subject.in_seconds(2)),
        revoked_by: Some(Actor::System),
        ..stored.key
    };
    assert_eq!(found.key, expected);
    assert!(found.digest.matches(&stored.digest));
    assert_eq!(find(&subject, &other.key.id).await.key, other.key);
}

pub async fn of_many_revocations_at_once_one_stays(subject: Subject) {
    let stored = subject.draw_key();
    add(&subject, &stored).await;
    let revoked = at_once(8, |index| {
        let (subject, id) = (subject.clone(), stored.key.id.clone());
        let at = subject.in_seconds(i64::try_from(index).expect("a small number"));
        async move {
            assert!(revoke(&subject, &id, at).await);
            find(&subject, &id).await.key.revoked_at
        }
    })
    .await;
    assert!(revoked[0].is_some());
    assert!(revoked.iter().all(|at| *at == revoked[0]), "{revoked:?}");
}

pub async fn the_last_use_is_never_moved_back(subject: Subject) {
    let stored = subject.draw_key();
    add(&subject, &stored).await;
    for (at, expected) in [(10, 10), (5, 10), (20, 20), (20, 20), (-60, 20)] {
        note_use(&subject, &stored.key.id, subject.in_seconds(at)).await;
        assert_eq!(find(&subject, &stored.key.id).await.key.last_used_at, Some(subject.in_seconds(expected)));
    }
}

pub async fn of_many_uses_at_once_the_latest_stays(subject: Subject) {
    let stored = subject.draw_key();
    add(&subject, &stored).await;
    at_once(16, |index| {
        let (subject, id) = (subject.clone(), stored.key.id.clone());
        let at = subject.in_seconds(i64::try_from(index).expect("a small number"));
        async move { note_use(&subject, &id, at).await }
    })
    .await;
    assert_eq!(find(&subject, &stored.key.id).await.key.last_used_at, Some(subject.in_seconds(15)));
}

pub async fn a_use_is_noted_for_that_key_only(subject: Subject) {
    let (stored, other) = (subject.draw_key(), subject.draw_key());
    add(&subject, &stored).await;
    add(&subject, &other).await;
    note_use(&subject, &stored.key.id, subject.now()).await;
    assert_eq!(find(&subject, &other.key.id).await.key, other.key);
}

#[must_use]
async fn revoke(subject: &Subject, id: &KeyId, at: Timestamp) -> bool {
    subject.keys.revoke(id, at, &Actor::System).await.expect("the store works")
}

async fn note_use(subject: &Subject, id: &KeyId, at: Timestamp) {
    subject.keys.note_use(id, at).await.expect("the store works");
}

// ---- The first key ----------------------------------------------------------------------------

pub async fn the_first_key_is_added_where_there_is_none(subject: Subject) {
    let (first, second) = (subject.draw_key(), subject.draw_key());
    assert!(create_first(&subject, &first).await);
    assert!(!create_first(&subject, &second).await);
    let found = find(&subject, &first.key.id).await;
    assert_eq!(found.key, first.key);
    assert!(found.digest.matches(&first.digest));
    assert_eq!(list(&subject, None, 10).await, [first.key]);
}

pub async fn a_revoked_key_still_counts_as_there(subject: Subject) {
    let stored = subject.draw_key();
    add(&subject, &stored).await;
    assert!(revoke(&subject, &stored.key.id, subject.now()).await);
    assert!(!create_first(&subject, &subject.draw_key()).await);
    assert_eq!(list(&subject, None, 10).await.len(), 1);
}

pub async fn of_many_first_keys_at_once_one_is_added(subject: Subject) {
    let added = at_once(16, |_| {
        let (subject, key) = (subject.clone(), subject.draw_key());
        async move { (create_first(&subject, &key).await, key.key) }
    })
    .await;
    let winners: Vec<_> = added.into_iter().filter(|(added, _)| *added).map(|(_, key)| key).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(list(&subject, None, 100).await, winners);
}

#[must_use]
async fn create_first(subject: &Subject, key: &StoredKey) -> bool {
    subject.keys.create_first(key).await.expect("the store works")
}

// ---- Through the service ----------------------------------------------------------------------

pub async fn a_new_key_opens_what_it_was_made_for(subject: Subject) {
    let issued = issue(&subject, &new_key(None)).await;
    let (caller, noting) = subject.key_service().authenticate(&issued.secret).await.expect("the key is live");
    assert_eq!((caller.actor, caller.owner), (Actor::ApiKey(issued.key.id.clone()), owner("team-a")));
    assert!(caller.scopes.allow(Scope::LinksRead) && !caller.scopes.allow(Scope::LinksWrite));
    assert!(noting);
    assert_eq!(issued.key, find(&subject, &issued.secret.id()).await.key);
}

pub async fn a_key_with_another_secret_opens_nothing(subject: Subject) {
    let (presented, other) = (subject.key_service().draw_secret(), subject.draw_key());
    let same_id = StoredKey { key: ApiKey { id: presented.id(), ..other.key }, digest: other.digest };
    add(&subject, &same_id).await;
    assert_refused!(subject.key_service().authenticate(&presented).await, Refused::Invalid);
}

pub async fn an_unknown_key_opens_nothing(subject: Subject) {
    issue(&subject, &new_key(None)).await;
    let unknown = subject.key_service().draw_secret();
    assert_refused!(subject.key_service().authenticate(&unknown).await, Refused::Invalid);
}

pub async fn a_revoked_key_opens_nothing_from_that_moment(subject: Subject) {
    let (keys, issued) = (subject.key_service(), issue(&subject, &new_key(None)).await);
    keys.revoke(&call_of_admin(), &issued.key.id).await.expect("the key is there");
    assert_refused!(keys.authenticate(&issued.secret).await, Refused::Invalid);
    keys.revoke(&call_of_admin(), &issued.key.id).await.expect("revoking again changes nothing");
    assert_refused!(keys.revoke(&call_of_admin(), &keys.draw_secret().id()).await, ServiceError::NotFound);
}

pub async fn a_key_opens_nothing_from_the_very_moment_it_expires(subject: Subject) {
    let issued = issue(&subject, &new_key(Some(subject.in_seconds(60)))).await;
    subject.clock.advance_micros(59_999_999);
    assert!(subject.key_service().authenticate(&issued.secret).await.is_ok());
    subject.clock.advance_micros(1);
    assert_refused!(subject.key_service().authenticate(&issued.secret).await, Refused::Invalid);
}

pub async fn two_keys_of_one_owner_live_side_by_side(subject: Subject) {
    let (keys, old, new) =
        (subject.key_service(), issue(&subject, &new_key(None)).await, issue(&subject, &new_key(None)).await);
    keys.revoke(&call_of_admin(), &old.key.id).await.expect("the key is there");
    assert!(keys.authenticate(&new.secret).await.is_ok());
}

pub async fn a_use_is_worth_noting_once_a_minute(subject: Subject) {
    let (keys, issued) = (subject.key_service(), issue(&subject, &new_key(None)).await);
    for (passed, expected) in [(0, true), (59, false), (1, true)] {
        subject.clock.advance(passed);
        let (_, noting) = keys.authenticate(&issued.secret).await.expect("the key is live");
        assert_eq!(noting, expected);
        if noting {
            keys.note_use(&issued.key.id).await.expect("the store works");
            assert_eq!(find(&subject, &issued.key.id).await.key.last_used_at, Some(subject.now()));
        }
    }
}

pub async fn a_key_that_would_be_expired_at_once_is_not_made(subject: Subject) {
    for expiry in [subject.now(), subject.in_seconds(-1)] {
        let refused = subject.key_service().create(&call_of_admin(), None, &new_key(Some(expiry))).await;
        assert_refused!(refused, ServiceError::ExpiryNotInFuture);
    }
    assert!(list(&subject, None, 10).await.is_empty());
}

pub async fn a_repeated_creation_shows_the_same_secret_again(subject: Subject) {
    let (keys, parent) = (subject.key_service(), subject.key_service().draw_secret());
    assert_eq!(keys.recall(&repeatable_call(b"body"), &parent).await.expect("the store answers"), None);
    let first = keys.create(&repeatable_call(b"body"), Some(&parent), &new_key(None)).await.expect("it is new");
    let recalled = keys.recall(&repeatable_call(b"body"), &parent).await.expect("the store answers");
    assert_eq!(recalled.as_ref(), Some(&first));
    subject.clock.advance(60);
    let again = keys.create(&repeatable_call(b"body"), Some(&parent), &new_key(None)).await.expect("it is known");
    assert_eq!(first, again);
    assert_eq!(list(&subject, None, 10).await, [first.key]);
    assert!(keys.authenticate(&again.secret).await.is_ok());
}

pub async fn another_key_asked_for_in_the_same_request_is_refused(subject: Subject) {
    let (keys, parent) = (subject.key_service(), subject.key_service().draw_secret());
    keys.create(&repeatable_call(b"body"), Some(&parent), &new_key(None)).await.expect("it is new");
    let refused = keys.create(&repeatable_call(b"other body"), Some(&parent), &new_key(None)).await;
    assert_refused!(refused, ServiceError::IdempotencyKeyReused);
    assert_eq!(list(&subject, None, 10).await.len(), 1);
}

pub async fn equal_creations_at_once_show_one_secret(subject: Subject) {
    let parent = subject.key_service().draw_secret();
    let secrets = at_once(8, |_| {
        let (keys, parent) = (subject.key_service(), parent.clone());
        async move {
            keys.create(&repeatable_call(b"body"), Some(&parent), &new_key(None))
                .await
                .expect("nothing is wrong")
                .secret
        }
    })
    .await;
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_eq!(list(&subject, None, 10).await.len(), 1);
}

pub async fn the_first_key_is_an_admin_of_the_default_owner(subject: Subject) {
    let keys = subject.key_service();
    let name = || "first".parse().expect("a valid name");
    let (secret, late) = (keys.draw_secret(), keys.draw_secret());
    assert_eq!(keys.add_first(name(), &secret).await.expect("the store works"), FirstKey::Added);
    assert_eq!(keys.add_first(name(), &late).await.expect("the store works"), FirstKey::NotNeeded);
    let (caller, _) = keys.authenticate(&secret).await.expect("the key is live");
    assert_eq!((caller.owner, caller.scopes), (Owner::default(), Scopes::admin()));
    assert_refused!(keys.authenticate(&late).await, Refused::Invalid);
}

pub async fn the_service_says_where_the_next_keys_begin(subject: Subject) {
    let mut keys = keys_a_microsecond_apart(&subject, 5).await;
    keys.reverse();
    let service = subject.key_service();
    let (first, next) = service.list(None, 3).await.expect("the store works");
    assert_eq!((first.as_slice(), &next), (&keys[..3], &Some(KeyPosition::from(&keys[2]))));
    let (second, next) = service.list(next.as_ref(), 2).await.expect("the store works");
    assert_eq!((second.as_slice(), next), (&keys[3..], None));
}

pub async fn a_key_reads_back_from_its_text_and_opens(subject: Subject) {
    let issued = issue(&subject, &new_key(None)).await;
    let typed: KeySecret = issued.secret.expose().parse().expect("a key is made of valid text");
    assert!(subject.key_service().authenticate(&typed).await.is_ok());
}

fn new_key(expires_at: Option<Timestamp>) -> NewKey {
    let scopes = Scopes::new([Scope::LinksRead]).expect("one scope");
    NewKey {
        name: "a key".parse().expect("a valid name"),
        owner: owner("team-a"),
        scopes,
        domains: Vec::new(),
        expires_at,
    }
}

async fn issue(subject: &Subject, new: &NewKey) -> IssuedKey {
    subject.key_service().create(&call_of_admin(), None, new).await.expect("nothing is wrong")
}

fn repeatable_call(body: &[u8]) -> Call {
    repeatable(call_of_admin(), "key", body)
}
