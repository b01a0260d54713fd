//! Planted defects: a link in memory, wrong in the two most common ways of URL shorteners; and two processes that cache
//! it, wrong in the two most common ways of caches.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    Operable,
    object::{Answered, Link, Operation, Outcome},
};

/// The defect of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// A claim checks whether there is a link, and then creates one.
    ClaimSelectsThenInserts,
    /// An edit reads the link, and then writes it back without a check for changes in between.
    EditWithoutGeneration,
    /// A process caches what it is told last, even if it was told of something newer before.
    FloorForgotten,
    /// A change whose caller left does not update the cache.
    UntoldWithoutCaller,
}

#[derive(Debug)]
pub(super) struct Planted {
    link: Mutex<Link>,
    /// The cache entries of two processes.
    memories: [Mutex<Memory>; 2],
    defect: Option<Defect>,
    /// Number of callers between reading and writing.
    between: AtomicUsize,
}

impl Planted {
    pub(super) fn new(defect: Option<Defect>) -> Self {
        Self { link: Mutex::default(), memories: Default::default(), defect, between: AtomicUsize::new(0) }
    }

    /// The link as callers of that process see it.
    pub(super) fn at(&self, process: usize) -> AtProcess<'_> {
        AtProcess { planted: self, process, calls: 0 }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.read().deleted
    }

    fn memory(&self, process: usize) -> MutexGuard<'_, Memory> {
        self.memories[process].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Link {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, link: &Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link.clone();
    }

    /// Waits between reading and writing, until another caller is there too, or for a bounded time.
    fn linger(&self) {
        self.between.fetch_add(1, Ordering::SeqCst);
        for _ in 0..1_000 {
            if self.between.load(Ordering::SeqCst) > 1 {
                break;
            }
            thread::yield_now();
        }
    }
}

/// The cache of a process.
#[derive(Debug, Default)]
struct Memory {
    known: Option<Link>,
    floor: u64,
}

impl Memory {
    fn keep(&mut self, link: &Link, defect: Option<Defect>) {
        if link.generation >= self.floor || defect == Some(Defect::FloorForgotten) {
            self.known = Some(link.clone());
        }
        self.floor = self.floor.max(link.generation);
    }

    fn hear_of(&mut self, generation: u64) {
        self.floor = self.floor.max(generation);
        self.known.take_if(|known| known.generation < generation);
    }
}

/// A process that caches the link.
#[derive(Debug)]
pub(super) struct AtProcess<'a> {
    planted: &'a Planted,
    process: usize,
    calls: usize,
}

impl AtProcess<'_> {
    /// The caller leaves at the next call.
    pub(super) fn leaving(self) -> Self {
        Self { calls: 3, ..self }
    }

    fn follow(&self) -> Answered {
        let mut memory = self.planted.memory(self.process);
        if let Some(known) = &mut memory.known {
            return known.operate(&Operation::Follow);
        }
        let mut link = self.planted.read();
        memory.keep(&link, self.planted.defect);
        link.operate(&Operation::Follow)
    }
}

impl Operable for AtProcess<'_> {
    fn process(&self) -> usize {
        self.process
    }

    fn operate(&mut self, operation: &Operation) -> Option<Answered> {
        if *operation == Operation::Follow {
            return Some(self.follow());
        }
        self.calls += 1;
        let leaves = self.calls.is_multiple_of(4) && *operation != Operation::List;
        let (answered, link, changed) = {
            let mut link = self.planted.link.lock().unwrap_or_else(PoisonError::into_inner);
            let before = link.generation;
            let answered = link.operate(operation);
            (answered, link.clone(), link.generation > before)
        };
        if changed {
            // Other callers may change the link further, and notify this process, before this process updates its own
            // cache.
            self.planted.linger();
            self.planted.memory(1 - self.process).hear_of(link.generation);
            if !(leaves && self.planted.defect == Some(Defect::UntoldWithoutCaller)) {
                self.planted.memory(self.process).keep(&link, self.planted.defect);
            }
            self.planted.between.fetch_sub(1, Ordering::SeqCst);
        } else if *operation != Operation::List {
            self.planted.memory(self.process).hear_of(link.generation);
        }
        (!leaves).then_some(answered)
    }
}

impl Operable for &Planted {
    fn process(&self) -> usize {
        0
    }

    fn operate(&mut self, operation: &Operation) -> Option<Answered> {
        let torn = match (self.defect, operation) {
            (Some(Defect::ClaimSelectsThenInserts), Operation::Claim) => self.read().generation == 0,
            (Some(Defect::EditWithoutGeneration), Operation::Edit { .. }) => true,
            _ => false,
        };
        if !torn {
            return Some(self.link.lock().unwrap_or_else(PoisonError::into_inner).operate(operation));
        }
        let mut link = self.read();
        self.linger();
        let answered = match operation {
            Operation::Claim => {
                link = Link { generation: 1, ..Link::default() };
                link.shown(Some(Outcome::Created))
            }
            _ => link.operate(operation),
        };
        self.write(&link);
        self.between.fetch_sub(1, Ordering::SeqCst);
        Some(answered)
    }
}
