//! The process.

use super::{Label, Metric, When, counter, gauge, label};

const VERSION: Label = label("version", || vec![env!("CARGO_PKG_VERSION")]);
const PHASE: Label = label("phase", || PHASES.to_vec());
const PHASES: [&str; 3] = ["starting", "ready", "draining"];

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    gauge("signpost_build_info", &[VERSION],
        "Always 1; the version of the binary",
        "More than one version for long: a rollout hangs",
        |_, out| out.with([env!("CARGO_PKG_VERSION")], 1_u64)),
    gauge("signpost_phase", &[PHASE],
        "1 for the phase of the process, 0 for the others",
        "starting for more than a minute: the store cannot be prepared",
        |it, out| out.each(PHASES.map(|phase| (phase, it.phase == phase)))),
    gauge("process_start_time_seconds", &[],
        "When the process started, in seconds since 1970",
        "Changes: restarts",
        |it, out| out.one(it.started)),
    counter("process_cpu_seconds_total", &[],
        "Processor time of all threads",
        "",
        |it, out| out.maybe(it.process.as_ref().map(|process| process.processor_time.as_secs_f64()))).only(When::Linux),
    gauge("process_resident_memory_bytes", &[],
        "Resident memory",
        "A steady rise; the limit of the container",
        |it, out| out.maybe(it.process.as_ref().map(|process| process.resident_bytes))).only(When::Linux),
    gauge("process_virtual_memory_bytes", &[],
        "Virtual memory",
        "",
        |it, out| out.maybe(it.process.as_ref().map(|process| process.virtual_bytes))).only(When::Linux),
    gauge("process_open_fds", &[],
        "Open file descriptors",
        "Near the maximum",
        |it, out| out.maybe(it.process.as_ref().map(|process| process.descriptors))).only(When::Linux),
    gauge("process_max_fds", &[],
        "How many file descriptors may be open; missing without a limit",
        "",
        |it, out| out.maybe(it.process.as_ref().and_then(|process| process.max_descriptors))).only(When::Linux),
    gauge("process_threads", &[],
        "Threads of the operating system",
        "A steady rise",
        |it, out| out.maybe(it.process.as_ref().map(|process| process.threads))).only(When::Linux),
];
