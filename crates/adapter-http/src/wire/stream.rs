//! The guarded stream: its reader sees well-formed requests only, and one at a time.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::net::{ActixStream, Ready};
use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    Rejection, WireLimits,
    chunked::CorruptBody,
    flow::Flow,
    framing::{Framing, Stage, Verdict},
    tally::{ConnectionTally, CountedConnection, SlowStage},
};

/// Most bytes of a body that pass to the dispatcher after its answer has begun. The dispatcher keeps what it reads
/// until the connection ends. Without this bound it would read a chunked body endlessly.
const UNWANTED_BYTES: usize = 8 * 1024;

/// Most bytes that are discarded after a malformed request.
const REJECTED_BYTES: usize = 64 * 1024;

/// Most bytes of a refused body that are discarded while the connection lingers. Many clients read no answer before
/// they have sent all they have. Some then wait until the connection is closed, and lose the answer.
const LINGERING_BYTES: usize = 8 * 1024 * 1024;

/// How long a closing connection waits for the peer to stop sending, and to read the answer. Closing a socket with
/// unread bytes in it resets the connection, and the peer may lose the answer that says what was wrong.
pub(crate) const LINGER: Duration = Duration::from_secs(3);

/// Most bytes of a body that are read at once.
const PIECE: usize = 4 * 1024;

/// How many bytes of an answer the peer has to take within the answer timeout, unless less is left.
const TAKEN_IN_TIME: usize = 16 * 1024;

/// Tells a client to send the body that it holds back.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection between a peer and the HTTP dispatcher, with a guard on the way in.
///
/// The next request passes only after the answer to the one before has begun. The dispatcher keeps the method, the
/// version and the connection option of the request it *read* last for the answer it *writes* next: with a GET in
/// progress, a HEAD behind it would take the body from the GET's answer and leave its Content-Length. For the same
/// reason the end of the stream waits for the answer: at that end the dispatcher drops requests it has not begun.
///
/// Bytes are read straight into the reader's buffer and stay there if they may pass, as nearly all do.
pub(crate) struct GuardedStream<S> {
    inner: S,
    limits: WireLimits,
    nonce: Arc<str>,
    framing: Framing,
    /// Bytes that have arrived, or replace such bytes, and have not passed yet.
    held: BytesMut,
    /// How many of the held bytes may pass.
    ready: usize,
    input: Input,
    flow: Rc<Flow>,
    /// Whether a request has passed and its answer has not begun.
    answer_due: bool,
    unwanted_left: usize,
    lingering_left: usize,
    /// The timer of the present head or body: it runs from the first wait for it to its end.
    deadline: Option<Pin<Box<Sleep>>>,
    taking: Taking,
    /// Runs once our half of the connection is closed.
    linger: Option<Pin<Box<Sleep>>>,
    counted: Option<CountedConnection>,
}

/// How fast the peer takes its answers.
struct Taking {
    /// Since when it takes nothing, and the timer of how long it may.
    since: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How long it may take nothing, all pauses together, until it has taken [`TAKEN_IN_TIME`].
    left: Duration,
    taken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// The peer has sent its last byte.
    Ended,
    /// The peer may still send, but none of it passes.
    Refused,
}

impl<S> GuardedStream<S> {
    /// Guards a connection that has just been opened. The nonce has to be one that no peer can guess.
    pub(crate) fn new(inner: S, limits: WireLimits, nonce: Arc<str>) -> Self {
        Self {
            inner,
            limits,
            nonce,
            framing: Framing::new(limits),
            held: BytesMut::new(),
            ready: 0,
            input: Input::Open,
            flow: Rc::default(),
            answer_due: false,
            unwanted_left: UNWANTED_BYTES,
            lingering_left: LINGERING_BYTES,
            deadline: None,
            taking: Taking { since: None, left: limits.answer_timeout, taken: 0 },
            linger: None,
            counted: None,
        }
    }

    /// Counts the connection, until it is closed.
    pub(crate) fn counted_by(self, tally: Arc<ConnectionTally>) -> Self {
        Self { counted: Some(CountedConnection::open(tally)), ..self }
    }

    fn note_slow(&self, stage: SlowStage) {
        if let Some(counted) = &self.counted {
            counted.timed_out(stage);
        }
    }

    /// The flow control of its bodies.
    pub(crate) fn flow(&self) -> Rc<Flow> {
        Rc::clone(&self.flow)
    }

    /// Whether the next request has to wait for the answer to the one before it: until that answer has begun, and while
    /// the peer does not take it. Otherwise the answers to all requests of a peer would wait in memory.
    fn must_wait(&self) -> bool {
        (self.answer_due || self.taking.since.is_some()) && self.framing.is_at_head()
    }

    /// Acts on a verdict. Returns how many bytes may pass.
    fn settle(&mut self, verdict: Result<Verdict, CorruptBody>) -> usize {
        match verdict {
            Ok(Verdict::NeedMore) => 0,
            // The body breaks off here: the handler that waits for the rest can still answer.
            Err(CorruptBody) => {
                self.input = Input::Refused;
                0
            }
            Ok(Verdict::Request(count)) => {
                self.answer_due = true;
                self.unwanted_left = UNWANTED_BYTES;
                self.deadline = None;
                self.flow.begin(self.framing.take_expects_continue());
                self.flow.passed(self.framing.take_weight());
                self.taking = Taking { since: None, left: self.limits.answer_timeout, taken: 0 };
                count
            }
            Ok(Verdict::Body(count)) => self.settle_body(count),
            Ok(Verdict::Reject(rejection)) => {
                self.replace_request(rejection);
                0
            }
        }
    }

    fn settle_body(&mut self, count: usize) -> usize {
        let weight = self.framing.take_weight();
        self.flow.is_over();
        if self.answer_due {
            self.flow.passed(weight);
        } else {
            let Some(left) = self.unwanted_left.checked_sub(count) else {
                self.input = Input::Refused;
                return 0;
            };
            self.unwanted_left = left;
        }
        if self.framing.is_at_head() {
            self.deadline = None;
        }
        count
    }

    fn replace_request(&mut self, rejection: Rejection) {
        if let Some(counted) = &self.counted {
            counted.rejected(rejection);
        }
        self.held = BytesMut::from(rejection.as_request(&self.nonce).as_bytes());
        self.ready = self.held.len();
        self.input = Input::Refused;
        self.answer_due = true;
        self.unwanted_left = UNWANTED_BYTES;
        self.lingering_left = REJECTED_BYTES;
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.advance(count);
        self.ready -= count;
        if self.held.is_empty() {
            // An idle connection should cost no buffer.
            self.held = BytesMut::new();
        }
    }

    /// Runs the timer of the head or body that the peer is sending. Ready when the timer has just ended the input.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stage = self.framing.stage(self.held.len());
        let limit = match stage {
            Stage::Unopened | Stage::Head => self.limits.head_timeout,
            Stage::Body => self.limits.body_timeout,
            // The dispatcher's own keep-alive timer runs here, and the dispatcher knows when an answer has ended.
            Stage::Idle => return Poll::Pending,
        };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        match stage {
            Stage::Unopened => self.note_slow(SlowStage::Open),
            Stage::Head => self.note_slow(SlowStage::Head),
            Stage::Body => self.note_slow(SlowStage::Body),
            Stage::Idle => {}
        }
        match stage {
            Stage::Head => self.replace_request(Rejection::HeadTimeout),
            // At the end of the stream an unfinished body fails in the handler that waits for it, which can answer.
            Stage::Unopened | Stage::Idle | Stage::Body => self.input = Input::Refused,
        }
        Poll::Ready(())
    }

    /// Notes the outcome of a write. A peer that keeps asking and takes nothing would hold its connection and our
    /// memory without end, so writing to it fails after the answer timeout.
    fn note_taken(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let taking = &mut self.taking;
        let Poll::Ready(taken) = outcome else {
            let left = taking.left;
            let (_, too_long) = taking.since.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            ready!(too_long.as_mut().poll(cx));
            self.note_slow(SlowStage::Answer);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        let taken = taken?;
        taking.taken += taken;
        if let Some((since, _)) = taking.since.take() {
            taking.left = taking.left.saturating_sub(since.elapsed());
            if self.input != Input::Open || !self.held.is_empty() || self.flow.is_waited_for() {
                // Input that waited for this may pass now.
                cx.waker().wake_by_ref();
            }
        }
        if taking.taken >= TAKEN_IN_TIME {
            (taking.left, taking.taken) = (self.limits.answer_timeout, 0);
        }
        Poll::Ready(Ok(taken))
    }

    /// Lets the next request through once an answer begins.
    ///
    /// A long answer comes in several writes, and a later one may be mistaken for the beginning of the next answer.
    /// That happens only to a peer that sends requests without waiting. It then loses what this guard adds to the
    /// dispatcher: the order of reading and writing and, for a body beyond [`UNWANTED_BYTES`], the connection.
    fn note_answer(&mut self, cx: &Context<'_>) {
        let was_due = mem::take(&mut self.answer_due);
        // A client that holds back its body is told to send it, or that its connection ends. It is never told to go on
        // after it was refused. What is written now may also be the end of the previous answer.
        if was_due && !self.flow.is_waited_for() {
            // What is left of the body has no reader now, and must not wait for one.
            self.flow.wants_more();
        }
        if was_due && (self.input != Input::Open || !self.held.is_empty()) {
            // The dispatcher waits for input that is already here.
            cx.waker().wake_by_ref();
        }
    }
}

impl<S: AsyncRead + Unpin> GuardedStream<S> {
    /// Reads once. What may pass stays in `buf`, the rest is held.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(outcome) => outcome?,
            Poll::Pending if self.must_wait() => return Poll::Pending,
            Poll::Pending => return self.poll_deadline(cx).map(Ok),
        }
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            self.input = Input::Ended;
            return Poll::Ready(Ok(()));
        }
        let mut passing = 0;
        if self.held.is_empty() && !self.must_wait() {
            let verdict = self.framing.inspect(fresh);
            passing = self.settle(verdict);
        }
        if let Some((head, instead)) = self.framing.take_replaced() {
            self.ready += passing - head + instead.len();
            self.held.extend_from_slice(&instead);
            self.held.extend_from_slice(&fresh[head..]);
            passing = 0;
        } else if self.input == Input::Open {
            self.held.extend_from_slice(&fresh[passing..]);
        }
        buf.set_filled(before + passing);
        Poll::Ready(Ok(()))
    }

    /// Discards what the peer still sends, up to a bound. Ready when it is time to close. Beyond the bound nothing more
    /// is read, but the peer keeps its time to read the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 4096];
        while self.lingering_left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            let outcome = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
            if outcome.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
            self.lingering_left = self.lingering_left.saturating_sub(buf.filled().len());
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let is_in_body = (this.answer_due || this.flow.is_waited_for()) && !this.framing.is_at_head();
        if !is_in_body || this.ready > 0 {
            return this.poll_input(cx, buf);
        }
        if this.flow.must_tell_to_go_on(cx) {
            // The peer may not have taken the end of the previous answer yet. Nothing else is being written.
            if this.taking.since.is_some() {
                return Poll::Pending; // until `note_taken`
            }
            let told = ready!(Pin::new(&mut this.inner).poll_write(cx, CONTINUE))?;
            if told < CONTINUE.len() {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.flow.is_over();
        }
        ready!(this.flow.poll_room(cx));
        // The dispatcher's buffer may have room for much more, and the dispatcher would keep all of it.
        let mut piece = [0; PIECE];
        let room = buf.remaining().min(PIECE);
        let mut read = ReadBuf::new(&mut piece[..room]);
        ready!(this.poll_input(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> GuardedStream<S> {
    /// Reads the next bytes that may pass. No bytes mean the end of the stream.
    fn poll_input(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            if self.ready > 0 {
                self.hand_on(buf);
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if self.must_wait() && (self.input != Input::Open || !self.held.is_empty()) {
                return Poll::Pending; // until `note_answer`
            }
            if self.input != Input::Open {
                return Poll::Ready(Ok(())); // with nothing filled in, that is the end of the stream
            }
            if !self.held.is_empty() {
                let verdict = self.framing.inspect(&self.held);
                self.ready += self.settle(verdict);
                if let Some((head, instead)) = self.framing.take_replaced() {
                    self.ready = self.ready - head + instead.len();
                    let rest = self.held.split_off(head);
                    self.held = BytesMut::from(instead.as_slice());
                    self.held.unsplit(rest);
                }
                if verdict != Ok(Verdict::NeedMore) {
                    continue;
                }
            }
            ready!(self.poll_fill(cx, buf))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, buf);
        let written = ready!(this.note_taken(cx, outcome))?;
        this.note_answer(cx);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        let written = ready!(this.note_taken(cx, outcome))?;
        this.note_answer(cx);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let may_still_send = match this.input {
            Input::Open => !this.framing.is_at_head(),
            Input::Ended => false,
            Input::Refused => true,
        };
        if may_still_send {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: ActixStream> ActixStream for GuardedStream<S> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        // With half a head this is too early. Readiness allows that: the read after it is pending.
        let has_input = self.input != Input::Open || !self.held.is_empty();
        if self.ready > 0 || (has_input && !self.must_wait()) {
            return Poll::Ready(Ok(Ready::READABLE));
        }
        self.inner.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.inner.poll_write_ready(cx)
    }
}
