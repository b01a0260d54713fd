//! Clients that close their connection early: every process still answers what the store holds.

use std::{
    collections::{HashMap, HashSet},
    net::TcpStream,
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use test_support::FaultProxy;

use crate::support::{Answer, Caller, Connection, Request, Setup, Signpost, code_of, eventually, rounds};

alone_on_both_stores! {
    after_a_hang_up_every_process_redirects_as_the_store_says,
}

/// How long a cache may hold an outdated entry, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(10);

fn processes(setup: &Setup) -> Vec<Signpost> {
    let first = setup.start();
    let second = setup.is_on_postgres().then(|| first.another().start());
    [Some(first), second].into_iter().flatten().collect()
}

/// A pseudorandom number that depends only on `number`.
fn scrambled(number: usize) -> usize {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// Sends the whole request, and resets the connection after `later`.
fn hang_up(caller: &Caller, request: &Request, later: Duration) {
    let stream = TcpStream::connect(caller.address()).expect("it listens");
    let mut connection = Connection::over(stream).expect("it is open");
    connection.write(&request.to_bytes()).expect("the server reads");
    thread::sleep(later);
    let stream = connection.into_stream();
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("the socket can be reset");
}

/// The difference between the store and the answer to a visitor, if there is one.
fn differs(link: &Value, visitor: &Answer) -> Option<String> {
    let right = match link["state"].as_str() {
        Some("deleted") => visitor.status == 410,
        _ => visitor.status == 302 && visitor.header("location") == link["url"].as_str(),
    };
    (!right).then(|| format!("it is {link}, but a visitor gets {visitor:?}"))
}

fn after_a_hang_up_every_process_redirects_as_the_store_says(setup: &Setup) {
    let processes = processes(setup);
    let caller = processes[0].caller();
    let (mut codes, mut kinds) = (Vec::new(), Vec::new());
    for round in 0..rounds(120, 1_000) {
        let dice = scrambled(round);
        let url = format!("https://example.com/{round}");
        let code = caller.code(&url);
        let deleted = dice % 4 >= 2;
        if deleted {
            caller.delete(&code).with_status(200);
        }
        for process in &processes {
            let followed = process.get(&format!("/{code}"));
            assert!(matches!(followed.status, 302 | 410), "{followed:?}");
        }
        let request = match dice % 4 {
            0 => caller.deleting(&code),
            1 => caller.editing(&code, &json!({"url": format!("{url}/edited")})),
            2 => caller.reactivating(&code),
            _ => caller.claiming(&json!({"url": url})),
        };
        let request = request.header("X-Request-Id", &format!("left-{round}"));
        hang_up(&caller, &request, Duration::from_micros(u64::try_from(dice / 4 % 3_000).expect("small")));
        codes.push(code);
        kinds.push(dice % 4);
    }
    assert_every_process_is_right(&caller, &processes, &codes);
    assert!(changes_without_a_caller(&processes[0], &caller, &codes, &kinds) > 0, "no caller left a change behind");
}

/// How many requests whose client left before the answer have changed their link.
fn changes_without_a_caller(server: &Signpost, caller: &Caller, codes: &[String], kinds: &[usize]) -> usize {
    let lines = server.log();
    let left = lines.iter().filter(|line| line["error.type"] == "client-disconnected");
    let left: HashSet<_> = left.filter_map(|line| line["request_id"].as_str()).collect();
    let changed = |(round, kind): (usize, &usize)| {
        let link = caller.read(&codes[round]).with_status(200).json();
        let changed = match kind {
            0 => link["state"] == "deleted",
            1 => link["url"].as_str().is_some_and(|url| url.ends_with("/edited")),
            _ => link["state"] == "active",
        };
        left.contains(format!("left-{round}").as_str()) && changed
    };
    kinds.iter().enumerate().filter(|kind| changed(*kind)).count()
}

fn assert_every_process_is_right(caller: &Caller, processes: &[Signpost], codes: &[String]) {
    let wrong = || -> Vec<String> {
        // Visitors before the list: reading a link by its code would update the cache.
        let follow = |(process, code): (&Signpost, &String)| (code.clone(), process.get(&format!("/{code}")));
        let all = processes.iter().flat_map(|process| codes.iter().map(move |code| (process, code)));
        let visitors: Vec<_> = all.map(follow).collect();
        let links = caller.walk("/api/v1/links?limit=100");
        let links: HashMap<_, _> = links.into_iter().map(|link| (code_of(&link), link)).collect();
        visitors.iter().filter_map(|(code, visitor)| differs(&links[code], visitor)).collect()
    };
    let right = eventually(BOUND, || wrong().is_empty());
    assert!(right, "{:#?}", wrong());
}

/// The caller was told that the outcome is unknown, and the deletion was done a moment later.
#[test]
fn a_request_that_timed_out_leaves_no_outdated_cache_entry() {
    let direct = Signpost::on_postgres().patient().start();
    let (proxy, url) = proxied(&direct);
    let slow = direct.another().set("store.url", &url).set("store.statement_timeout", "150ms");
    let slow = slow.set("http.request_timeout", "300ms").start();
    let caller = direct.caller();
    let (mut codes, mut unknown) = (Vec::new(), 0);
    for round in 0..rounds(20, 200) {
        let code = caller.code(&format!("https://example.com/{round}"));
        assert_eq!(slow.get(&format!("/{code}")).status, 302);
        // The reply to each statement of a deletion comes a little later each round, until one of the statements times
        // out.
        proxy.delay(Duration::from_millis(u64::try_from(20 + 5 * (round % 20)).expect("small")));
        let answer = caller.at(&slow).delete(&code);
        proxy.delay(Duration::ZERO);
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        unknown += usize::from(answer.status == 503);
        codes.push(code);
    }
    assert!(unknown > 0, "no request ran out of time");
    assert_every_process_is_right(&caller, &[direct, slow], &codes);
}

/// A proxy to the database that the test can disturb, and the URL through it.
fn proxied(server: &Signpost) -> (FaultProxy, String) {
    let database = server.database();
    let url = database.url();
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok());
    let proxy = FaultProxy::before(([127, 0, 0, 1], port.expect("the URL has a port")).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    (proxy, url)
}
