//! The checker: searches for an order of operations that explains every answer, as Wing and Gong did (1993). It
//! remembers states that led nowhere, as Lowe did (2017); without that the search would never end.

use std::collections::HashSet;

use super::object::{Answered, Link, Operation};

/// One operation and its answer.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// `None` if the answer is unknown: the operation may have happened at any time since it began, may still happen,
    /// or never.
    pub(super) answered: Option<Answered>,
    /// Index of its beginning among all beginnings and ends. A visitor may be given an older state: for a visitor, this
    /// is the earliest moment of that state.
    pub(super) began: usize,
    /// The calls that come before it in every order, one bit each. For a visitor: what the same process has answered
    /// before.
    pub(super) after: u128,
    pub(super) ended: usize,
}

/// Whether some order explains the answers, in which no call comes before one that had ended when it began.
pub(super) fn is_explained(calls: &[Call]) -> bool {
    assert!(calls.len() <= 128, "more than one word of bits can say");
    let mut search = Search { calls, led_nowhere: HashSet::new() };
    search.goes_on(0, &Link::default())
}

struct Search<'a> {
    calls: &'a [Call],
    led_nowhere: HashSet<(u128, Link)>,
}

impl Search<'_> {
    /// Whether the calls that are not `done` can follow, given the state of the link after the others.
    fn goes_on(&mut self, done: u128, link: &Link) -> bool {
        let open = |number: &usize| done & (1 << number) == 0;
        let answered: Vec<_> =
            (0..self.calls.len()).filter(open).filter(|number| self.calls[*number].answered.is_some()).collect();
        let Some(first_end) = answered.iter().map(|number| self.calls[*number].ended).min() else {
            return true;
        };
        if !self.led_nowhere.insert((done, link.clone())) {
            return false;
        }
        let may_be_next =
            |number: &usize| self.calls[*number].began < first_end && self.calls[*number].after & !done == 0;
        let next: Vec<_> = (0..self.calls.len()).filter(open).filter(may_be_next).collect();
        let tried = next.into_iter().filter_map(|number| self.tried(number, link).map(|after| (number, after)));
        let tried: Vec<_> = tried.collect();
        // A call that fits and changes nothing can be done at once: it does not prevent any other.
        if let Some((number, _)) =
            tried.iter().find(|(number, after)| after == link && self.calls[*number].answered.is_some())
        {
            return self.goes_on(done | 1 << *number, link);
        }
        tried.into_iter().any(|(number, after)| self.goes_on(done | 1 << number, &after))
    }

    /// The state of the link after that call, if the call may have been answered as it was.
    fn tried(&self, number: usize, link: &Link) -> Option<Link> {
        let Call { operation, answered, .. } = &self.calls[number];
        let mut link = link.clone();
        let fits = match answered {
            Some(Answered::Refused) => true,
            Some(answered) => link.operate(operation) == *answered,
            None => {
                link.operate(operation);
                true
            }
        };
        fits.then_some(link)
    }
}

#[test]
fn an_answer_counts_as_soon_as_it_is_given() {
    let call = |operation: Operation, answered: Option<Answered>, began, ended| Call {
        operation,
        answered,
        began,
        ended,
        after: 0,
    };
    let mut link = Link::default();
    let created = link.operate(&Operation::Claim);
    let read_after = call(Operation::Read, Some(Answered::Missing), 2, 3);
    assert!(!is_explained(&[call(Operation::Claim, Some(created.clone()), 0, 1), read_after.clone()]));
    // The calls overlap, so either may be first.
    assert!(is_explained(&[call(Operation::Claim, Some(created), 0, 4), read_after.clone()]));
    // A call without an answer may not have happened yet.
    assert!(is_explained(&[call(Operation::Claim, None, 0, usize::MAX), read_after]));
}
