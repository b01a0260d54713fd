//! Visitors: distinct people of one link and one UTC day, without their addresses.

use std::{fmt, hash::Hasher, net::IpAddr};

use datasketches::hll::{HllSketch, HllType, HllUnion};
use siphasher::sip::SipHasher24;

use super::Day;
use crate::link::Owner;

/// The secret, random salt of one UTC day. Once it is deleted, no hash of that day can be traced to an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DailySalt {
    day: Day,
    key: [u8; Self::BYTES],
}

impl DailySalt {
    /// Length of a salt in bytes.
    pub const BYTES: usize = 16;

    /// The salt of `day`.
    pub fn new(day: Day, key: [u8; Self::BYTES]) -> Self {
        Self { day, key }
    }

    /// Its day.
    pub fn day(&self) -> Day {
        self.day
    }

    /// The secret bytes, for a store.
    pub fn expose(&self) -> [u8; Self::BYTES] {
        self.key
    }
}

/// Does not show the secret.
impl fmt::Debug for DailySalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DailySalt").field("day", &self.day).finish_non_exhaustive()
    }
}

/// A visitor of one owner's links on one UTC day: `SipHash` of owner, address and user agent, with the salt of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VisitorHash(pub u64);

impl VisitorHash {
    /// The visitor with this address and user agent.
    pub fn new(salt: &DailySalt, owner: &Owner, address: IpAddr, user_agent: &[u8]) -> Self {
        let mut hasher = SipHasher24::new_with_key(&salt.key);
        // An owner holds no zero byte, and the length of an address follows from its first byte, so no two visitors
        // are hashed from the same bytes.
        hasher.write(owner.as_str().as_bytes());
        match address.to_canonical() {
            IpAddr::V4(address) => {
                hasher.write(&[0, 4]);
                hasher.write(&address.octets());
            }
            IpAddr::V6(address) => {
                hasher.write(&[0, 6]);
                hasher.write(&address.octets());
            }
        }
        hasher.write(user_agent);
        Self(hasher.finish())
    }
}

/// The distinct visitors of one link and one day: a `HyperLogLog` sketch of some 2 KiB at most, exact for a few hundred
/// visitors, then with a standard error of 1.6 %.
#[derive(Clone, Debug)]
pub struct VisitorSketch(HllSketch);

/// 2^12 registers of four bits.
const LG_REGISTERS: u8 = 12;
const REGISTERS: HllType = HllType::Hll4;

impl VisitorSketch {
    /// The sketch of these visitors.
    pub fn of(visitors: impl IntoIterator<Item = VisitorHash>) -> Self {
        let mut sketch = Self::default();
        sketch.add(visitors);
        sketch
    }

    /// Adds visitors. One that is there already changes nothing.
    pub fn add(&mut self, visitors: impl IntoIterator<Item = VisitorHash>) {
        visitors.into_iter().for_each(|visitor| self.0.update(visitor.0));
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSketch> {
        HllSketch::deserialize(bytes).map(Self).map_err(|_| InvalidSketch)
    }

    /// The sketch as bytes, for a store.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    /// The visitors of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = HllUnion::new(LG_REGISTERS).expect("the number of registers is allowed");
        union.update(&self.0);
        union.update(&other.0);
        Self(union.to_sketch(REGISTERS))
    }

    /// About how many there are.
    pub fn count(&self) -> u64 {
        let estimate = self.0.estimate().round();
        // As many as a `u64` holds never visit.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is neither negative nor huge")]
        let count = estimate as u64;
        count
    }
}

impl Default for VisitorSketch {
    fn default() -> Self {
        Self(HllSketch::new(LG_REGISTERS, REGISTERS).expect("the number of registers is allowed"))
    }
}

/// A stored sketch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no sketch of visitors")]
pub struct InvalidSketch;

#[cfg(test)]
mod tests {
    use super::*;

    fn salt(day: i32) -> DailySalt {
        DailySalt::new(Day(day), [u8::try_from(day).expect("a small day"); DailySalt::BYTES])
    }

    #[test]
    fn a_visitor_is_one_person_of_one_owner_and_one_day() {
        let owner = Owner::default();
        let address: IpAddr = "203.0.113.7".parse().expect("an address");
        let visitor = VisitorHash::new(&salt(1), &owner, address, b"agent");
        assert_eq!(visitor, VisitorHash::new(&salt(1), &owner, address, b"agent"));
        let mapped = "::ffff:203.0.113.7".parse().expect("an address");
        assert_eq!(visitor, VisitorHash::new(&salt(1), &owner, mapped, b"agent"));
        let neighbour = "203.0.113.8".parse().expect("an address");
        for other in [
            VisitorHash::new(&salt(2), &owner, address, b"agent"),
            VisitorHash::new(&salt(1), &Owner::anonymous(), address, b"agent"),
            VisitorHash::new(&salt(1), &owner, neighbour, b"agent"),
            VisitorHash::new(&salt(1), &owner, address, b"another"),
        ] {
            assert_ne!(visitor, other);
        }
    }

    #[test]
    fn the_secret_of_a_salt_is_not_shown() {
        assert_eq!(format!("{:?}", salt(7)), "DailySalt { day: Day(7), .. }");
    }

    #[test]
    fn a_sketch_counts_each_visitor_once() {
        let visitors = |range: std::ops::Range<u64>| VisitorSketch::of(range.map(|n| VisitorHash(n << 17)));
        assert_eq!(VisitorSketch::default().count(), 0);
        let (some, others) = (visitors(0..100), visitors(50..150));
        assert_eq!((some.count(), others.count(), some.union(&others).count()), (100, 100, 150));
        let many = visitors(0..100_000);
        assert!((93_000..107_000).contains(&many.count()), "{}", many.count());
        assert!(many.to_bytes().len() <= 4_096, "{}", many.to_bytes().len());
        assert!(visitors(0..1).to_bytes().len() <= 12);
    }

    #[test]
    fn a_sketch_is_read_back() {
        let sketch = VisitorSketch::of((0..1_000).map(VisitorHash));
        let again = VisitorSketch::from_bytes(&sketch.to_bytes()).expect("it was written so");
        assert_eq!(again.count(), sketch.count());
        assert_eq!(VisitorSketch::from_bytes(b"junk").unwrap_err(), InvalidSketch);
        assert_eq!(VisitorSketch::from_bytes(b"").unwrap_err(), InvalidSketch);
    }
}
