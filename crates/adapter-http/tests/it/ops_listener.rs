//! The ops listener answers while all workers of the main listener are busy.

use std::{
    io::{ErrorKind, Read},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use domain::{
    click::Click,
    code::CodeLength,
    ports::{ClickRecorder, ClickRecorders, RandomCodes},
};
use serde_json::json;
use test_support::SeededEntropy;

use crate::server::RunningServer;

/// Blocks the worker that records a click, until it is released.
struct BlockingRecorder {
    blocked: Sender<()>,
    released: Arc<Mutex<Receiver<()>>>,
}

impl ClickRecorder for BlockingRecorder {
    fn record(&self, _: &Click<'_>) {
        self.blocked.send(()).expect("the test waits for it");
        self.released.lock().expect("no other thread holds it").recv().expect("the test releases it");
    }
}

struct BlockingRecorders(Mutex<Sender<()>>, Arc<Mutex<Receiver<()>>>);

impl ClickRecorders for BlockingRecorders {
    fn recorder(&self) -> Option<Box<dyn ClickRecorder>> {
        let blocked = self.0.lock().expect("no thread panics while holding it").clone();
        Some(Box::new(BlockingRecorder { blocked, released: Arc::clone(&self.1) }))
    }
}

#[test]
fn metrics_and_health_answer_while_all_workers_are_blocked() {
    let ((blocked, is_blocked), (release, released)) = (channel(), channel());
    let recorders = BlockingRecorders(Mutex::new(blocked), Arc::new(Mutex::new(released)));
    let codes = RandomCodes::new(CodeLength::default(), Arc::new(SeededEntropy::new(9)));
    let server = RunningServer::recording(codes, Arc::new(recorders));
    server.phase.become_ready();
    let made = server.ask("POST", "/api/v1/links", Some(&json!({"url": "https://example.com/"})));
    let code = made.json()["code"].as_str().expect("a link has one").to_owned();

    // The only worker.
    let mut redirect = server.begin(&format!("/{code}"));
    is_blocked.recv_timeout(Duration::from_secs(10)).expect("it records the click");
    let mut waiting = server.begin("/livez");
    waiting.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout can be set");
    let late = waiting.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(late, Err(ErrorKind::WouldBlock), "the worker is blocked");

    for (path, body) in [("/livez", "alive\n"), ("/readyz", "ready\n"), ("/metrics", "up 1\n")] {
        let answer = server.ask_ops(path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
    assert_eq!(server.ask_ops("/health").json()["phase"], "ready");

    release.send(()).expect("it waits");
    let mut answer = String::new();
    redirect.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
}
