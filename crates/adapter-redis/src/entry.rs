//! Entries: the form of a link in Redis, and its key.
//!
//! An entry begins with the generation in decimal. The rest follows after a space, as JSON. An entry without the rest
//! only says that nothing older is valid.

use std::{borrow::Cow, sync::Arc};

use domain::{
    address::Address,
    behaviour::Behaviour,
    lifecycle::Resolution,
    link::{Generation, LinkState, Owner},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Version of keys and entries. Processes with another version use other keys.
pub(crate) const FORM: u32 = 4;

/// The names of all keys and channels of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    store: String,
}

impl Names {
    pub(crate) fn new(store: impl Into<String>) -> Self {
        Self { store: store.into() }
    }

    /// The key of the current epoch.
    pub(crate) fn epoch(&self) -> String {
        format!("signpost:{FORM}:{}:epoch", self.store)
    }

    /// The channel on which changes are published.
    pub(crate) fn channel(&self) -> String {
        format!("signpost:{FORM}:{}:changes", self.store)
    }

    /// The key of the processes that are live.
    pub(crate) fn processes(&self) -> String {
        format!("signpost:{FORM}:{}:processes", self.store)
    }

    /// The key of a quota. It holds a hash of the account, because the account identifies a client.
    pub(crate) fn quota(&self, account: &str) -> String {
        let mut name = Sha256::new_with_prefix(&self.store);
        name.update(account);
        let name: [u8; 32] = name.finalize().into();
        let [name, ..] = name.as_chunks().0 else { unreachable!("it has two halves") };
        format!("signpost:{FORM}:{}:quota:{:032x}", self.store, u128::from_be_bytes(*name))
    }

    /// The key of the entry of an address.
    pub(crate) fn link(&self, epoch: &str, address: &Address) -> String {
        format!("signpost:{FORM}:{}:{epoch}:{address}", self.store)
    }
}

#[derive(Serialize, Deserialize)]
struct Rest<'a> {
    id: Uuid,
    owner: Cow<'a, Owner>,
    behaviour: Cow<'a, Behaviour>,
    deleted_at: Option<Timestamp>,
}

/// What an entry says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The whole link.
    Whole(Arc<Resolution>),
    /// That every older entry is outdated.
    Outdated,
}

pub(crate) fn write(resolution: &Resolution) -> String {
    let deleted_at = match resolution.state {
        LinkState::Active => None,
        LinkState::Deleted { at } => Some(at),
    };
    let rest = Rest {
        id: resolution.id,
        owner: Cow::Borrowed(&resolution.owner),
        behaviour: Cow::Borrowed(&resolution.behaviour),
        deleted_at,
    };
    let json = serde_json::to_string(&rest).expect("texts and numbers are JSON");
    format!("{} {json}", resolution.generation.get())
}

/// `None` if `text` is not a valid entry.
pub(crate) fn read(text: &str) -> Option<Entry> {
    let Some((generation, json)) = text.split_once(' ') else {
        return parse_generation(text).map(|_| Entry::Outdated);
    };
    let generation = parse_generation(generation)?;
    // Whatever the entry holds, its target is validated as a target of any store is.
    let Rest { id, owner, behaviour, deleted_at } = serde_json::from_str(json).ok()?;
    let (owner, behaviour) = (owner.into_owned(), behaviour.into_owned());
    let state = deleted_at.map_or(LinkState::Active, |at| LinkState::Deleted { at });
    Some(Entry::Whole(Arc::new(Resolution { id, owner, behaviour, state, generation })))
}

/// A message on the channel of changes.
pub(crate) fn write_change(address: &Address, generation: Generation) -> String {
    format!("{address} {}", generation.get())
}

pub(crate) fn read_change(text: &str) -> Option<(Address, Generation)> {
    let (address, generation) = text.split_once(' ')?;
    Some((address.parse().ok()?, parse_generation(generation)?))
}

fn parse_generation(text: &str) -> Option<Generation> {
    Generation::new(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use domain::{behaviour::RedirectStatus, target::Target};

    use super::*;

    fn resolution(state: LinkState) -> Resolution {
        let target = Target::from_stored("https://example.com/a?b=%20#c".to_owned()).expect("a target");
        let behaviour = Behaviour {
            redirect: RedirectStatus::PermanentRedirect,
            forward_query: true,
            expires_at: Timestamp::from_unix_micros(4_102_444_800_000_001),
            ..Behaviour::to(target)
        };
        let generation = Generation::new(7).expect("positive");
        Resolution { id: Uuid::from_u128(7), owner: Owner::default(), behaviour, state, generation }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let at = Timestamp::from_unix_micros(1_700_000_000_000_003).expect("in range");
        for state in [LinkState::Active, LinkState::Deleted { at }] {
            let resolution = resolution(state);
            assert_eq!(read(&write(&resolution)), Some(Entry::Whole(Arc::new(resolution))));
        }
        assert_eq!(read("12"), Some(Entry::Outdated));
    }

    #[test]
    fn invalid_text_is_no_entry() {
        let whole = write(&resolution(LinkState::Active));
        let elsewhere = whole.replace("https://example.com", "javascript:alert(1)//");
        let split = whole.replace("%20", "\\r\\nSet-Cookie: a=b");
        for bad in ["", " ", "0", "-1", "x", "7 ", "7 {}", "7 null", &whole[..whole.len() - 1], &elsewhere, &split] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_change_is_a_code_and_a_generation() {
        let code: Address = "h7RkQ2mX".parse().expect("a code");
        let generation = Generation::new(12).expect("positive");
        assert_eq!(read_change(&write_change(&code, generation)), Some((code, generation)));
        for bad in ["", "h7RkQ2mX", "h7RkQ2mX 0", "h7RkQ2mX x", "? 1"] {
            assert_eq!(read_change(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_store_and_epoch_has_its_own_keys() {
        let code: Address = "h7RkQ2mX".parse().expect("a code");
        let (one, other) = (Names::new("1/2/3"), Names::new("1/2/4"));
        let keys = [
            one.link("a", &code),
            one.link("b", &code),
            other.link("a", &code),
            one.epoch(),
            one.channel(),
            one.processes(),
            one.quota("a"),
            one.quota("b"),
            other.quota("a"),
        ];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
    }
}
