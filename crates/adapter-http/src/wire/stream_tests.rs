//! The guarded stream over an in-memory pipe: what passes, when, and what takes its place.

use std::{future::poll_fn, io, sync::Arc, time::Duration};

use actix_rt::net::{ActixStream as _, UnixStream};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{GuardedStream, Rejection, WireLimits, stream::CONTINUE};

const NONCE: &str = "0123456789abcdef0123456789abcdef";
const GET: &[u8] = b"GET /abc HTTP/1.1\r\nHost: go.example\r\n\r\n";
const CHUNKED_POST: &[u8] = b"POST /abc HTTP/1.1\r\nHost: go.example\r\nTransfer-Encoding: chunked\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const SHORT: Duration = Duration::from_millis(20);

fn patient() -> WireLimits {
    let patience = Duration::from_hours(1);
    WireLimits {
        head_bytes: 16 * 1024,
        headers: 100,
        head_timeout: patience,
        body_timeout: patience,
        answer_timeout: patience,
    }
}

/// A peer, and the server's guarded end of the connection to it.
fn connection(limits: WireLimits) -> (DuplexStream, GuardedStream<DuplexStream>) {
    let (peer, server) = duplex(1024 * 1024);
    (peer, GuardedStream::new(server, limits, Arc::from(NONCE)))
}

async fn send(peer: &mut DuplexStream, bytes: &[u8]) {
    peer.write_all(bytes).await.expect("the pipe is open and large enough");
}

async fn read(stream: &mut GuardedStream<DuplexStream>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 8192];
    let count = stream.read(&mut bytes).await?;
    bytes.truncate(count);
    Ok(bytes)
}

/// What can be read without waiting, if anything.
fn read_now(stream: &mut GuardedStream<DuplexStream>) -> Option<Vec<u8>> {
    read(stream).now_or_never().map(|outcome| outcome.expect("readable"))
}

#[tokio::test]
async fn good_request_passes_at_once() {
    let (mut peer, mut stream) = connection(patient());

    send(&mut peer, GET).await;

    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
}

#[tokio::test]
async fn head_in_pieces_passes_once_it_is_whole() {
    let (mut peer, mut stream) = connection(patient());

    send(&mut peer, &GET[..20]).await;
    assert_eq!(read_now(&mut stream), None);
    send(&mut peer, &GET[20..]).await;

    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
}

#[tokio::test]
async fn small_reader_gets_a_large_head_in_pieces() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, GET).await;

    let mut received = Vec::new();
    let mut piece = [0; 7];
    while received.len() < GET.len() {
        let count = stream.read(&mut piece).await.expect("readable");
        received.extend_from_slice(&piece[..count]);
    }

    assert_eq!(received, GET);
}

#[tokio::test]
async fn next_request_waits_for_the_answer_to_the_one_before() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, &[GET, GET].concat()).await;

    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
    assert_eq!(read_now(&mut stream), None);
    stream.write_all(ANSWER).await.expect("writable");

    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
}

const EXPECTING: &[u8] =
    b"POST / HTTP/1.1\r\nHost: client.example\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n";
const AS_READ: &[u8] = b"POST / HTTP/1.1\r\nHost: client.example\r\nContent-Length: 4\r\n\r\n";

#[tokio::test]
async fn client_gets_100_continue_when_its_body_is_asked_for() {
    let (mut peer, mut stream) = connection(patient());
    let flow = stream.flow();
    send(&mut peer, EXPECTING).await;

    assert_eq!(read_now(&mut stream).as_deref(), Some(AS_READ));
    assert_eq!(read_now(&mut stream), None);
    assert!(flow.is_waited_for());
    flow.wants_more();
    assert_eq!(read_now(&mut stream), None);

    let mut told = [0; 25];
    peer.read_exact(&mut told).await.expect("it is told");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut peer, b"body").await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(&b"body"[..]));
}

#[tokio::test]
async fn client_that_waits_behind_a_long_answer_gets_100_continue() {
    let (mut peer, mut stream) = connection(patient());
    let flow = stream.flow();
    send(&mut peer, &[GET, EXPECTING].concat()).await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
    stream.write_all(ANSWER).await.expect("writable");
    assert_eq!(read_now(&mut stream).as_deref(), Some(AS_READ));
    // The rest of the answer to the first one.
    stream.write_all(b"more").await.expect("writable");
    assert!(flow.is_waited_for());
    flow.wants_more();
    assert_eq!(read_now(&mut stream), None);
    let mut told = vec![0; ANSWER.len() + 4 + CONTINUE.len()];
    peer.read_exact(&mut told).await.expect("it is told");
    assert!(told.ends_with(b"moreHTTP/1.1 100 Continue\r\n\r\n"));
}

#[tokio::test]
async fn expectations_never_reach_the_parser_behind() {
    for (expect, waits) in [
        ("100-continue,", true),
        ("x, 100-Continue", true),
        ("100-continue, 100-continue", true),
        ("100-continue\r\nExpect: x", true),
        ("x", false),
        ("", false),
    ] {
        let (mut peer, mut stream) = connection(patient());
        let head = format!("POST / HTTP/1.1\r\nHost: client.example\r\nExpect: {expect}\r\nContent-Length: 4\r\n\r\n");
        send(&mut peer, head.as_bytes()).await;
        assert_eq!(read_now(&mut stream).as_deref(), Some(AS_READ), "{expect}");
        assert_eq!(stream.flow().is_waited_for(), waits, "{expect}");
    }
}

#[tokio::test]
async fn client_that_has_its_answer_or_sends_gets_no_100_continue() {
    for sends in [true, false] {
        let (mut peer, mut stream) = connection(patient());
        let flow = stream.flow();
        send(&mut peer, EXPECTING).await;
        assert_eq!(read_now(&mut stream).as_deref(), Some(AS_READ));
        if sends {
            send(&mut peer, b"bo").await;
            assert_eq!(read_now(&mut stream).as_deref(), Some(&b"bo"[..]));
        }
        stream.write_all(ANSWER).await.expect("writable");
        assert_eq!(flow.is_waited_for(), !sends);
        assert_eq!(read_now(&mut stream), None);
        let mut read = vec![0; ANSWER.len()];
        peer.read_exact(&mut read).await.expect("the answer");
        assert_eq!(read, ANSWER, "and nothing before it");
    }
}

#[tokio::test]
async fn answer_wakes_the_reader_of_a_request_that_waited() {
    let (mut peer, stream) = connection(patient());
    send(&mut peer, &[GET, GET].concat()).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut bytes = [0; 8192];
    assert_eq!(reader.read(&mut bytes).await.expect("readable"), GET.len());

    let next_request = async { reader.read(&mut bytes).await.expect("readable") };
    let answer = async { writer.write_all(ANSWER).await.expect("writable") };
    let (count, ()) = tokio::join!(next_request, answer);

    assert_eq!(count, GET.len());
}

#[tokio::test]
async fn end_of_the_stream_waits_for_the_answer() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, GET).await;
    peer.shutdown().await.expect("the pipe is open");

    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
    assert_eq!(read_now(&mut stream), None);
    stream.write_all(ANSWER).await.expect("writable");

    assert_eq!(read_now(&mut stream), Some(Vec::new()));
}

#[tokio::test]
async fn end_of_the_stream_within_a_head_or_a_body_passes_at_once() {
    for begun in [&GET[..20], b""] {
        let (mut peer, mut stream) = connection(patient());
        send(&mut peer, begun).await;
        drop(peer);
        assert_eq!(read_now(&mut stream), Some(Vec::new()));
    }

    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, CHUNKED_POST).await;
    drop(peer);
    assert_eq!(read_now(&mut stream).as_deref(), Some(CHUNKED_POST));
    assert_eq!(read_now(&mut stream), Some(Vec::new()));
}

#[tokio::test]
async fn bad_head_is_replaced_by_the_last_request_of_the_connection() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, b"GET /abc HTTP/1.1\nHost: go.example\r\n\r\n").await;
    send(&mut peer, GET).await;

    let replacement = format!(
        "GET /.rejected HTTP/1.1\r\nhost: rejected.invalid\r\nconnection: close\r\n\
         x-signpost-rejected: {NONCE} malformed\r\n\r\n"
    );
    assert_eq!(read_now(&mut stream), Some(replacement.into_bytes()));
    assert_eq!(read_now(&mut stream), None);
    stream.write_all(ANSWER).await.expect("writable");
    assert_eq!(read_now(&mut stream), Some(Vec::new()));
}

#[tokio::test]
async fn bad_head_behind_a_good_request_waits_its_turn() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, &[GET, b"\n"].concat()).await;

    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
    assert_eq!(read_now(&mut stream), None);
    stream.write_all(ANSWER).await.expect("writable");

    assert_eq!(read_now(&mut stream), Some(Rejection::Malformed.as_request(NONCE).into_bytes()));
}

#[tokio::test]
async fn chunk_that_breaks_its_framing_ends_the_stream_for_the_handler_to_answer() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, CHUNKED_POST).await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(CHUNKED_POST));

    send(&mut peer, b"5\nhello").await;

    let rest = read(&mut stream).await.expect("the stream ends in good order");
    assert!(rest.is_empty(), "a bare LF ends no chunk size");
}

/// The dispatcher would take all it can get, long before a handler asks for it.
#[tokio::test]
async fn body_passes_no_further_than_it_is_read() {
    let (mut peer, mut stream) = connection(patient());
    let head = b"POST /abc HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n";
    send(&mut peer, head).await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(head.as_slice()));
    send(&mut peer, &vec![b'x'; 65_536]).await;
    let flow = stream.flow();
    let mut passed = 0;
    for _ in 0..8 {
        while let Some(bytes) = read_now(&mut stream) {
            passed += bytes.len();
        }
        let before = passed;
        assert!(passed > 0 && passed < 65_536, "{passed} bytes passed");
        flow.wants_more();
        passed += read_now(&mut stream).expect("the reader wants more").len();
        assert!(passed - before <= 12 * 1024);
        if passed >= 40_000 {
            break;
        }
    }
    // Once it is answered, the rest has no reader: little of it passes, and then the stream ends.
    stream.write_all(ANSWER).await.expect("writable");
    let mut rest = 0;
    loop {
        let bytes = read(&mut stream).await.expect("readable");
        if bytes.is_empty() {
            break;
        }
        rest += bytes.len();
    }
    assert!(rest <= 8 * 1024, "{rest} bytes passed");
}

/// Behind the guard each chunk is queued by itself, however small it is.
#[tokio::test]
async fn chunks_pass_no_further_than_they_are_read_however_small_they_are() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, &[CHUNKED_POST, "1\r\nx\r\n".repeat(3_000).as_bytes()].concat()).await;
    let mut passed = 0;
    while let Some(bytes) = read_now(&mut stream) {
        passed += bytes.len();
    }
    let chunks = (passed - CHUNKED_POST.len()) / 6;
    assert!((1..=256).contains(&chunks), "{chunks} chunks passed");
}

#[tokio::test]
async fn body_is_cut_off_soon_after_its_answer_has_begun() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, CHUNKED_POST).await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(CHUNKED_POST));
    stream.write_all(ANSWER).await.expect("writable");

    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    send(&mut peer, chunk.repeat(256).as_bytes()).await;

    let mut passed = 0;
    loop {
        let bytes = read(&mut stream).await.expect("readable");
        if bytes.is_empty() {
            break;
        }
        passed += bytes.len();
    }
    assert!((4 * 1024..=8 * 1024).contains(&passed), "{passed} bytes passed");
    assert_eq!(read_now(&mut stream), Some(Vec::new()));
}

#[tokio::test]
async fn half_a_head_is_refused_when_its_time_is_over() {
    for before in [b"".as_slice(), GET] {
        let (mut peer, mut stream) = connection(WireLimits { head_timeout: SHORT, ..patient() });
        if !before.is_empty() {
            send(&mut peer, before).await;
            assert_eq!(read_now(&mut stream).as_deref(), Some(before));
            stream.write_all(ANSWER).await.expect("writable");
        }

        send(&mut peer, b"GET /abc HTTP/1.1\r\nHost").await;

        let bytes = read(&mut stream).await.expect("readable");
        assert_eq!(bytes, Rejection::HeadTimeout.as_request(NONCE).into_bytes());
    }
}

#[tokio::test]
async fn silent_connection_ends_without_an_answer() {
    let (_peer, mut stream) = connection(WireLimits { head_timeout: SHORT, ..patient() });

    assert_eq!(read(&mut stream).await.expect("readable"), b"");
}

#[tokio::test]
async fn slow_body_ends_when_its_time_is_over() {
    let (mut peer, mut stream) = connection(WireLimits { body_timeout: SHORT, ..patient() });
    send(&mut peer, CHUNKED_POST).await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(CHUNKED_POST));

    send(&mut peer, b"5\r\nhe").await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(b"5\r\nhe".as_slice()));

    assert_eq!(read(&mut stream).await.expect("readable"), b"");
}

#[tokio::test]
async fn closing_takes_what_a_refused_peer_still_sends() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, b"\n").await;
    assert!(read_now(&mut stream).is_some());
    stream.write_all(ANSWER).await.expect("writable");

    assert!(stream.shutdown().now_or_never().is_none(), "the peer has not finished");
    send(&mut peer, GET).await;
    drop(peer);

    stream.shutdown().await.expect("the peer has finished");
}

#[tokio::test]
async fn closing_an_idle_connection_does_not_wait() {
    let (mut peer, mut stream) = connection(patient());
    send(&mut peer, GET).await;
    assert_eq!(read_now(&mut stream).as_deref(), Some(GET));
    stream.write_all(ANSWER).await.expect("writable");

    assert!(stream.shutdown().now_or_never().is_some());
}

#[tokio::test]
async fn stream_is_ready_while_it_holds_bytes_that_may_pass() {
    let (mut peer, server) = UnixStream::pair().expect("a pair of sockets");
    let mut stream = GuardedStream::new(server, patient(), Arc::from(NONCE));
    // Bare LF: what may pass is the replacement, longer than the reader below takes at once.
    peer.write_all(b"\n").await.expect("writable");
    let mut piece = [0; 7];
    assert_eq!(stream.read(&mut piece).await.expect("readable"), piece.len());

    let readiness = poll_fn(|cx| stream.poll_read_ready(cx)).now_or_never();

    assert!(readiness.is_some_and(|outcome| outcome.expect("ready").is_readable()));
}

/// The server's guarded end of a connection whose pipe takes a kilobyte.
fn narrow_connection(limits: WireLimits) -> (DuplexStream, GuardedStream<DuplexStream>) {
    let (peer, server) = duplex(1024);
    (peer, GuardedStream::new(server, limits, Arc::from(NONCE)))
}

#[tokio::test]
async fn a_peer_that_does_not_take_its_answer_is_given_up() {
    let (_peer, mut stream) = narrow_connection(WireLimits { answer_timeout: SHORT, ..patient() });
    let given_up = stream.write_all(&[b'x'; 10_000]).await.expect_err("the peer reads nothing");
    assert_eq!(given_up.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_little_now_and_then_is_given_up_too() {
    let (mut peer, mut stream) = narrow_connection(WireLimits { answer_timeout: Duration::from_secs(10), ..patient() });
    let taking = async {
        let mut piece = [0; 100];
        while peer.read(&mut piece).await.is_ok_and(|count| count > 0) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let answer = vec![b'x'; 1_000_000];
    let written = async {
        let written = stream.write_all(&answer).await;
        drop(stream);
        written
    };
    let (written, ()) = tokio::join!(written, taking);
    assert_eq!(written.expect_err("it is too slow").kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_that_takes_enough_gets_all_of_it() {
    let (mut peer, mut stream) = narrow_connection(WireLimits { answer_timeout: Duration::from_secs(10), ..patient() });
    let taking = async {
        let (mut piece, mut taken) = ([0; 1_000], 0);
        while taken < 300_000 {
            taken += peer.read(&mut piece).await.expect("it comes");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let answer = vec![b'x'; 300_000];
    let (written, ()) = tokio::join!(stream.write_all(&answer), taking);
    written.expect("it is fast enough");
    // A pause between two answers does not count as a pause within one.
    tokio::time::sleep(Duration::from_hours(1)).await;
    stream.write_all(ANSWER).await.expect("there is room");
}

#[tokio::test]
async fn next_request_waits_while_the_answer_before_it_is_not_taken() {
    let (mut peer, stream) = narrow_connection(patient());
    send(&mut peer, &[GET, GET].concat()).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut bytes = [0; 8192];
    assert_eq!(reader.read(&mut bytes).await.expect("readable"), GET.len());

    // The answer has begun, but the pipe takes a kilobyte of it.
    let answer = vec![b'x'; 1_500];
    let mut rest = Box::pin(writer.write_all(&answer));
    assert!(rest.as_mut().now_or_never().is_none());
    assert!(reader.read(&mut bytes).now_or_never().is_none(), "another answer would be made, and wait");

    let mut taken = vec![0; answer.len()];
    let (taken, written) = tokio::join!(peer.read_exact(&mut taken), rest);
    assert_eq!(taken.expect("it comes"), answer.len());
    written.expect("it is taken");
    assert_eq!(reader.read(&mut bytes).await.expect("readable"), GET.len());
}

/// The answer timeout holds however small the pieces are in which an answer is written.
#[tokio::test(start_paused = true)]
async fn a_peer_gains_no_time_by_answers_in_small_pieces() {
    let (mut peer, mut stream) = narrow_connection(WireLimits { answer_timeout: Duration::from_secs(10), ..patient() });
    let taking = async {
        let mut piece = [0; 100];
        while peer.read(&mut piece).await.is_ok_and(|count| count > 0) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let written = async {
        let mut outcome = Ok(());
        for _ in 0..1_000 {
            outcome = stream.write_all(&[b'x'; 500]).await;
            if outcome.is_err() {
                break;
            }
        }
        drop(stream);
        outcome
    };
    let (written, ()) = tokio::join!(written, taking);
    assert_eq!(written.expect_err("it is too slow").kind(), io::ErrorKind::TimedOut);
}
