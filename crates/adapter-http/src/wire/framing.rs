//! Framing: where each request of a connection begins and ends, in whatever pieces its bytes arrive.

use std::mem;

use memchr::memchr2;

use super::{
    Rejection, WireLimits,
    body::Body,
    chunked::{CorruptBody, take},
    head,
};

/// Most bytes of empty lines in front of a request: two CRLFs, which old clients send after a body (RFC 9112
/// section 2.2). They pass along with the head; the parser behind skips them too.
const LEADING_BYTES: usize = 4;

/// The state of one connection's incoming bytes.
#[derive(Debug)]
pub(super) struct Framing {
    limits: WireLimits,
    scan: HeadScan,
    /// What is left of the body whose head has passed.
    body: Option<Body>,
    has_passed_a_head: bool,
    /// The replacement of the head that has just been judged: the length of that head, and what passes instead.
    replaced: Option<(usize, Vec<u8>)>,
    /// Whether the client of the head that has just been judged waits for `100 Continue`.
    expects_continue: bool,
    /// The weight of the bytes of bodies that passed since it was last taken.
    weight: usize,
}

/// What may happen to the bytes that have come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet.
    NeedMore,
    /// So many bytes may pass: a head, and what has arrived of its body.
    Request(usize),
    /// So many bytes may pass, all of the current body.
    Body(usize),
    /// No byte may pass, now or later.
    Reject(Rejection),
}

/// The weight of each chunk of a body in addition to its bytes: about as much as it takes in the library's queue.
const CHUNK_WEIGHT: usize = 64;

/// What the peer is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Has not sent anything yet.
    Unopened,
    /// Between two requests.
    Idle,
    /// Within a head.
    Head,
    /// Within a body.
    Body,
}

impl Framing {
    /// A connection of which no byte has come.
    pub(super) fn new(limits: WireLimits) -> Self {
        Self {
            limits,
            scan: HeadScan::default(),
            body: None,
            has_passed_a_head: false,
            replaced: None,
            expects_continue: false,
            weight: 0,
        }
    }

    /// Judges the bytes that have come and not passed yet.
    ///
    /// Bytes that may pass have to be gone from the front of the next `buffer`; all others have to be in it again.
    /// A verdict never reaches into a second request.
    pub(super) fn inspect(&mut self, buffer: &[u8]) -> Result<Verdict, CorruptBody> {
        if self.is_at_head() {
            Ok(self.inspect_head(buffer).unwrap_or_else(Verdict::Reject))
        } else {
            self.pass_body(buffer).map(Verdict::Body)
        }
    }

    /// Called after bytes of a body may pass: what they weigh behind the guard.
    pub(super) fn take_weight(&mut self) -> usize {
        mem::take(&mut self.weight)
    }

    /// Called after a request may pass: the length of its head and the head that replaces it, if one does.
    pub(super) fn take_replaced(&mut self) -> Option<(usize, Vec<u8>)> {
        self.replaced.take()
    }

    /// Called after a request may pass: whether its client waits for `100 Continue`.
    pub(super) fn take_expects_continue(&mut self) -> bool {
        mem::take(&mut self.expects_continue)
    }

    /// Whether the next byte to pass begins a request.
    pub(super) fn is_at_head(&self) -> bool {
        self.body.is_none()
    }

    /// What the peer is in the middle of, if `waiting_bytes` of its bytes have not passed yet.
    pub(super) fn stage(&self, waiting_bytes: usize) -> Stage {
        if !self.is_at_head() {
            Stage::Body
        } else if waiting_bytes > self.scan.start {
            Stage::Head
        } else if self.has_passed_a_head {
            Stage::Idle
        } else {
            Stage::Unopened
        }
    }

    fn inspect_head(&mut self, buffer: &[u8]) -> Result<Verdict, Rejection> {
        let Some(end) = self.scan.find_end(buffer, self.limits.head_bytes)? else {
            return Ok(Verdict::NeedMore);
        };
        let (head, rest) = buffer.split_at(end);
        let head::Acceptable { body, instead, expects_continue } = head::judge(head, &self.limits)?;
        self.body = body;
        let passed = self.pass_body(rest).map_err(|CorruptBody| {
            // The head has not passed yet, so the request can be refused with an answer.
            self.body = None;
            Rejection::Malformed
        })?;
        // A client that has begun to send its body does not wait.
        self.expects_continue = expects_continue && rest.is_empty();
        self.replaced = instead.map(|instead| (end, instead));
        self.scan = HeadScan::default();
        self.has_passed_a_head = true;
        Ok(Verdict::Request(end + passed))
    }

    fn pass_body(&mut self, bytes: &[u8]) -> Result<usize, CorruptBody> {
        let (passed, is_complete) = match &mut self.body {
            None => (0, true),
            Some(Body::Sized { left }) => (take(left, bytes.len()), *left == 0),
            Some(Body::Chunked(body)) => {
                let (passed, chunks) = body.advance(bytes)?;
                self.weight += chunks * CHUNK_WEIGHT;
                (passed, body.is_complete())
            }
        };
        self.weight += passed;
        if is_complete {
            self.body = None;
        }
        Ok(passed)
    }
}

/// The search for the end of a head, which looks at every byte once.
#[derive(Debug, Default)]
struct HeadScan {
    /// Where the request line begins, after any empty lines.
    start: usize,
    /// Where the line begins that has not ended yet.
    line_start: usize,
    /// How many bytes have been looked at.
    scanned: usize,
}

impl HeadScan {
    /// Where the head ends, if it does within `buffer`.
    fn find_end(&mut self, buffer: &[u8], head_bytes: usize) -> Result<Option<usize>, Rejection> {
        let window = &buffer[..buffer.len().min(head_bytes)];
        while let Some(line_end) = self.find_line_end(window)? {
            let is_empty = line_end == self.line_start;
            self.scanned = line_end + 2;
            self.line_start = self.scanned;
            if is_empty && line_end > self.start {
                return Ok(Some(self.scanned));
            }
            if is_empty {
                self.start = self.scanned;
            }
            if self.start > LEADING_BYTES {
                return Err(Rejection::Malformed);
            }
        }
        if buffer.len() < head_bytes { Ok(None) } else { Err(Rejection::HeadersTooLarge) }
    }

    /// Where the next CRLF is. A single CR or LF is malformed: it ends a line for some readers and not for others.
    fn find_line_end(&mut self, window: &[u8]) -> Result<Option<usize>, Rejection> {
        let Some(offset) = memchr2(b'\r', b'\n', &window[self.scanned..]) else {
            self.scanned = window.len();
            return Ok(None);
        };
        self.scanned += offset;
        match &window[self.scanned..] {
            [b'\r', b'\n', ..] => Ok(Some(self.scanned)),
            [b'\r'] => Ok(None), // its LF may be the next byte to come
            _ => Err(Rejection::Malformed),
        }
    }
}
