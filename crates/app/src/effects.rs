//! The system's clock and CSPRNG, behind the ports of the domain.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use domain::{
    ports::{Clock, Entropy},
    time::Timestamp,
};

/// The operating system's clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_unix_micros(micros).expect("the clock is before the year 10000")
    }
}

/// The operating system's CSPRNG.
#[derive(Debug)]
pub(crate) struct SystemEntropy;

impl SystemEntropy {
    /// Bytes that are fetched at a time: one system call costs as much as all the other steps of making a request id.
    const SUPPLY: usize = 4096;
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        thread_local! {
            static SUPPLY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        if bytes.len() > Self::SUPPLY {
            return ask(bytes);
        }
        SUPPLY.with_borrow_mut(|supply| {
            if supply.len() < bytes.len() {
                supply.resize(Self::SUPPLY, 0);
                ask(supply);
            }
            // No byte is given out twice, and none that was given out stays in memory.
            let left = supply.len() - bytes.len();
            bytes.copy_from_slice(&supply[left..]);
            supply[left..].fill(0);
            supply.truncate(left);
        });
    }
}

fn ask(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has to provide randomness: secrets depend on it");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_byte_is_given_twice() {
        let mut given = HashSet::new();
        for length in [16, 24, 4_096, 4_097, 10_000].into_iter().cycle().take(500) {
            let mut bytes = vec![0; length];
            SystemEntropy.fill(&mut bytes);
            for piece in bytes.chunks_exact(8) {
                assert!(given.insert(piece.to_vec()), "{piece:?}");
            }
        }
    }
}
