//! The quota of codes that no link has. Guesses are charged; visitors of links are not.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::ports::Existence;
use tokio::time::sleep;

use super::{ClientAddress, Limits, Policy, Tally};
use crate::problem::Problem;

/// The charge for one code. It is taken before the store is asked, and given back if there is a link or the lookup
/// fails. A client that disconnects first is charged: the lookup goes on, and its result is cached.
pub(crate) struct UnknownCodeCharge {
    limits: Arc<Limits>,
    client: ClientAddress,
    /// `None` for a code that a link most likely has: visitors must not depend on what others at their address tried.
    taken: Option<NonZeroU32>,
    is_due: bool,
}

impl UnknownCodeCharge {
    /// Takes the charge, whether or not a link may have the code.
    pub(crate) fn take(limits: &Arc<Limits>, tally: &Tally) -> Result<Self, Problem> {
        let taken = limits.take(tally, Policy::Unknown)?;
        Ok(Self { limits: Arc::clone(limits), client: tally.client, taken: Some(taken), is_due: true })
    }

    /// Takes the charge, unless a link most likely has the code.
    pub(crate) fn take_unless_known(
        limits: &Arc<Limits>,
        tally: &Tally,
        existence: Existence,
    ) -> Result<Self, Problem> {
        match existence {
            Existence::Possible => {
                Ok(Self { limits: Arc::clone(limits), client: tally.client, taken: None, is_due: false })
            }
            Existence::Absent | Existence::Unsure | Existence::Pending => Self::take(limits, tally),
        }
    }

    /// Like [`take_unless_known`](Self::take_unless_known), but waits right after a start, while the codes of links are
    /// still being read. A refused charge then waits up to `timeout`: until the codes are known, or until the charges
    /// of other visitors at the same address are given back.
    pub(crate) async fn take_when_known(
        limits: &Arc<Limits>,
        tally: &Tally,
        existence: impl Fn() -> Existence,
        timeout: Duration,
    ) -> Result<Self, Problem> {
        let (deadline, mut place) = (Instant::now() + timeout, None);
        loop {
            let charge = Self::take_unless_known(limits, tally, existence());
            if charge.is_ok() {
                tally.admit();
                return charge;
            }
            if existence() != Existence::Pending || Instant::now() >= deadline {
                return charge;
            }
            if place.is_none() {
                place = limits.pending_visitors.try_acquire().ok();
            }
            if place.is_none() {
                return charge;
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Keeps the charge if `other` is admitted; gives it back if not.
    pub(crate) fn and(self, other: Result<(), Problem>) -> Result<Self, Problem> {
        match other {
            Ok(()) => Ok(self),
            Err(problem) => self.settle(Err(problem), |_| false),
        }
    }

    /// Keeps the charge if the lookup succeeded and `is_unknown` says that no link has the code; else gives it back.
    pub(crate) fn settle<T>(
        mut self,
        outcome: Result<T, Problem>,
        is_unknown: impl Fn(&T) -> bool,
    ) -> Result<T, Problem> {
        self.is_due = outcome.as_ref().is_ok_and(is_unknown);
        outcome
    }
}

impl Drop for UnknownCodeCharge {
    fn drop(&mut self) {
        let Some(taken) = self.taken else {
            return;
        };
        if self.is_due {
            self.limits.record(Policy::Unknown, self.client);
        } else {
            self.limits.give_back(Policy::Unknown, self.client, taken);
        }
    }
}

/// How often a visitor who waits tries again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        task::{Context, Waker},
    };

    use super::*;
    use crate::limits::{Quota, Quotas};

    /// Limits whose quota of unknown codes is used up by another visitor at the same address.
    fn used_up() -> (Arc<Limits>, Tally, UnknownCodeCharge) {
        let quota = Quota::new(0.001, NonZeroU32::MIN).expect("sensible");
        let quotas = Quotas { redirect: quota, read: quota, claim: quota, batch: quota, keys: quota, unknown: quota };
        let limits = Arc::new(Limits::new(Some(quotas), None, NonZeroU32::MIN));
        let tally = Tally::new(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)).into(), Some(Policy::Redirect));
        let Ok(charge) = UnknownCodeCharge::take(&limits, &tally) else { panic!("the first one is within the quota") };
        (limits, tally, charge)
    }

    #[tokio::test(start_paused = true)]
    async fn of_300_visitors_256_wait_while_the_codes_are_read_and_44_are_rejected() {
        let (limits, tally, _charge) = used_up();
        let take =
            || UnknownCodeCharge::take_when_known(&limits, &tally, || Existence::Pending, Duration::from_secs(1));
        let mut visitors: Vec<_> = (0..300).map(|_| Box::pin(take())).collect();
        let mut context = Context::from_waker(Waker::noop());
        let rejected = visitors.iter_mut().filter_map(|visitor| match visitor.as_mut().poll(&mut context) {
            std::task::Poll::Ready(outcome) => outcome.err(),
            std::task::Poll::Pending => None,
        });
        assert_eq!(rejected.count(), 44);
    }

    #[tokio::test(start_paused = true)]
    async fn a_visitor_who_waited_and_is_admitted_was_rejected_by_no_limit() {
        let (limits, tally, charge) = used_up();
        let take = UnknownCodeCharge::take_when_known(&limits, &tally, || Existence::Pending, Duration::from_secs(1));
        let mut visitor = Box::pin(take);
        assert!(visitor.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(tally.refused_by().is_some());
        // The other visitor found a link.
        charge.settle(Ok(()), |()| false).expect("it is what was given");
        assert!(visitor.await.is_ok());
        assert_eq!(tally.refused_by(), None);
    }
}
