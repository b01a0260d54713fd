//! What a user agent tells, from the lists in `data`.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use ua_parser::{os, user_agent};

use super::{
    bots::{Bots, is_bare},
    device::Device,
    own_bots::OwnBots,
    value::value,
};

/// Patterns of browsers and systems, as JSON. See `data/README.md`.
const PATTERNS: &str = include_str!("../data/agents.json");

/// What a user agent tells. `None` is what is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) is_bot: bool,
    /// Family of the browser, or name of the bot.
    pub(crate) browser: Option<Arc<str>>,
    pub(crate) os: Option<Arc<str>>,
    pub(crate) device: Option<Device>,
}

#[derive(Deserialize)]
struct Patterns {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

/// The lists, compiled.
pub(crate) struct Agents {
    bots: Bots,
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Agents {
    /// The lists. The first call compiles them: about 150 ms and 18 MiB, once for the process.
    pub(crate) fn loaded() -> &'static Self {
        static AGENTS: LazyLock<Agents> = LazyLock::new(Agents::load);
        &AGENTS
    }

    fn load() -> Self {
        const SOUND: &str = "the patterns are part of the program, and tested";
        let Patterns { user_agent_parsers, os_parsers } = serde_json::from_str(PATTERNS).expect(SOUND);
        let browsers = user_agent::Builder::new().push_all(user_agent_parsers).expect(SOUND).build().expect(SOUND);
        let systems = os::Builder::new().push_all(os_parsers).expect(SOUND).build().expect(SOUND);
        Self { bots: Bots::load(), browsers, systems }
    }

    /// What `user_agent` tells. A bot tells its name only: the rest of what it says is a disguise.
    pub(crate) fn agent(&self, user_agent: &str, own_bots: Option<&OwnBots>) -> Agent {
        let own = own_bots.and_then(|bots| bots.name(user_agent));
        let name = own.or_else(|| self.bots.name(user_agent));
        if name.is_some() || is_bare(user_agent) {
            return Agent { is_bot: true, browser: name.and_then(value), os: None, device: None };
        }
        let browser = self.browsers.extract(user_agent).and_then(|found| value(&found.family));
        let os = self.systems.extract(user_agent).and_then(|found| value(&found.os));
        Agent { is_bot: false, browser, os, device: Device::of(user_agent) }
    }
}
