//! Background tasks, and the log.

use super::super::sources::seconds;
use super::{Label, Metric, counter, gauge, label};
use crate::{clicks, tasks};

const TASK: Label = label("task", || [tasks::NAMES, clicks::TASK_NAMES].concat());

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    gauge("signpost_task_last_success_timestamp_seconds", &[TASK],
        "When a background task last did its work, in seconds since 1970; missing before the first time",
        "Older than the period of the task plus ten seconds",
        |it, out| for task in &it.tasks {
            if let Some(moment) = task.last_success {
                out.with([task.name], seconds(moment.unix_micros()));
            }
        }),
    gauge("signpost_task_failing", &[TASK],
        "1 while /health reports the task, else 0",
        "1: the log says why (task.failing)",
        |it, out| out.each(it.tasks.iter().map(|task| (task.name, task.amiss.is_some())))),
    counter("signpost_task_restarts_total", &[TASK],
        "How often a background task ended, panicked or hung, and was restarted",
        "Any",
        |it, out| out.each(it.tasks.iter().map(|task| (task.name, task.restarts)))),
    counter("signpost_task_failures_total", &[TASK],
        "How often an attempt of a background task failed",
        "A sustained rate",
        |it, out| out.each(it.tasks.iter().map(|task| (task.name, task.failures)))),
    counter("signpost_log_lines_total", &[],
        "Log lines that were handed to the writer",
        "",
        |it, out| out.one(it.log.lines)),
    counter("signpost_log_dropped_lines_total", &[],
        "Log lines that were dropped because the reader of the log was too slow",
        "Any",
        |it, out| out.one(it.log.dropped)),
    gauge("signpost_log_waiting_bytes", &[],
        "Bytes of log lines that wait for the writer",
        "Near 8 MiB: lines are dropped",
        |it, out| out.one(it.log.waiting_bytes)),
];
