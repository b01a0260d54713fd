//! The log: JSON lines on standard output, or readable ones on a terminal.
//!
//! A line is put into words where it is logged, with the time of that moment; one thread writes. Whoever logs
//! never waits for whoever reads: lines that find no room are counted and told of later.

use std::{
    cell::RefCell,
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
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

/// Lines that may wait for the writer.
const QUEUE: usize = 16_384;
/// Most bytes of one write.
const CHUNK: usize = 64 * 1024;
/// How long the last lines may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Keeps the writer alive; dropped, it waits until the last line is written.
pub(crate) struct LogGuard {
    written: Option<Receiver<()>>,
    lines: Option<SyncSender<Vec<u8>>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let (Some(lines), Some(written)) = (self.lines.take(), self.written.take()) {
            // An empty line ends the writer, although loggers may still be around.
            let _full = lines.try_send(Vec::new());
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
        let drain = LevelFilter::new(std::sync::Mutex::new(drain), level).ignore_res();
        return Ok((Logger::root(drain, o!()), LogGuard { written: None, lines: None }));
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let (lines, queue) = sync_channel(QUEUE);
    let (done, written) = sync_channel(1);
    let lost = Arc::clone(&dropped);
    thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        write_lines(&queue, &lost);
        let _nobody_waits = done.send(());
    })?;
    let drain = JsonLines { lines: lines.clone(), dropped };
    let logger = Logger::root(LevelFilter::new(drain, level).ignore_res(), o!());
    Ok((logger, LogGuard { written: Some(written), lines: Some(lines) }))
}

/// Puts records into words on the thread that logs them.
struct JsonLines {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

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
        let line = FORMAT.with(|(format, buffer)| {
            format.log(record, values)?;
            Ok::<_, io::Error>(std::mem::take(&mut *buffer.0.borrow_mut()))
        })?;
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn write_lines(queue: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    let mut out = io::stdout();
    loop {
        let mut chunk = match queue.recv_timeout(Duration::from_secs(1)) {
            Ok(line) if line.is_empty() => return,
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut last = false;
        while chunk.len() < CHUNK
            && !last
            && let Ok(line) = queue.try_recv()
        {
            last = line.is_empty();
            chunk.extend_from_slice(&line);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            chunk.extend_from_slice(drops_line(lost).as_bytes());
        }
        // A reader that is gone is no reason to stop serving.
        let _unread = out.write_all(&chunk).and_then(|()| out.flush());
        if last {
            return;
        }
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
