//! Bodies of answers, sent in slices, so that a connection whose client takes nothing holds little of them. The bytes
//! of all of them together are bounded.
//!
//! The dispatcher copies what it gets into a buffer of the connection, and keeps that buffer. So it gets no more at
//! once than fits its first buffer. The rest of a body is counted ([`MemoryBudget`]), unless all answers share it.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

use crate::limits::memory::{Holder, MemoryBudget, Revocable, Share};

/// Most bytes of a body that go into the buffer of a connection at once. With what may be left in it
/// ([`REFILLED_BELOW`]) they fit the 8 KiB that the dispatcher gives each connection from the start.
const SLICE: usize = 7 * 1024;
/// The buffer of a connection is filled again when it holds less than this, which is also room for most heads.
pub(crate) const REFILLED_BELOW: usize = 1024;
/// Most bytes of all answers together that wait to be taken, beyond the buffers of their connections.
pub(crate) const UNTAKEN: usize = 8 * 1024 * 1024;

/// A body that many answers share: none of them holds more of it than a slice.
pub(crate) struct Shared(Bytes);

impl Shared {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl MessageBody for Shared {
    type Error = Untaken;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Untaken>>> {
        let length = self.0.len().min(SLICE);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}

/// Bounds a body: a small or shared one stays as it is, any other is sent in slices that are counted.
pub(crate) fn bounded(body: BoxBody, budget: &Arc<MemoryBudget>, holder: impl FnOnce() -> Holder) -> BoxBody {
    if !matches!(body.size(), BodySize::Sized(size) if size > SLICE as u64) {
        return body;
    }
    match body.try_into_bytes() {
        Ok(bytes) => Counted::new(&bytes, budget, holder()).boxed(),
        Err(body) => body,
    }
}

/// A body of one answer. It is given up if other clients need its room.
struct Counted {
    size: u64,
    left: usize,
    slices: Arc<Slices>,
    share: Share,
}

/// The slices that are left; `None` once they are given up. Each has its own memory, which is freed once it is sent.
struct Slices(Mutex<Option<VecDeque<Bytes>>>);

impl Counted {
    fn new(bytes: &Bytes, budget: &Arc<MemoryBudget>, holder: Holder) -> Self {
        let copied = bytes.chunks(SLICE).map(Bytes::copy_from_slice).collect();
        let slices = Arc::new(Slices(Mutex::new(Some(copied))));
        let weak: Weak<Slices> = Arc::downgrade(&slices);
        let share = budget.open(holder, weak);
        // An answer never waits for another: there is always room for the newest one.
        if share.resize(bytes.len()).is_err() {
            slices.revoke();
        }
        Self { size: bytes.len() as u64, left: bytes.len(), slices, share }
    }
}

impl Slices {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revocable for Slices {
    fn revoke(&self) {
        let slices = mem::take(&mut *self.lock());
        drop(slices);
    }
}

impl MessageBody for Counted {
    type Error = Untaken;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Untaken>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let slice = self.slices.lock().as_mut().and_then(VecDeque::pop_front);
        let Some(slice) = slice else {
            return Poll::Ready(Some(Err(Untaken)));
        };
        self.left -= slice.len();
        // If it was given up meanwhile, the next slice is missing.
        let _given_up = self.share.resize(self.left);
        Poll::Ready(Some(Ok(slice)))
    }
}

/// The client took its answer too slowly while other clients needed the memory. The connection ends before the
/// announced length.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not taken while memory was short")]
pub(crate) struct Untaken;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use actix_web::rt;

    use super::*;
    use crate::limits::memory::OwnShare;

    fn of(most: usize) -> Arc<MemoryBudget> {
        MemoryBudget::new(most, OwnShare::Replace, &slog::Logger::root(slog::Discard, slog::o!()))
    }

    fn holder() -> Holder {
        Holder::Address([10, 0, 0, 1].into())
    }

    fn all_of(mut body: BoxBody) -> Result<Vec<Bytes>, String> {
        rt::System::new().block_on(async move {
            let mut slices = Vec::new();
            while let Some(slice) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
                slices.push(slice.map_err(|error| error.to_string())?);
            }
            Ok(slices)
        })
    }

    #[test]
    fn a_large_body_comes_whole_in_slices_and_is_counted_while_it_is_there() {
        let budget = of(100_000);
        let bytes: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let body = bounded(BoxBody::new(bytes.clone()), &budget, holder);
        assert!(matches!(body.size(), BodySize::Sized(50_000)));
        let slices = all_of(body).expect("there is room");
        assert!(slices.iter().all(|slice| slice.len() <= SLICE));
        assert_eq!(slices.concat(), bytes);
        let other = bounded(BoxBody::new(vec![0; 100_000]), &budget, holder);
        assert!(all_of(other).is_ok());
    }

    #[test]
    fn an_answer_that_is_not_taken_gives_way_and_breaks_off() {
        let budget = of(100_000);
        let untaken = bounded(BoxBody::new(vec![0; 80_000]), &budget, holder);
        let taken = bounded(BoxBody::new(vec![0; 50_000]), &budget, holder);
        assert_eq!(all_of(taken).expect("it has room").concat().len(), 50_000);
        assert_eq!(all_of(untaken).expect_err("it gave way"), Untaken.to_string());
    }

    #[test]
    fn small_bodies_and_shared_ones_are_not_counted() {
        let budget = of(0);
        let small = bounded(BoxBody::new(vec![0; SLICE]), &budget, holder);
        assert_eq!(all_of(small).expect("it is free").concat().len(), SLICE);
        let shared = Bytes::from(vec![0; 1_000_000]);
        let body = bounded(Shared::new(shared.clone()).boxed(), &budget, holder);
        assert_eq!(all_of(body).expect("it is free").concat().len(), shared.len());
    }
}
