//! The salts of today and tomorrow: fetched from the store, or made there, a day ahead.

use domain::{
    click::{DailySalt, Day},
    ports::{Clock, Entropy, RepositoryError},
};

use super::parts::Clicks;
use crate::effects::{SystemClock, SystemEntropy};

/// Days for which a salt is kept. After that no visitor of the day can be told again.
const KEPT_DAYS: i32 = 2;

/// The first day whose salt is kept.
pub(crate) fn first_kept_day() -> Day {
    Day(Day::of(SystemClock.now()).0 - KEPT_DAYS + 1)
}

/// Makes the salts of today and tomorrow known, if clicks are recorded. The day of a click that began a moment ago may be
/// yesterday's: its salt stays known too.
pub(crate) async fn refresh(clicks: &Clicks) -> Result<(), RepositoryError> {
    if clicks.spool.is_none() {
        return Ok(());
    }
    let today = Day::of(SystemClock.now());
    let yesterday = Day(today.0 - 1);
    // Older ones are forgotten first, whatever the store answers.
    let mut salts: Vec<_> = [yesterday, today, today.next()].iter().filter_map(|day| clicks.salts.of(*day)).collect();
    clicks.salts.replace(salts.clone());
    for day in [today, today.next()] {
        if clicks.salts.of(day).is_none() {
            let mut key = [0; DailySalt::BYTES];
            SystemEntropy.fill(&mut key);
            salts.push(clicks.repository.salt(&DailySalt::new(day, key)).await?);
            clicks.salts.replace(salts.clone());
        }
    }
    Ok(())
}
