//! What one request was charged, and how its client stands to the tightest limit.

use std::{cell::Cell, num::NonZeroU32};

use super::{ClientAddress, Policy, Standing};

/// One for each request, written only by [`Limits`](super::Limits).
#[derive(Debug)]
pub(crate) struct Tally {
    /// The client that is charged.
    pub(crate) client: ClientAddress,
    /// What the request is charged as; `None` if it never is.
    pub(crate) policy: Option<Policy>,
    standing: Cell<Option<Standing>>,
    charged: Cell<Charged>,
    refused_by: Cell<Option<Refusal>>,
}

/// The limit that refused a request, by the names that operators know: the policy and what it counts.
pub(crate) type Refusal = (&'static str, &'static str);

/// What was charged so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Charged {
    pub(super) client: Option<Charge>,
    pub(super) key: Option<Charge>,
    /// The shared limiter was asked, and did not reply.
    pub(super) unanswered: bool,
}

/// A charge that can be given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    /// Its weight in this process.
    pub(super) weight: NonZeroU32,
    /// Whether the shared limiter charged it as well. There each charge weighs one.
    pub(super) is_shared: bool,
}

impl Tally {
    pub(crate) fn new(client: ClientAddress, policy: Option<Policy>) -> Self {
        Self { client, policy, standing: Cell::new(None), charged: Cell::default(), refused_by: Cell::new(None) }
    }

    /// How the client stands to the tightest limit that was looked at.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.standing.get()
    }

    /// The limit that refused the request, if one did.
    pub(crate) fn refused_by(&self) -> Option<Refusal> {
        self.refused_by.get()
    }

    pub(super) fn add_standing(&self, standing: Standing) {
        self.standing.set(Some(self.standing.get().map_or(standing, |before| before.tighter(standing))));
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused_by.set(Some(refusal));
    }

    /// A later try was admitted.
    pub(super) fn admit(&self) {
        self.refused_by.set(None);
    }

    pub(super) fn charged(&self) -> Charged {
        self.charged.get()
    }

    pub(super) fn set_charged(&self, change: impl FnOnce(Charged) -> Charged) {
        self.charged.set(change(self.charged.get()));
    }
}
