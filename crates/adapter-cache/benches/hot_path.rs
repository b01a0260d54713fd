//! The cost of a redirect and of a claim inside the process, before the store is asked. `cargo bench` compares with the
//! last run, so that a slower step shows on a noisy machine too.

use std::{hint::black_box, sync::Arc, time::Duration};

use adapter_cache::{CacheOptions, CachedResolver};
use criterion::{Criterion, criterion_group, criterion_main};
use domain::{
    address::Address,
    behaviour::Behaviour,
    ports::LinkResolver,
    service::{Blocked, ResolveService},
    target::{Target, TargetPolicy},
};
use slog::{Discard, Logger, o};
use test_support::{
    ManualClock, MemoryStore,
    contract::{Subject, a_link},
};
use tokio::runtime::Runtime;

const URL: &str = "https://example.com/a/target/that/is/as/long/as/targets/usually/are/00000001?a=1&b=%7e2";
const LINKS: usize = 2_000;

fn parsing(criterion: &mut Criterion) {
    criterion.bench_function("parse a code", |bench| bench.iter(|| black_box("h7RkQ2mX").parse::<Address>()));
    let policy = TargetPolicy::default();
    criterion.bench_function("parse a target", |bench| bench.iter(|| Target::parse(black_box(URL), &policy)));
    let behaviour = Behaviour::to(Target::parse(URL, &policy).expect("a target"));
    criterion.bench_function("make a dedup key", |bench| bench.iter(|| black_box(&behaviour).dedup_key()));
}

fn resolving(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let store = Arc::new(MemoryStore::default());
    let options = CacheOptions {
        capacity: 2 * LINKS,
        ttl: Duration::from_hours(1),
        stale_for: Duration::from_hours(1),
        negative_ttl: Duration::from_hours(1),
        known_codes: 1_000_000,
        timeout: Duration::from_secs(1),
    };
    let log = Logger::root(Discard, o!());
    let resolver = CachedResolver::new(store.clone(), options, runtime.handle().clone(), log);
    let addresses: Vec<Address> = runtime.block_on(async {
        let subject = Subject::over(store, 7);
        let mut addresses = Vec::with_capacity(LINKS);
        for number in 0..LINKS {
            let draft = a_link().to(&format!("{URL}&n={number}")).alias(&format!("code-{number:06}"));
            let address = subject.given(&draft).await.address();
            resolver.resolve(&address).await.expect("the in-memory store does not fail");
            addresses.push(address);
        }
        addresses
    });
    let mut next = addresses.iter().cycle();
    criterion.bench_function("resolve a remembered code", |bench| {
        bench.iter(|| resolver.resolve_at_once(next.next().expect("it cycles")).expect("it is cached"));
    });
    let service = ResolveService::new(Arc::new(resolver), Blocked::default(), Arc::new(ManualClock::default()));
    criterion.bench_function("follow a remembered code", |bench| {
        bench.iter(|| service.follow_at_once(next.next().expect("it cycles"), "").expect("it is cached"));
    });
}

criterion_group!(hot_path, parsing, resolving);
criterion_main!(hot_path);
