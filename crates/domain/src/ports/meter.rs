//! Meters: one place where everything that several processes let in together is counted.

use std::{fmt::Debug, num::NonZeroU32, time::Duration};

use async_trait::async_trait;

/// So much of one quota. A quota is whole at first; each of what is drawn from it comes back after `interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Whose quota it is, in the same words on every process.
    pub account: String,
    /// How long it takes until there is one more.
    pub interval: Duration,
    /// How much there is of it when it is whole.
    pub burst: NonZeroU32,
    /// How much is drawn; put back, if negative.
    pub amount: i64,
}

/// What came of draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Which of them was refused, the first if several were: then none of them was drawn.
    pub refused: Option<usize>,
    /// For each, in their order: how long until its quota is whole again. Longer than `interval * burst` if more was
    /// drawn than there is.
    pub whole_in: Vec<Duration>,
}

/// Counts what all processes on one store let in together, by the generic cell rate algorithm, on one clock.
#[async_trait]
pub trait Meter: Debug + Send + Sync {
    /// Draws all of them or, if one quota has too little left, none. `None` if that could not be done, or nobody knows
    /// whether it was: never an error, for whoever asks has to decide all the same, and soon.
    async fn draw(&self, draws: &[Draw]) -> Option<Drawn>;

    /// Draws all of them, whatever is left: others were let in already. What is missing has to come back first.
    async fn settle(&self, draws: &[Draw]) -> Option<Drawn>;

    /// Whether it can be asked at present. Without a wait.
    fn is_there(&self) -> bool;

    /// How many processes there are, as far as that is known; when the meter is away, as they were counted last.
    fn processes(&self) -> NonZeroU32;
}
