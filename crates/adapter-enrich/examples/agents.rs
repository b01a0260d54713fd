//! Describes whole lists of user agents, and fails if too many are described wrongly. `.ci/agents` runs it.
//!
//! `agents HUMANS BOTS`: each file holds one user agent a line. A line of humans may begin with the kind of device and a
//! tab. The last lines say what loading and describing cost.

use std::{
    fs,
    hint::black_box,
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use adapter_enrich::{Describer, DescriberOptions};
use domain::{
    click::{Click, ClickKind, Traits, UNKNOWN},
    ports::ClickDescriber,
    time::Timestamp,
};
use uuid::Uuid;

/// Wrong ones of each list that are shown.
const SHOWN: usize = 25;
/// At least these many per cent of browsers are named, of bots told, and of devices right.
const FLOOR: f64 = 99.0;

fn main() -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let [humans, bots] = files.as_slice() else {
        panic!("it takes two files: user agents of humans, and of bots");
    };
    let [humans, bots] = [humans, bots].map(|file| fs::read_to_string(file).expect("the file can be read"));
    let humans: Vec<_> = humans.lines().map(|line| line.split_once('\t').unwrap_or(("", line))).collect();
    let bots: Vec<_> = bots.lines().collect();
    let mut describer = Describer::new(DescriberOptions::default()).expect("it needs no file");

    let before = resident();
    let load = timed(|| drop(describe(&mut describer, "")));
    let loaded = resident();
    let all: Vec<_> = humans.iter().map(|(_, agent)| *agent).chain(bots.iter().copied()).collect();
    let new = timed(|| all.iter().for_each(|agent| drop(black_box(describe(&mut describer, agent)))));
    let after = resident();
    let few = &all[..all.len().min(1_000)];
    for agent in few {
        describe(&mut describer, agent);
    }
    let known = timed(|| few.iter().for_each(|agent| drop(black_box(describe(&mut describer, agent)))));

    let mut taken_for_bots = Share::default();
    let mut named = Share::default();
    let mut device = Share::default();
    for (kind, agent) in &humans {
        let traits = describe(&mut describer, agent);
        taken_for_bots.count(traits.kind == ClickKind::Human, || format!("{} <- {agent}", traits.browser));
        named.count(&*traits.browser != UNKNOWN && &*traits.os != UNKNOWN, || format!("{traits:?} <- {agent}"));
        if !kind.is_empty() {
            device.count(&*traits.device == *kind, || format!("{} is no {kind} <- {agent}", traits.device));
        }
    }
    let mut told = Share::default();
    for agent in &bots {
        let traits = describe(&mut describer, agent);
        told.count(traits.kind == ClickKind::Bot, || format!("{} <- {agent}", traits.browser));
    }

    let mut out = io::stdout().lock();
    let mut say = |text: String| writeln!(out, "{text}").expect("stdout can be written");
    for (name, share) in [
        ("humans taken for humans", &taken_for_bots),
        ("browsers and systems named", &named),
        ("devices right", &device),
        ("bots told", &told),
    ] {
        say(format!("{name:<28}{:7.2} % of {}", share.per_cent(), share.all));
        share.wrong.iter().take(SHOWN).for_each(|wrong| say(format!("    {wrong}")));
    }
    let each = |time: Duration, of: usize| time.as_nanos() / u128::try_from(of.max(1)).expect("it is small");
    say(format!(
        "lists loaded in {} ms, {} KiB; {} KiB after all agents",
        load.as_millis(),
        loaded - before,
        after - before
    ));
    say(format!("{} ns for a new agent, {} ns for a known one", each(new, all.len()), each(known, few.len())));

    let is_good =
        taken_for_bots.wrong.is_empty() && [named, device, told].iter().all(|share| share.per_cent() >= FLOOR);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many of a list are right, and which are not.
#[derive(Default)]
struct Share {
    all: u32,
    wrong: Vec<String>,
}

impl Share {
    fn count(&mut self, is_right: bool, wrong: impl FnOnce() -> String) {
        self.all += 1;
        if !is_right {
            self.wrong.push(wrong());
        }
    }

    fn per_cent(&self) -> f64 {
        let wrong = u32::try_from(self.wrong.len()).expect("it is counted in `all` too");
        100.0 * f64::from(self.all - wrong) / f64::from(self.all.max(1))
    }
}

/// What a click with this user agent tells, cut off as the redirect path does.
fn describe(describer: &mut Describer, user_agent: &str) -> Traits {
    describer.describe(&Click {
        at: Timestamp::from_unix_micros(0).expect("a moment"),
        link: Uuid::nil(),
        visitor: None,
        network: None,
        referrer: "news.example",
        user_agent: &user_agent[..user_agent.floor_char_boundary(Click::MAX_USER_AGENT)],
        language: "de",
        is_prefetch: false,
        opted_out: false,
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Resident memory of the process in KiB; 0 where that is not known.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
