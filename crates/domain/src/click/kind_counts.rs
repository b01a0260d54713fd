//! Clicks of people and of bots, side by side.

use std::ops::AddAssign;

use super::ClickKind;

/// Clicks of people and of bots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// By people.
    pub humans: u64,
    /// By bots.
    pub bots: u64,
}

impl KindCounts {
    /// So many clicks of one kind.
    pub fn of_kind(kind: ClickKind, clicks: u64) -> Self {
        match kind {
            ClickKind::Human => Self { humans: clicks, bots: 0 },
            ClickKind::Bot => Self { humans: 0, bots: clicks },
        }
    }

    /// Those of one kind.
    pub fn kind(self, kind: ClickKind) -> u64 {
        match kind {
            ClickKind::Human => self.humans,
            ClickKind::Bot => self.bots,
        }
    }

    /// Both kinds.
    pub fn total(self) -> u64 {
        self.humans.saturating_add(self.bots)
    }

    /// The kinds that have clicks, with their numbers.
    pub fn by_kind(self) -> impl Iterator<Item = (ClickKind, u64)> {
        let all = ClickKind::ALL.into_iter().map(move |kind| (kind, self.kind(kind)));
        all.filter(|(_, clicks)| *clicks > 0)
    }
}

/// Stops at the greatest number there is: stored rows may hold anything.
impl AddAssign for KindCounts {
    fn add_assign(&mut self, more: Self) {
        self.humans = self.humans.saturating_add(more.humans);
        self.bots = self.bots.saturating_add(more.bots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_added_apart() {
        let mut counts = KindCounts::of_kind(ClickKind::Human, 2);
        counts += KindCounts::of_kind(ClickKind::Bot, 3);
        counts += KindCounts { humans: u64::MAX, bots: 1 };
        assert_eq!(counts, KindCounts { humans: u64::MAX, bots: 4 });
        assert_eq!(counts.total(), u64::MAX);
        let only_bots = KindCounts::of_kind(ClickKind::Bot, 1);
        assert_eq!(only_bots.by_kind().collect::<Vec<_>>(), [(ClickKind::Bot, 1)]);
    }
}
