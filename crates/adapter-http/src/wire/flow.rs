//! How far a body may pass before it is read.

use std::{
    cell::Cell,
    task::{Context, Poll, Waker},
};

/// Shared by the stream guard, which lets a body pass, and by the reader of the body. Without it the dispatcher between
/// them would take 128 KiB of each connection before anything asks for them, into a buffer that it keeps as long as the
/// connection.
#[derive(Default)]
pub(crate) struct Flow {
    /// Bytes that passed since the reader last had read all.
    ahead: Cell<usize>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    expected: Cell<bool>,
    /// Whether the reader has asked for the body.
    asked: Cell<bool>,
    stopped: Cell<Option<Waker>>,
}

impl Flow {
    /// How many bytes may pass ahead of the reader.
    const MAX: usize = 8 * 1024;

    /// Another body begins. `expected`: its client waits for `100 Continue` before it sends it.
    pub(super) fn begin(&self, expected: bool) {
        self.ahead.set(0);
        self.expected.set(expected);
        self.asked.set(false);
    }

    /// Whether `100 Continue` has to be sent now.
    pub(super) fn must_tell_to_go_on(&self, cx: &Context<'_>) -> bool {
        if self.expected.get() && !self.asked.get() {
            self.stopped.set(Some(cx.waker().clone()));
        }
        self.expected.get() && self.asked.get()
    }

    /// The client does not wait any more: `100 Continue` was sent, it sent the body without that, or it has its answer.
    pub(super) fn is_over(&self) {
        self.expected.set(false);
    }

    /// Whether the client still waits for `100 Continue`. It may never send the body.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.expected.get()
    }

    pub(super) fn passed(&self, count: usize) {
        self.ahead.set(self.ahead.get() + count);
    }

    /// Ready while more may pass.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.ahead.get() < Self::MAX {
            return Poll::Ready(());
        }
        self.stopped.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The reader has read all that passed, and waits for more.
    pub(crate) fn wants_more(&self) {
        self.ahead.set(0);
        self.asked.set(true);
        if let Some(waker) = self.stopped.take() {
            waker.wake();
        }
    }
}
