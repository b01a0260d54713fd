//! Random sequences of events: the store under test and the in-memory store must give equal answers.
//!
//! The in-memory store runs the pure rules themselves, so that any difference means that the store disagrees with the
//! rules. Both run the same services, at the same times, with the same randomness. All answers must be equal, ids and
//! codes included.

use std::{cell::Cell, fmt::Debug, sync::Arc};

use domain::{
    access::Access,
    address::Address,
    behaviour::RedirectStatus,
    lifecycle::{BehaviourEdit, Claim, Edit, Naming},
    link::{Generation, Link, Owner},
    ports::{Clock, Entropy, LinkFilter, ListQuery, Sort, StateFilter},
    service::{Call, ClaimRequest, ClaimSummary, Precondition, ServiceError},
    time::Timestamp,
};
use proptest::{
    collection::vec,
    option::weighted,
    prelude::{Just, Strategy, any},
    prop_assert_eq, prop_oneof,
    sample::{Index, select},
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner},
};

use super::{
    LinkStore,
    subject::{Subject, a_link, all_links, call_of, code, owner, repeatable, tags, target, title},
};
use crate::{ManualClock, MemoryStore, SeededEntropy};

/// Compares a store with the pure rules over 256 random sequences of up to 30 events (`PROPTEST_CASES`
/// asks for another number). The sequences are the same in every run; a failing one is made as short as possible.
///
/// All sequences share one store. Each sequence has its own owners and aliases.
pub fn random_sequences_agree<S, G, Made>(fresh: impl FnOnce() -> Made)
where
    S: LinkStore + 'static,
    Made: Future<Output = (Arc<S>, G)>,
{
    let runtime = super::runtime();
    let (store, guard) = runtime.block_on(fresh());
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (runs, seeds) = (Cell::new(0), SeededEntropy::new(7));
    let outcome = runner.run(&vec(event(), 1..=30), |events| {
        runs.set(runs.get() + 1);
        runtime.block_on(agree(&store, &Run { number: runs.get() }, seed(&seeds), &events))
    });
    if let Err(disagreement) = outcome {
        panic!("{disagreement}");
    }
    drop(store);
    drop(runtime);
    drop(guard);
}

fn seed(seeds: &SeededEntropy) -> u64 {
    let mut bytes = [0; 8];
    seeds.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

async fn agree<S: LinkStore + 'static>(store: &Arc<S>, run: &Run, seed: u64, events: &[Event]) -> TestCaseResult {
    let subject = Subject::over_links(store.clone(), seed);
    let rules = Subject { clock: subject.clock.clone(), ..Subject::over_links(Arc::new(MemoryStore::default()), seed) };
    let mut addresses: Vec<Address> = Vec::new();
    for event in events {
        if let Event::Wait { micros } = event {
            subject.clock.advance_micros(*micros);
            continue;
        }
        let answer = perform(&subject, run, &addresses, event).await;
        let expected = perform(&rules, run, &addresses, event).await;
        prop_assert_eq!(&answer.shown, &expected.shown, "after {:?}", event);
        addresses.extend(expected.addresses);
    }
    agree_in_the_end(&subject, &rules, run, &addresses).await
}

async fn agree_in_the_end(subject: &Subject, rules: &Subject, run: &Run, addresses: &[Address]) -> TestCaseResult {
    for who in Who::ALL {
        let query = ListQuery { access: Access::Owner(run.owner(who)), ..all_links() };
        prop_assert_eq!(subject.list(&query).await, rules.list(&query).await);
    }
    for address in addresses {
        let (stored, expected) = (subject.look_up(address).await, rules.look_up(address).await);
        prop_assert_eq!(&stored, &expected);
        let link = expected.expect("addresses are those of links");
        prop_assert_eq!(subject.history(&link).await, rules.history(&link).await);
        prop_assert_eq!(resolved(subject, &link).await, resolved(rules, &link).await);
    }
    Ok(())
}

async fn resolved(subject: &Subject, link: &Link) -> String {
    // The source of an answer is not compared, because it depends on the resolver.
    shown(&subject.resolver.resolve(&link.address()).await.map(|resolved| resolved.resolution))
}

// ---- Events -----------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Event {
    Claim { who: Who, wishes: Vec<Wish>, once: Option<Once> },
    Edit { who: Who, which: Index, expected: Option<i64>, changes: Changes },
    Delete { who: Who, which: Index, expected: Option<i64> },
    Reactivate { who: Who, which: Index, expected: Option<i64>, once: Option<Once> },
    Find { who: Who, which: Index },
    History { who: Who, which: Index, before: Option<i64>, limit: u32 },
    List { who: Who, selection: Selection, sort: Sort, limit: u32 },
    Follow { which: Index },
    Wait { micros: i64 },
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Ours,
    Theirs,
}

impl Who {
    const ALL: [Self; 2] = [Self::Ours, Self::Theirs];
}

/// The fields of one claim. `expiry` counts seconds from the start of the sequence.
#[derive(Clone, Debug)]
struct Wish {
    url: &'static str,
    naming: Naming,
    alias: &'static str,
    redirect: RedirectStatus,
    forward_query: bool,
    expiry: Option<i64>,
    title: Option<&'static str>,
}

/// What an edit sets.
#[derive(Clone, Debug)]
struct Changes {
    url: Option<&'static str>,
    redirect: Option<RedirectStatus>,
    forward_query: Option<bool>,
    expiry: Option<Option<i64>>,
    title: Option<Option<&'static str>>,
    tag: Option<&'static str>,
}

/// Which links a list shows.
#[derive(Clone, Debug)]
struct Selection {
    state: Option<StateFilter>,
    text: Option<&'static str>,
    tag: Option<&'static str>,
    url: Option<&'static str>,
    created_after: Option<i64>,
}

/// One of few idempotency keys and bodies, so that repetitions and reuses happen.
#[derive(Clone, Copy, Debug)]
struct Once {
    key: u8,
    body: u8,
}

/// The second and the third are one URL in two spellings.
const URLS: &[&str] =
    &["https://example.com/", "https://example.com/%7Euser", "https://example.com/~user", "https://example.org/?q=1"];
const ALIASES: &[&str] = &["promo", "PROMO", "news_1"];
const TITLES: &[&str] = &["A title", "Über 100%", "it's"];
const TEXTS: &[&str] = &["EXAMPLE.org", "%", "_", "über", "TITLE", "promo", ""];
const TAGS: &[&str] = &["a", "A", "ü,\"'"];
/// In seconds from the start of the sequence.
const MOMENTS: &[i64] = &[0, 1, 60, 7_200];
/// In microseconds; a clock may go back.
const PAUSES: &[i64] = &[1, 999_999, 10_000_000, 3_600_000_000, 86_400_000_000, -1_000_000];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (who(), vec(wish(), 1..=3), once())
            .prop_map(|(who, wishes, once)| Event::Claim { who, wishes, once }),
        4 => (who(), any::<Index>(), expected(), changes())
            .prop_map(|(who, which, expected, changes)| Event::Edit { who, which, expected, changes }),
        4 => (who(), any::<Index>(), expected())
            .prop_map(|(who, which, expected)| Event::Delete { who, which, expected }),
        3 => (who(), any::<Index>(), expected(), once())
            .prop_map(|(who, which, expected, once)| Event::Reactivate { who, which, expected, once }),
        1 => (who(), any::<Index>()).prop_map(|(who, which)| Event::Find { who, which }),
        1 => (who(), any::<Index>(), weighted(0.5, 1_i64..5), 1_u32..4)
            .prop_map(|(who, which, before, limit)| Event::History { who, which, before, limit }),
        2 => (who(), selection(), select(vec![Sort::NewestFirst, Sort::OldestFirst]), 1_u32..6)
            .prop_map(|(who, selection, sort, limit)| Event::List { who, selection, sort, limit }),
        1 => any::<Index>().prop_map(|which| Event::Follow { which }),
        3 => select(PAUSES)
            .prop_map(|micros| Event::Wait { micros }),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![3 => Just(Who::Ours), 1 => Just(Who::Theirs)]
}

fn wish() -> impl Strategy<Value = Wish> {
    let naming = prop_oneof![4 => Just(Naming::Shared), 3 => Just(Naming::Alias), 1 => Just(Naming::Separate)];
    let redirect = prop_oneof![4 => Just(RedirectStatus::Found), 1 => Just(RedirectStatus::MovedPermanently)];
    let rest = (weighted(0.2, a_moment()), weighted(0.3, select(TITLES)));
    (select(URLS), naming, select(ALIASES), redirect, seldom(), rest).prop_map(
        |(url, naming, alias, redirect, forward_query, (expiry, title))| Wish {
            url,
            naming,
            alias,
            redirect,
            forward_query,
            expiry,
            title,
        },
    )
}

fn changes() -> impl Strategy<Value = Changes> {
    let redirect = weighted(0.2, select(RedirectStatus::ALL.to_vec()));
    let expiry = weighted(0.2, weighted(0.7, a_moment()));
    let title = weighted(0.4, weighted(0.7, select(TITLES)));
    (weighted(0.4, select(URLS)), redirect, weighted(0.1, any::<bool>()), expiry, title, weighted(0.3, select(TAGS)))
        .prop_map(|(url, redirect, forward_query, expiry, title, tag)| Changes {
            url,
            redirect,
            forward_query,
            expiry,
            title,
            tag,
        })
}

fn selection() -> impl Strategy<Value = Selection> {
    let state = weighted(0.3, select(vec![StateFilter::Active, StateFilter::Deleted]));
    let words = (weighted(0.3, select(TEXTS)), weighted(0.2, select(TAGS)), weighted(0.2, select(URLS)));
    (state, words, weighted(0.2, a_moment())).prop_map(|(state, (text, tag, url), created_after)| Selection {
        state,
        text,
        tag,
        url,
        created_after,
    })
}

fn a_moment() -> impl Strategy<Value = i64> {
    select(MOMENTS)
}

fn seldom() -> impl Strategy<Value = bool> {
    prop_oneof![9 => Just(false), 1 => Just(true)]
}

fn expected() -> impl Strategy<Value = Option<i64>> {
    weighted(0.3, 1_i64..5)
}

fn once() -> impl Strategy<Value = Option<Once>> {
    weighted(0.2, (0_u8..3, 0_u8..2).prop_map(|(key, body)| Once { key, body }))
}

// ---- Running the events -----------------------------------------------------------------------

/// An answer as a caller sees it, and the addresses of its links.
struct Answer {
    shown: String,
    addresses: Vec<Address>,
}

async fn perform(subject: &Subject, run: &Run, addresses: &[Address], event: &Event) -> Answer {
    let service = subject.service();
    let known = |which: &Index| (!addresses.is_empty()).then(|| which.get(addresses).clone());
    let shown = match event {
        Event::Claim { who, wishes, once } => {
            let requests: Vec<_> = wishes.iter().map(|wish| run.request(wish)).collect();
            return claimed(&service.claim(&run.call(*who, *once), &requests).await);
        }
        Event::Edit { who, which, expected, changes } => match known(which) {
            Some(address) => {
                shown(&service.edit(&run.call(*who, None), &address, &precondition(*expected), &edit(changes)).await)
            }
            None => String::new(),
        },
        Event::Delete { who, which, expected } => match known(which) {
            Some(address) => shown(&service.delete(&run.call(*who, None), &address, &precondition(*expected)).await),
            None => String::new(),
        },
        Event::Reactivate { who, which, expected, once } => match known(which) {
            Some(address) => {
                shown(&service.reactivate(&run.call(*who, *once), &address, &precondition(*expected)).await)
            }
            None => String::new(),
        },
        Event::Find { who, which } => match known(which) {
            Some(address) => shown(&service.find(&run.access(*who), &address).await),
            None => String::new(),
        },
        Event::History { who, which, before, limit } => match known(which) {
            Some(address) => {
                shown(&service.history(&run.access(*who), &address, before.and_then(Generation::new), *limit).await)
            }
            None => String::new(),
        },
        Event::List { who, selection, sort, limit } => {
            let query = ListQuery {
                access: run.access(*who),
                filter: filter(selection),
                sort: *sort,
                after: None,
                limit: *limit,
            };
            shown(&service.list(query).await)
        }
        Event::Follow { which } => match known(which) {
            Some(address) => {
                shown(&subject.resolve_service().follow(&address, "f=1").await.map(|follow| follow.followed))
            }
            None => String::new(),
        },
        Event::Wait { .. } => String::new(),
    };
    Answer { shown, addresses: Vec::new() }
}

fn claimed(outcome: &Result<ClaimSummary, ServiceError>) -> Answer {
    let addresses = match outcome {
        Ok(summary) => summary.claims.iter().filter_map(Claim::link).map(Link::address).collect(),
        Err(_) => Vec::new(),
    };
    Answer { shown: shown(outcome), addresses }
}

fn shown(answer: &impl Debug) -> String {
    format!("{answer:?}")
}

/// Gives each sequence its own names.
struct Run {
    number: u32,
}

impl Run {
    fn owner(&self, who: Who) -> Owner {
        owner(&self.owner_name(who))
    }

    fn owner_name(&self, who: Who) -> String {
        match who {
            Who::Ours => format!("ours-{}", self.number),
            Who::Theirs => format!("theirs-{}", self.number),
        }
    }

    fn access(&self, who: Who) -> Access {
        Access::Owner(self.owner(who))
    }

    fn call(&self, who: Who, once: Option<Once>) -> Call {
        let call = call_of(&self.owner_name(who));
        match once {
            None => call,
            Some(Once { key, body }) => repeatable(call, &format!("{}-{key}", self.owner_name(who)), &[body]),
        }
    }

    fn request(&self, wish: &Wish) -> ClaimRequest {
        let alias = code(&format!("{}-{}", wish.alias, self.number));
        let mut request = a_link().to(wish.url).redirecting(wish.redirect).request();
        request.alias = (wish.naming == Naming::Alias).then_some(alias);
        request.force_new = wish.naming == Naming::Separate;
        request.behaviour.forward_query = wish.forward_query;
        request.behaviour.expires_at = wish.expiry.map(moment);
        request.title = wish.title.map(title);
        request
    }
}

fn edit(changes: &Changes) -> Edit {
    Edit {
        behaviour: BehaviourEdit {
            target: changes.url.map(target),
            redirect: changes.redirect,
            forward_query: changes.forward_query,
            expires_at: changes.expiry.map(|expiry| expiry.map(moment)),
        },
        title: changes.title.map(|text| text.map(title)),
        tags: changes.tag.map(|tag| tags(&[tag])),
    }
}

fn filter(selection: &Selection) -> LinkFilter {
    LinkFilter {
        domain: None,
        state: selection.state,
        text: selection.text.map(str::to_owned),
        tag: selection.tag.map(str::to_owned),
        target: selection.url.map(target),
        created_after: selection.created_after.map(moment),
        created_before: None,
    }
}

fn precondition(expected: Option<i64>) -> Precondition {
    let generation = |number| Generation::new(number).expect("above zero");
    expected.map_or(Precondition::None, |number| Precondition::Generations(vec![generation(number)]))
}

/// The moment `seconds` after the start of the sequence, which is the initial time of a `ManualClock`.
fn moment(seconds: i64) -> Timestamp {
    ManualClock::default().now().plus_seconds(seconds).expect("a few hours later")
}
