//! A proxy between a service and its dependency. It causes the faults that a network can have.
//!
//! Every byte of every connection goes through threads of this process. A test can hold bytes in either direction,
//! deliver them after their sender is gone, delay them, slice them, or cut the connection.

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

/// How long a test waits for an event that must happen.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The proxy. It listens on its own port. When it is dropped, it cuts every connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    line: Arc<Line>,
}

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the service to its dependency.
    Requests,
    /// From the dependency to the service.
    Replies,
}

/// The state that all connections share.
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
    /// A connection whose requests contain these bytes is held from there on.
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
    /// A proxy in front of the server at `dependency`. Without faults it passes all bytes on unchanged.
    pub fn before(dependency: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let line = Arc::new(Line::default());
        let accepting = Arc::clone(&line);
        thread::spawn(move || accept(&accepting, &listener, dependency));
        Self { address, line }
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds all bytes in this direction from now on, on every connection.
    pub fn hold(&self, direction: Direction) {
        self.line.change(|faults| faults.held.push(direction));
    }

    /// Holds the requests of a connection on which these bytes are sent, beginning with them.
    pub fn hold_requests_with(&self, bytes: &[u8]) {
        self.line.change(|faults| faults.trigger = Some(bytes.to_vec()));
    }

    /// Waits for the bytes of [`FaultProxy::hold_requests_with`]. Returns whether they have come.
    #[must_use]
    pub fn has_caught_something(&self) -> bool {
        self.line.wait_until(|faults| !faults.caught.is_empty())
    }

    /// Delivers all held bytes, even if their service has gone meanwhile, and holds nothing any more.
    pub fn let_go(&self) {
        self.line.change(|faults| {
            faults.held.clear();
            faults.trigger = None;
        });
    }

    /// Waits for the end, on both sides, of every connection that was held by its bytes. Returns whether they have
    /// ended.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        self.line.wait_until(|faults| faults.caught.is_empty())
    }

    /// Delays every reply by this time.
    pub fn delay(&self, delay: Duration) {
        self.line.change(|faults| faults.delay = delay);
    }

    /// Delivers everything in pieces of this many bytes.
    pub fn slice(&self, bytes: usize) {
        self.line.change(|faults| faults.slice = Some(bytes.max(1)));
    }

    /// Closes every connection, as a server does in an orderly shutdown.
    pub fn cut(&self) {
        self.line.change(|faults| {
            for connection in faults.connections.drain(..) {
                let _ended = connection.service.shutdown(Shutdown::Both);
                let _ended = connection.dependency.shutdown(Shutdown::Both);
            }
        });
    }

    /// Resets every connection, as a machine does that does not know the connections.
    pub fn reset(&self) {
        self.line.change(|faults| {
            for connection in &faults.connections {
                // If this fails, the connection ends in order instead, which the test would notice.
                let _ended = set_socket_linger(&connection.service, Some(Duration::ZERO));
            }
        });
        self.cut();
    }

    /// Rejects new connections, or accepts them again. Open connections stay.
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
        self.faults.lock().expect("no thread panics while it holds the lock")
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
            (faults, _) = self.changed.wait_timeout(faults, left).expect("no thread panics while it holds the lock");
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
            // If this fails, the connection is only slower.
            let _slower = end.set_nodelay(true);
        }
        line.change(|faults| faults.connections.push(Connection { number, service: s1, dependency: d1 }));
        let (requests, replies) = (Arc::clone(line), Arc::clone(line));
        thread::spawn(move || pump(&requests, number, Direction::Requests, service, dependency));
        thread::spawn(move || {
            pump(&replies, number, Direction::Replies, d2, s2);
            // The dependency has ended the connection: nothing more can happen on it.
            replies.change(|faults| {
                faults.caught.retain(|caught| *caught != number);
                faults.connections.retain(|connection| connection.number != number);
            });
        });
    }
}

/// Moves bytes in one direction until their sender ends. It continues to read after the receiver is gone, because
/// otherwise the sender would wait.
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

/// Waits while these bytes are held. Returns the delay and the slice size for them.
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
        faults = line.changed.wait(faults).expect("no thread panics while it holds the lock");
    }
    (faults.delay, faults.slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes every byte of one connection. Its thread returns all bytes that it received.
    fn echo() -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client connects");
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
    fn without_faults_bytes_pass_unchanged() {
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
    fn held_bytes_arrive_after_their_sender_is_gone() {
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
