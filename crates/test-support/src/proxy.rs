//! A proxy that stands between a service and what it depends on, and misbehaves as a network can.
//!
//! Every byte of every connection goes through threads of this process, so that a test can hold them back in either
//! direction, deliver them after their sender is gone, slow them down, slice them, or cut the line.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;

/// How long a test waits for what has to happen.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The proxy. It listens on a port of its own; dropped, it cuts every connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    line: Arc<Line>,
}

/// One way through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the service to what it depends on.
    Requests,
    /// And back.
    Replies,
}

/// What all connections share.
#[derive(Debug, Default)]
struct Line {
    faults: Mutex<Faults>,
    changed: Condvar,
    /// Connections that were made so far.
    made: AtomicUsize,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Faults {
    held: Vec<Direction>,
    /// A connection whose requests contain this is held from there on.
    trigger: Option<Vec<u8>>,
    delay: Duration,
    slice: Option<usize>,
    refused: bool,
    connections: Vec<Connection>,
    /// Connections held by the trigger that have not ended since.
    caught: Vec<usize>,
}

#[derive(Debug)]
struct Connection {
    number: usize,
    service: TcpStream,
    dependency: TcpStream,
}

impl FaultProxy {
    /// In front of what listens at `dependency`, as if it were not there.
    pub fn before(dependency: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let line = Arc::new(Line::default());
        let accepting = Arc::clone(&line);
        thread::spawn(move || accept(&accepting, &listener, dependency));
        Self { address, line }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds back what goes that way from now on, on every connection.
    pub fn hold(&self, direction: Direction) {
        self.line.change(|faults| faults.held.push(direction));
    }

    /// Holds back the requests of the connection on which these bytes are sent, beginning with them.
    pub fn hold_requests_with(&self, bytes: &[u8]) {
        self.line.change(|faults| faults.trigger = Some(bytes.to_vec()));
    }

    /// Whether the bytes of [`FaultProxy::hold_requests_with`] have come; waits for it.
    #[must_use]
    pub fn has_caught_something(&self) -> bool {
        self.line.wait_until(|faults| !faults.caught.is_empty())
    }

    /// Delivers all that is held, also of services that have gone meanwhile, and holds nothing any more.
    pub fn let_go(&self) {
        self.line.change(|faults| {
            faults.held.clear();
            faults.trigger = None;
        });
    }

    /// Whether every connection that was held by its bytes has ended on both sides; waits for it.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        self.line.wait_until(|faults| faults.caught.is_empty())
    }

    /// Every reply comes this much later.
    pub fn delay(&self, delay: Duration) {
        self.line.change(|faults| faults.delay = delay);
    }

    /// Everything comes in pieces of so many bytes.
    pub fn slice(&self, bytes: usize) {
        self.line.change(|faults| faults.slice = Some(bytes.max(1)));
    }

    /// Closes every connection, as a server does that ends in order.
    pub fn cut(&self) {
        self.line.change(|faults| {
            for connection in faults.connections.drain(..) {
                let _ended = connection.service.shutdown(Shutdown::Both);
                let _ended = connection.dependency.shutdown(Shutdown::Both);
            }
        });
    }

    /// Resets every connection, as a machine does that does not know them any more.
    pub fn reset(&self) {
        self.line.change(|faults| {
            for connection in &faults.connections {
                // What cannot be set is reported as an orderly end instead, which the test would notice.
                let _ended = set_socket_linger(&connection.service, Some(Duration::ZERO));
            }
        });
        self.cut();
    }

    /// Accepts no connection any more, or again. Those that are open stay.
    pub fn refuse(&self, refused: bool) {
        self.line.change(|faults| faults.refused = refused);
    }

    /// How many connections were made so far.
    pub fn connections_made(&self) -> usize {
        self.line.made.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.line.closed.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        let _ended = TcpStream::connect(self.address);
    }
}

impl Line {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nothing panics while it is held")
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults());
        self.changed.notify_all();
    }

    fn wait_until(&self, mut condition: impl FnMut(&Faults) -> bool) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        let mut faults = self.faults();
        while !condition(&faults) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            (faults, _) = self.changed.wait_timeout(faults, left).expect("nothing panics while it is held");
        }
        true
    }
}

fn accept(line: &Arc<Line>, listener: &TcpListener, dependency: SocketAddr) {
    for service in listener.incoming().flatten() {
        if line.closed.load(Ordering::SeqCst) {
            return;
        }
        if line.faults().refused {
            continue; // dropped, and so closed
        }
        let Ok(dependency) = TcpStream::connect(dependency) else {
            continue;
        };
        let number = line.made.fetch_add(1, Ordering::SeqCst);
        let ends = (service.try_clone(), dependency.try_clone(), service.try_clone(), dependency.try_clone());
        let (Ok(s1), Ok(d1), Ok(s2), Ok(d2)) = ends else {
            continue;
        };
        for end in [&service, &dependency] {
            // Without it everything is only slower.
            let _slower = end.set_nodelay(true);
        }
        line.change(|faults| faults.connections.push(Connection { number, service: s1, dependency: d1 }));
        let (requests, replies) = (Arc::clone(line), Arc::clone(line));
        thread::spawn(move || pump(&requests, number, Direction::Requests, service, dependency));
        thread::spawn(move || {
            pump(&replies, number, Direction::Replies, d2, s2);
            // Whoever is depended upon has ended it: nothing more can happen on it.
            replies.change(|faults| {
                faults.caught.retain(|caught| *caught != number);
                faults.connections.retain(|connection| connection.number != number);
            });
        });
    }
}

/// Moves bytes one way until their sender ends. A receiver that is gone is no reason to stop: what it does not get
/// is read all the same, or the sender would wait.
fn pump(line: &Line, number: usize, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let bytes = &buffer[..count];
        let (delay, slice) = pass(line, number, direction, bytes);
        if direction == Direction::Replies && !delay.is_zero() {
            thread::sleep(delay);
        }
        if count == 0 {
            let _gone = to.shutdown(Shutdown::Write);
            return;
        }
        for piece in bytes.chunks(slice.unwrap_or(count)) {
            let _gone = to.write_all(piece);
        }
    }
}

/// Waits as long as these bytes are held; says how to move them then.
fn pass(line: &Line, number: usize, direction: Direction, bytes: &[u8]) -> (Duration, Option<usize>) {
    let mut faults = line.faults();
    if direction == Direction::Requests
        && let Some(trigger) = &faults.trigger
        && bytes.windows(trigger.len()).any(|window| window == trigger)
    {
        faults.caught.push(number);
        line.changed.notify_all();
    }
    let is_held = |faults: &Faults| {
        let caught = faults.trigger.is_some() && faults.caught.contains(&number);
        faults.held.contains(&direction) || (direction == Direction::Requests && caught)
    };
    while is_held(&faults) && !line.closed.load(Ordering::SeqCst) {
        faults = line.changed.wait(faults).expect("nothing panics while it is held");
    }
    (faults.delay, faults.slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that answers each byte with the same byte, and tells how much it got in all.
    fn echo() -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                all.extend_from_slice(&buffer[..count]);
                let _gone = stream.write_all(&buffer[..count]);
            }
            all
        });
        (address, answering)
    }

    fn connect(proxy: &FaultProxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).expect("the proxy listens");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
        stream
    }

    fn answer(stream: &mut TcpStream, wanted: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; wanted];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    #[test]
    fn without_faults_it_is_as_if_it_were_not_there() {
        let (address, answering) = echo();
        let proxy = FaultProxy::before(address);
        let mut stream = connect(&proxy);
        stream.write_all(b"hello").expect("it is open");
        assert_eq!(answer(&mut stream, 5).as_deref(), Some(&b"hello"[..]));
        drop(stream);
        assert_eq!(answering.join().expect("no panic"), b"hello");
        assert_eq!(proxy.connections_made(), 1);
    }

    #[test]
    fn what_is_held_arrives_after_its_sender_is_gone() {
        let (address, answering) = echo();
        let proxy = FaultProxy::before(address);
        let mut stream = connect(&proxy);
        proxy.hold_requests_with(b"ghost");
        stream.write_all(b"before ").expect("it is open");
        assert_eq!(answer(&mut stream, 7).as_deref(), Some(&b"before "[..]));
        stream.write_all(b"the ghost").expect("it is open");
        assert!(proxy.has_caught_something());
        assert_eq!(answer(&mut stream, 1), None, "it is held");
        drop(stream);
        proxy.let_go();
        assert!(proxy.has_settled());
        assert_eq!(answering.join().expect("no panic"), b"before the ghost");
    }

    #[test]
    fn replies_can_be_held_delayed_and_sliced() {
        let (address, _answering) = echo();
        let proxy = FaultProxy::before(address);
        let mut stream = connect(&proxy);
        proxy.hold(Direction::Replies);
        stream.write_all(b"x").expect("it is open");
        assert_eq!(answer(&mut stream, 1), None, "it is held");
        proxy.let_go();
        stream.set_read_timeout(Some(TIMEOUT)).expect("it can be set");
        assert_eq!(answer(&mut stream, 1).as_deref(), Some(&b"x"[..]));
        proxy.delay(Duration::from_millis(50));
        proxy.slice(1);
        let begun = Instant::now();
        stream.write_all(b"yz").expect("it is open");
        assert_eq!(answer(&mut stream, 2).as_deref(), Some(&b"yz"[..]));
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn connections_can_be_cut_reset_and_refused() {
        for fault in [FaultProxy::cut, FaultProxy::reset] {
            let (address, _answering) = echo();
            let proxy = FaultProxy::before(address);
            let mut stream = connect(&proxy);
            stream.set_read_timeout(Some(TIMEOUT)).expect("it can be set");
            stream.write_all(b"x").expect("it is open");
            assert_eq!(answer(&mut stream, 1).as_deref(), Some(&b"x"[..]));
            fault(&proxy);
            assert_eq!(answer(&mut stream, 1), None);
            proxy.refuse(true);
            assert_eq!(answer(&mut connect(&proxy), 1), None);
        }
    }
}
