//! The log: JSON lines on standard output, or readable ones on a terminal.
//!
//! A line is put into words where it is logged, with the time of that moment; one thread writes. Whoever logs
//! never waits for whoever reads: lines that find no room are counted and told of later.

use std::{
    cell::RefCell,
    io::{self, IsTerminal, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use domain::ports::Clock;
use slog::{Drain, FnValue, Level, LevelFilter, Logger, OwnedKVList, PushFnValue, Record, o};

use crate::{
    config::{LogConfig, LogFormat, LogLevel},
    effects::SystemClock,
};

/// Most bytes of lines that wait for the writer. More are dropped, and counted.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// How long lines are gathered before they are written together. Waking the writer for each line would cost more than
/// making it.
const GATHERING: Duration = Duration::from_millis(10);
/// Most memory that is kept for lines when there are few.
const MOST_KEPT: usize = 256 * 1024;
/// How long the last lines may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Keeps the writer alive; dropped, it waits until the last line is written.
pub(crate) struct LogGuard(Option<(Arc<Lines>, Receiver<()>)>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some((lines, written)) = self.0.take() {
            lines.end();
            let _late = written.recv_timeout(LAST_WORDS);
        }
    }
}

/// The root logger, and what must outlive it.
pub(crate) fn open(config: &LogConfig) -> io::Result<(Logger, LogGuard)> {
    let level = match config.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stdout().is_terminal(),
    };
    if !json {
        let decorator = slog_term::TermDecorator::new().stdout().build();
        let drain = slog_term::CompactFormat::new(decorator).build();
        let drain = LevelFilter::new(Mutex::new(drain), level).ignore_res();
        return Ok((Logger::root(drain, o!()), LogGuard(None)));
    }
    let lines = Arc::new(Lines::default());
    let (done, written) = sync_channel(1);
    let writing = Arc::clone(&lines);
    thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        writing.write_all_to(&mut io::stdout());
        let _nobody_waits = done.send(());
    })?;
    let drain = JsonLines(Arc::clone(&lines));
    let logger = Logger::root(LevelFilter::new(drain, level).ignore_res(), o!());
    Ok((logger, LogGuard(Some((lines, written)))))
}

/// Lines on their way to the writer.
#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    some: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
    ended: bool,
}

impl Lines {
    /// Never waits for whoever reads the log.
    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.some.notify_one();
        }
    }

    /// Has the writer write what there is, and end.
    fn end(&self) {
        self.lock().ended = true;
        self.some.notify_one();
    }

    fn write_all_to(&self, out: &mut impl Write) {
        let mut chunk = Vec::new();
        loop {
            let ended = self.gather(&mut chunk);
            // A reader that is gone is no reason to stop serving.
            let _unread = out.write_all(&chunk).and_then(|()| out.flush());
            chunk.shrink_to(MOST_KEPT);
            if ended {
                return;
            }
        }
    }

    /// Waits for lines, and takes all there are; whether they are the last.
    fn gather(&self, chunk: &mut Vec<u8>) -> bool {
        let nothing = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.ended;
        drop(self.some.wait_while(self.lock(), nothing).expect(UNPOISONED));
        // Nobody tells of further lines, only of the end.
        let unended = |waiting: &mut Waiting| !waiting.ended;
        let gathered = self.some.wait_timeout_while(self.lock(), GATHERING, unended).expect(UNPOISONED);
        let mut waiting = gathered.0;
        chunk.clear();
        mem::swap(chunk, &mut waiting.bytes);
        let (dropped, ended) = (mem::take(&mut waiting.dropped), waiting.ended);
        drop(waiting);
        if dropped > 0 {
            chunk.extend_from_slice(drops_line(dropped).as_bytes());
        }
        ended
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while it is held";

/// Puts records into words on the thread that logs them.
struct JsonLines(Arc<Lines>);

thread_local! {
    static FORMAT: (slog_json::Json<SharedBuffer>, SharedBuffer) = json_format();
}

/// A buffer the formatter writes to and the drain takes from.
#[derive(Clone, Default)]
struct SharedBuffer(std::rc::Rc<RefCell<Vec<u8>>>);

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json_format() -> (slog_json::Json<SharedBuffer>, SharedBuffer) {
    let buffer = SharedBuffer::default();
    let format = slog_json::Json::new(buffer.clone())
        .set_newlines(true)
        .add_key_value(o!(
            "message" => PushFnValue(|record: &Record<'_>, out| out.emit(record.msg())),
            "level" => FnValue(|record: &Record<'_>| level_name(record.level())),
            "timestamp" => FnValue(|_: &Record<'_>| SystemClock.now().to_string()),
        ))
        .build();
    (format, buffer)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

impl Drain for JsonLines {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        FORMAT.with(|(format, buffer)| {
            format.log(record, values)?;
            let mut line = buffer.0.borrow_mut();
            self.0.add(&line);
            line.clear();
            Ok(())
        })
    }
}

fn drops_line(lost: u64) -> String {
    let line = serde_json::json!({
        "timestamp": SystemClock.now().to_string(),
        "level": "warning",
        "message": format!("{lost} log lines were dropped: whoever reads them is too slow"),
        "event.name": "log.dropped",
        "log.dropped": lost,
    });
    format!("{line}\n")
}
