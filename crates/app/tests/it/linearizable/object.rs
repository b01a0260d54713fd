//! The object: the sequential model of a link.

/// An operation on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Claim,
    Read,
    Edit {
        title: u64,
        if_generation: Option<u64>,
    },
    Delete,
    Reactivate,
    /// Looks the link up in a list, which does not update any cache.
    List,
    /// Follows the link as a visitor, through the cache of a process.
    Follow,
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Link(Shown),
    /// The visitor is redirected.
    Led,
    /// The visitor gets the answer that the link is gone.
    Gone,
    Missing,
    /// The link is deleted and cannot be edited.
    Deleted,
    /// The link has another generation.
    Stale,
    /// Nothing was done.
    Refused,
}

/// The link as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) outcome: Option<Outcome>,
    pub(super) generation: u64,
    pub(super) deleted: bool,
    pub(super) title: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Existing,
    Reactivated,
}

/// The state of the link. Generation 0 means that there is no link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) generation: u64,
    pub(super) deleted: bool,
    pub(super) title: u64,
}

impl Link {
    pub(super) fn shown(&self, outcome: Option<Outcome>) -> Answered {
        let Self { generation, deleted, title } = *self;
        Answered::Link(Shown { outcome, generation, deleted, title })
    }

    /// Does the operation and returns the answer.
    pub(super) fn operate(&mut self, operation: &Operation) -> Answered {
        match operation {
            Operation::Claim => {
                let outcome = match (self.generation, self.deleted) {
                    (0, _) => Outcome::Created,
                    (_, true) => Outcome::Reactivated,
                    (_, false) => Outcome::Existing,
                };
                if outcome != Outcome::Existing {
                    self.generation += 1;
                    self.deleted = false;
                }
                self.shown(Some(outcome))
            }
            _ if self.generation == 0 => Answered::Missing,
            Operation::Read | Operation::List => self.shown(None),
            Operation::Follow if self.deleted => Answered::Gone,
            Operation::Follow => Answered::Led,
            Operation::Edit { if_generation: Some(known), .. } if *known != self.generation => Answered::Stale,
            Operation::Edit { .. } if self.deleted => Answered::Deleted,
            Operation::Edit { title, .. } => {
                self.generation += 1;
                self.title = *title;
                self.shown(None)
            }
            Operation::Delete | Operation::Reactivate => {
                let deleted = *operation == Operation::Delete;
                if deleted != self.deleted {
                    self.generation += 1;
                    self.deleted = deleted;
                }
                self.shown(None)
            }
        }
    }
}
