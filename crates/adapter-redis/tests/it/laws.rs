//! Guarantees that only a shared cache can break, on a real Redis that is also frozen, killed or filled with junk.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
    time::Duration,
};

use domain::{lifecycle::Resolution, link::LinkState};
use test_support::{Direction, FaultProxy, MemoryStore, RedisServer};
use tokio::time::{Instant, sleep};

use crate::process::{PATIENCE, Process, code, eventually, identity};

async fn two_processes(redis: &RedisServer) -> (Process, Process) {
    let store = Arc::new(MemoryStore::default());
    let one = Process::on(Arc::clone(&store), &redis.url());
    one.trusts_redis().await;
    let other = Process::on(store, &redis.url());
    assert!(eventually(async || other.shares(&code("probe")).await).await, "it does not trust Redis");
    (one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_one_process_got_from_the_store_is_read_by_another() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    let link = one.link("known").await;
    assert!(eventually(async || one.shares(&link.address()).await).await);
    let asked = other.times_asked();
    let resolved = other.resolve(&link.address()).await;
    assert_eq!(resolved.resolution, Some(Arc::new(Resolution::from(&link))));
    assert_eq!(other.times_asked(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_processes_see_a_change_when_it_is_acknowledged() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    for round in 0..50 {
        let link = one.link(&format!("changing-{round}")).await;
        assert!(eventually(async || other.shares(&link.address()).await).await);
        let gone = one.delete(&link).await;
        let resolved = other.resolve(&link.address()).await.resolution.expect("it is known");
        assert!(matches!(resolved.state, LinkState::Deleted { .. }));
        assert!(eventually(async || other.told.of(&gone)).await, "its watcher is not told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_change_is_outdated_in_redis_before_it_is_passed_on() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    for round in 0..50 {
        let link = one.link(&format!("changed-{round}")).await;
        assert!(eventually(async || other.shares(&link.address()).await).await);
        // As a process without Redis does.
        let gone = one.subject.delete(&link).await;
        other.feed.tell_of(&gone);
        assert!(eventually(async || other.told.of(&gone)).await, "its watcher is not told");
        let resolved = other.resolve(&link.address()).await.resolution.expect("it is known");
        assert!(matches!(resolved.state, LinkState::Deleted { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_fill_does_not_bring_a_deleted_link_back() {
    let redis = RedisServer::start();
    let store = Arc::new(MemoryStore::default());
    let one = Process::on(Arc::clone(&store), &redis.url());
    one.trusts_redis().await;
    let proxy = FaultProxy::before(([127, 0, 0, 1], redis.port()).into());
    let slow = Process::on(store, &format!("redis://{}", proxy.address()));
    assert!(eventually(async || slow.shares(&code("probe")).await).await, "it does not trust Redis");

    let link = one.link("filled").await;
    // Holds the read and the write that follows it, but nothing on the next connection.
    proxy.hold_requests_with(b":filled");
    slow.resolve(&link.address()).await;
    assert!(proxy.has_caught_something(), "it writes nothing down");
    let gone = one.delete(&link).await;
    let before = proxy.connections_made();
    assert!(eventually(async || proxy.connections_made() > before).await, "it waits for ever");
    proxy.let_go();
    assert!(proxy.has_settled(), "what was held is not delivered");
    for _ in 0..20 {
        let resolved = one.resolve(&link.address()).await.resolution.expect("it is known");
        assert_eq!(resolved.generation, gone.generation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_costs_five_timeouts_and_is_used_again_when_it_thaws() {
    let redis = RedisServer::start();
    let store = Arc::new(MemoryStore::default());
    let process = Process::on(store, &redis.url());
    process.trusts_redis().await;
    let link = process.link("cold").await;
    redis.freeze();
    let begun = Instant::now();
    let mut slow = 0;
    for _ in 0..200 {
        let asked = Instant::now();
        process.resolve(&link.address()).await;
        slow += usize::from(asked.elapsed() > Duration::from_millis(40));
    }
    assert!(slow <= 8, "{slow} of 200 had to wait");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let asked = Instant::now();
    process.delete(&link).await;
    assert!(asked.elapsed() < Duration::from_secs(1));

    redis.thaw();
    process.trusts_redis().await;
    assert!(eventually(async || process.shares(&link.address()).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_from_before_redis_hung_are_not_trusted_after_it() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    let link = one.link("hung").await;
    assert!(eventually(async || other.shares(&link.address()).await).await);
    redis.freeze();
    let gone = one.delete(&link).await;
    one.feed.tell_of(&gone);
    other.feed.tell_of(&gone);
    assert!(eventually(async || other.told.of(&gone)).await);
    redis.thaw();
    let deadline = Instant::now() + Duration::from_secs(13);
    while Instant::now() < deadline {
        for process in [&one, &other] {
            let resolved = process.resolve(&link.address()).await.resolution.expect("it is known");
            assert_eq!(resolved.generation, gone.generation, "it is back");
        }
        sleep(Duration::from_millis(5)).await;
    }
    one.trusts_redis().await;
    assert_eq!(one.resolve(&link.address()).await.resolution.expect("it is known").generation, gone.generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_used_again_after_a_restart() {
    let redis = RedisServer::start();
    let process = Process::on(Arc::default(), &redis.url());
    process.trusts_redis().await;
    redis.kill();
    process.does_without_redis().await;
    redis.restart();
    process.trusts_redis().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_filled_again() {
    let redis = RedisServer::start();
    let process = Process::on(Arc::default(), &redis.url());
    process.trusts_redis().await;
    assert_eq!(redis.command(&["FLUSHALL"]), "OK");
    process.does_without_redis().await;
    process.trusts_redis().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_its_change_feed_does_not_trust_redis() {
    let redis = RedisServer::start();
    let process = Process::on(Arc::default(), &redis.url());
    process.trusts_redis().await;
    let link = process.link("unheard").await;
    assert!(eventually(async || process.shares(&link.address()).await).await);
    process.feed.be_deaf(true);
    process.does_without_redis().await;
    let gone = process.subject.delete(&link).await;
    process.feed.be_deaf(false);
    let deadline = Instant::now() + PATIENCE;
    while !process.shares(&code("probe")).await {
        let resolved = process.resolve(&link.address()).await.resolution.expect("it is known");
        assert_eq!(resolved.generation, gone.generation, "what it did not hear of is believed");
        assert!(Instant::now() < deadline, "it does not trust Redis again");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(process.resolve(&link.address()).await.resolution.expect("it is known").generation, gone.generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_redis_share_no_entries() {
    let redis = RedisServer::start();
    let (one, other) = (Process::on(Arc::default(), &redis.url()), Process::on(Arc::default(), &redis.url()));
    one.trusts_redis().await;
    let link = one.link("mine").await;
    assert!(eventually(async || one.shares(&link.address()).await).await);
    other.trusts_redis().await;
    assert_eq!(other.resolve(&link.address()).await.resolution, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_another_client_is_no_link() {
    let redis = RedisServer::start();
    let process = Process::on(Arc::default(), &redis.url());
    process.trusts_redis().await;
    let link = process.link("strange").await;
    assert!(eventually(async || process.shares(&link.address()).await).await);
    let key = redis.command(&["KEYS", "*:strange"]);
    for strange in [&["LPUSH", &key, "x"][..], &["SET", &key, "nonsense"], &["SET", &key, "3 {\"behaviour\":1}"]] {
        redis.command(&["DEL", &key]);
        assert!(["OK", "1"].contains(&redis.command(strange).as_str()), "{strange:?}");
        let resolved = process.resolve(&link.address()).await;
        assert_eq!(resolved.resolution, Some(Arc::new(Resolution::from(&link))), "{strange:?}");
    }
    assert!(eventually(async || process.shares(&code("probe")).await).await, "it gave Redis up for that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_loads_or_replies_with_junk_is_not_used() {
    for reply in ["-LOADING Redis is loading the dataset in memory\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut some = [0; 1_024];
                    while stream.read(&mut some).is_ok_and(|read| read > 0)
                        && stream.write_all(reply.as_bytes()).is_ok()
                    {}
                });
            }
        });
        let process = Process::on(Arc::default(), &format!("redis://{address}"));
        let link = process.link("loading").await;
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(!process.shares(&link.address()).await);
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_broken_connection_to_redis_fails_no_request() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::before(([127, 0, 0, 1], redis.port()).into());
    let process = Process::on(Arc::default(), &format!("redis://{}", proxy.address()));
    process.trusts_redis().await;
    let mut link = process.link("troubled").await;
    let troubles: [(&str, &dyn Fn()); 5] = [
        ("late", &|| proxy.delay(Duration::from_millis(200))),
        ("sliced", &|| proxy.slice(1)),
        ("cut", &|| proxy.cut()),
        ("reset", &|| proxy.reset()),
        ("silent", &|| proxy.hold(Direction::Replies)),
    ];
    for (name, trouble) in troubles {
        trouble();
        for _ in 0..20 {
            let resolved = process.resolve(&link.address()).await.resolution.expect("it is known");
            assert_eq!(resolved.generation, link.generation, "{name}");
            let gone = process.delete(&link).await;
            assert_eq!(
                process.resolve(&link.address()).await.resolution.expect("it is known").generation,
                gone.generation
            );
            link = process.subject.reactivate(&gone).await;
            process.feed.tell_of(&link);
            assert!(eventually(async || process.told.of(&link)).await, "{name}");
        }
        proxy.delay(Duration::ZERO);
        proxy.slice(usize::MAX);
        proxy.let_go();
    }
}

/// As after a clock was set back, and as after a client removed the expiry of the key.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_from_the_future_or_from_long_ago_is_ignored() {
    for held_until in ["9000000000000", "1000"] {
        let redis = RedisServer::start();
        let store = Arc::new(MemoryStore::default());
        let epoch = format!("signpost:4:{}:epoch", identity(&store));
        assert_eq!(redis.command(&["SET", &epoch, &format!("strange {held_until}")]), "OK");
        let process = Process::on(store, &redis.url());
        process.trusts_redis().await;
        assert!(!redis.command(&["GET", &epoch]).starts_with("strange"));
    }
}

/// A primary with a replica, and a sentinel that watches them.
struct Watched {
    primary: Arc<RedisServer>,
    replica: Arc<RedisServer>,
    sentinel: Arc<RedisServer>,
}

impl Watched {
    async fn start() -> Self {
        let (primary, replica) = (RedisServer::start(), RedisServer::start());
        let port = primary.port().to_string();
        assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
        let sentinel = RedisServer::start_sentinel();
        for told in [
            &["SENTINEL", "MONITOR", "links", "127.0.0.1", &port, "1"][..],
            &["SENTINEL", "SET", "links", "down-after-milliseconds", "500"],
            &["SENTINEL", "SET", "links", "failover-timeout", "2000"],
        ] {
            assert_eq!(sentinel.command(told), "OK");
        }
        // A replica that is not in sync cannot be promoted. So this waits until the replica and the sentinel report it
        // in sync.
        let follows = async || replica.command(&["ROLE"]).lines().nth(3) == Some("connected");
        assert!(eventually(follows).await, "the replica does not follow");
        let known = async || {
            let replicas = sentinel.command(&["SENTINEL", "REPLICAS", "links"]);
            let port = replica.port().to_string();
            [port.as_str(), "master-link-status\nok"].iter().all(|told| replicas.contains(told))
        };
        assert!(eventually(known).await, "the sentinel does not find the replica");
        Self { primary, replica, sentinel }
    }

    /// Names two sentinels, of which the first is down.
    fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/links/0", self.sentinel.port())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_the_next_primary() {
    let watched = Watched::start().await;
    let process = Process::on(Arc::default(), &watched.url());
    process.trusts_redis().await;
    let link = process.link("watched").await;
    assert!(eventually(async || process.shares(&link.address()).await).await);

    watched.primary.kill();
    let gone = process.delete(&link).await;
    let is_primary = async || watched.replica.command(&["ROLE"]).starts_with("master");
    assert!(eventually(is_primary).await, "the replica is not promoted");
    process.trusts_redis().await;
    assert!(eventually(async || process.shares(&link.address()).await).await);
    assert_eq!(process.resolve(&link.address()).await.resolution.expect("it is known").generation, gone.generation);
}
