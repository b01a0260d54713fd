//! The guarded stream under the real dispatcher, whose behaviour it has to contain.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use actix_http::{HttpServiceBuilder, Request, Response, StatusCode};
use actix_service::{Service as _, ServiceFactory as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::yield_now,
};

use super::{GuardedStream, WireLimits, rejection::REJECTED_PATH};

const LIMITS: WireLimits = WireLimits {
    head_bytes: 16 * 1024,
    headers: 100,
    head_timeout: Duration::from_secs(10),
    body_timeout: Duration::from_secs(10),
    answer_timeout: Duration::from_secs(10),
};

/// All that the server answers on a connection over which `sent` arrives at once and nothing after it.
///
/// The peer keeps its half of the connection open: the server has to close it.
async fn answers_to(sent: &[u8]) -> String {
    let (mut peer, server) = duplex(1024 * 1024);
    let stream = GuardedStream::new(server, LIMITS, Arc::from("nonce"));
    let mut received = Vec::new();
    let talk = async {
        peer.write_all(sent).await.expect("the pipe is large enough");
        peer.read_to_end(&mut received).await.expect("the server closes in good order");
        drop(peer);
    };
    tokio::join!(serve(stream), talk);
    String::from_utf8(received).expect("the answers of these tests are text")
}

async fn serve(stream: GuardedStream<DuplexStream>) {
    let factory = HttpServiceBuilder::<GuardedStream<DuplexStream>, _, _, _>::default()
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(Duration::from_secs(1))
        .h1(|request: Request| async move {
            if request.path() == "/slow" {
                // The dispatcher polls a handler twice before it reads again.
                for _ in 0..4 {
                    yield_now().await;
                }
            }
            let body = if request.path() == REJECTED_PATH { "refused" } else { "welcome" };
            Ok::<_, Infallible>(Response::with_body(StatusCode::OK, body))
        });
    let service = factory.new_service(()).await.expect("nothing to set up");
    service.call((stream, None::<SocketAddr>)).await.expect("the connection ends in good order");
}

fn bodies(answers: &str) -> Vec<&str> {
    answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer.split_once("\r\n\r\n").map_or("", |(_, body)| body))
        .collect()
}

#[actix_rt::test]
async fn head_request_behind_a_slow_get_leaves_its_body_alone() {
    let answers = answers_to(
        b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n\
          HEAD /abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;

    assert_eq!(bodies(&answers), ["welcome", ""]);
    assert_eq!(answers.matches("connection: close").count(), 1);
}

#[actix_rt::test]
async fn bad_head_behind_a_slow_request_is_answered_after_it_and_last() {
    let answers = answers_to(
        b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n\
          GET /abc HTTP/1.1\r\n\r\n\
          GET /abc HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;

    assert_eq!(bodies(&answers), ["welcome", "refused"]);
    assert!(answers.ends_with("\r\n\r\nrefused"));
}

#[actix_rt::test]
async fn many_pipelined_requests_are_all_answered() {
    let mut sent = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40);
    sent.extend_from_slice(b"GET /abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    assert_eq!(bodies(&answers_to(&sent).await), ["welcome"; 41]);
}

#[actix_rt::test]
async fn endless_body_that_no_handler_reads_does_not_keep_the_connection() {
    let mut sent = b"POST /abc HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    sent.extend_from_slice(&b"4\r\nabcd\r\n".repeat(64 * 1024));

    assert_eq!(bodies(&answers_to(&sent).await), ["welcome"]);
}
