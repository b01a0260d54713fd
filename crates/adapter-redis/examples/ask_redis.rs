//! Looks links up in Redis: through the shared cache, or with plain GETs over the same client. `just bench` compares
//! the two. Nothing else may use the server meanwhile.
//!
//!     ask_redis URL shared|alone TASKS SECONDS

use std::{env::args, sync::Arc, time::Duration};

use adapter_redis::{RedisOptions, SharedChanges, SharedMemory, SharedResolver};
use async_trait::async_trait;
use domain::{
    address::Address,
    behaviour::Behaviour,
    lifecycle::Resolution,
    link::{Generation, LinkState, Owner},
    ports::{ChangeFeed, ChangeSubscriber, Identify, LinkResolver, RepositoryError, Resolved, Source},
    target::Target,
};
use slog::{Discard, Logger, o};
use test_support::SeededEntropy;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};
use uuid::Uuid;

const LINKS: usize = 20_000;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_macros, clippy::print_stdout, reason = "the figure is the result of the benchmark")]
async fn main() {
    let [url, how, tasks, seconds] = args().skip(1).collect::<Vec<_>>().try_into().expect("four arguments");
    let tasks: usize = tasks.parse().expect("a number of tasks");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let asked = match how.as_str() {
        "shared" => shared(&url, tasks, seconds).await,
        "alone" => alone(&url, tasks, seconds).await,
        other => panic!("`{other}` is neither `shared` nor `alone`"),
    };
    println!("{}", asked / seconds);
}

async fn shared(url: &str, tasks: usize, seconds: u64) -> u64 {
    let (timeout, ttl) = (Duration::from_secs(1), Duration::from_mins(10));
    let options = RedisOptions { url: url.to_owned(), sentinel_password: None, timeout, ttl };
    let (entropy, log) = (Arc::new(SeededEntropy::new(1)), Logger::root(Discard, o!()));
    let shared = SharedMemory::new(options, entropy, Handle::current(), log).expect("an address of Redis");
    let (changes, keeping) = (SharedChanges::new(Arc::new(Quiet), shared.clone()), shared.clone());
    tokio::spawn(async move { changes.subscribe(Arc::new(NoSubscriber)).await });
    tokio::spawn(async move { keeping.keep(&Quiet, Arc::new(NoSubscriber)).await });
    let resolver = Arc::new(SharedResolver::new(Arc::new(Quiet), shared));
    for address in addresses() {
        while resolver.resolve(&address).await.expect("it answers").source == Source::Store {
            sleep(Duration::from_micros(100)).await;
        }
    }
    let ask = move |address: Address| {
        let resolver = Arc::clone(&resolver);
        async move {
            let resolved = resolver.resolve(&address).await.expect("it answers");
            assert!(matches!(resolved.source, Source::SharedMemory { .. }), "not from Redis");
        }
    };
    repeatedly(addresses().collect(), tasks, seconds, ask).await
}

async fn alone(url: &str, tasks: usize, seconds: u64) -> u64 {
    let client = redis::Client::open(url).expect("an address of Redis");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection");
    let pattern = redis::cmd("KEYS").arg("signpost:4:benchmark:*:code-*").to_owned();
    let keys: Vec<String> = pattern.query_async(&mut connection).await.expect("an answer");
    assert!(keys.len() >= LINKS, "ask as the shared memory does first");
    let ask = move |key: String| {
        let mut connection = connection.clone();
        async move {
            let _text: String = redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("a text");
        }
    };
    repeatedly(keys, tasks, seconds, ask).await
}

/// How many lookups all tasks made together.
async fn repeatedly<T, F>(
    items: Vec<T>,
    tasks: usize,
    seconds: u64,
    ask: impl Fn(T) -> F + Clone + Send + 'static,
) -> u64
where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let items = Arc::new(items);
    let asking: Vec<_> = (0..tasks)
        .map(|number| {
            let (items, ask) = (Arc::clone(&items), ask.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                for item in items.iter().skip(number).step_by(tasks).cycle() {
                    if timeout_at(deadline, ask(item.clone())).await.is_err() {
                        break;
                    }
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let mut asked = 0;
    for one in asking {
        asked += one.await.expect("no panic");
    }
    asked
}

fn addresses() -> impl Iterator<Item = Address> {
    (0..LINKS).map(|number| format!("code-{number:08}").parse().expect("valid"))
}

/// A store that has every link and never changes.
struct Quiet;

#[async_trait]
impl LinkResolver for Quiet {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        let url = format!("https://example.com/a/target/that/is/as/long/as/targets/usually/are/{address}?a=1&b=2");
        let behaviour = Behaviour::to(Target::from_stored(url).expect("a target"));
        let resolution = Resolution {
            id: Uuid::nil(),
            owner: Owner::default(),
            behaviour,
            state: LinkState::Active,
            generation: Generation::FIRST,
        };
        Ok(Resolved::by_store(Some(resolution)))
    }
}

#[async_trait]
impl ChangeFeed for Quiet {
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError {
        subscriber.gap();
        loop {
            subscriber.synced_until(Duration::ZERO);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[async_trait]
impl Identify for Quiet {
    async fn identity(&self) -> Result<String, RepositoryError> {
        Ok("benchmark".to_owned())
    }
}

struct NoSubscriber;

impl ChangeSubscriber for NoSubscriber {
    fn changed(&self, _: &Address, _: Generation) {}
    fn synced_until(&self, _: Duration) {}
    fn gap(&self) {}
}
