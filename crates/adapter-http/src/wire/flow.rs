//! How far a body may come before it is read.

use std::{
    cell::Cell,
    task::{Context, Poll, Waker},
};

/// Shared by the stream guard, which lets a body pass, and by the reader of it. The dispatcher between them would take
/// 128 KiB of each connection before anything asks for them, into a buffer that it keeps as long as the connection.
#[derive(Default)]
pub(crate) struct Flow {
    /// Bytes that passed since the reader had read all.
    ahead: Cell<usize>,
    stopped: Cell<Option<Waker>>,
}

impl Flow {
    /// Most bytes that pass before the reader has read all that did.
    const MOST: usize = 8 * 1024;

    /// Another body begins.
    pub(super) fn begin(&self) {
        self.ahead.set(0);
    }

    pub(super) fn passed(&self, count: usize) {
        self.ahead.set(self.ahead.get() + count);
    }

    /// Ready while more may pass.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.ahead.get() < Self::MOST {
            return Poll::Ready(());
        }
        self.stopped.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The reader has read all, and waits.
    pub(crate) fn wants_more(&self) {
        self.ahead.set(0);
        if let Some(waker) = self.stopped.take() {
            waker.wake();
        }
    }
}
