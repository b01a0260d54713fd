//! Planted defects: a link in memory, wrong in the two ways in which shorteners usually are.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    Operable,
    object::{Answered, Link, Operation, Outcome},
};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// A claim looks whether there is a link, and then makes one.
    ClaimSelectsThenInserts,
    /// An edit reads the link, and then writes it back whatever it has become.
    EditWithoutGeneration,
}

#[derive(Debug)]
pub(super) struct Planted {
    link: Mutex<Link>,
    defect: Option<Defect>,
    /// Those who are between reading and writing.
    between: AtomicUsize,
}

impl Planted {
    pub(super) fn new(defect: Option<Defect>) -> Self {
        Self { link: Mutex::default(), defect, between: AtomicUsize::new(0) }
    }

    fn read(&self) -> Link {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, link: &Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link.clone();
    }

    /// Between reading and writing, until somebody else is there too, or nobody comes.
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

impl Operable for &Planted {
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
