//! The log: JSON lines on standard output, or text lines on a terminal.
//!
//! A line is formatted by the thread that logs it, with the time of that moment; one thread writes. A thread that logs
//! never waits for the reader of the log, in any format: when the buffer is full, lines are dropped and counted, and
//! the count is logged later. Client input in a line cannot steer a terminal, and API keys in it are masked.

mod request_line;

use std::{
    borrow::Cow,
    cell::RefCell,
    io::{self, IsTerminal, Write},
    mem,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use adapter_http::REQUEST_TAG;
use domain::{api_key::mask_keys, ports::Clock, time::Timestamp};
use slog::{Drain, FnValue, Level, LevelFilter, Logger, OwnedKVList, PushFnValue, Record, o};

use crate::{
    config::{LogConfig, LogFormat, LogLevel},
    effects::SystemClock,
};

/// Most bytes of lines that wait for the writer. Further lines are dropped and counted.
const MAX_WAITING: usize = 8 * 1024 * 1024;
/// How long lines are gathered before they are written together. Waking the writer for each line would cost more than
/// formatting it.
const GATHERING: Duration = Duration::from_millis(10);
/// Buffer capacity that is kept when there are few lines.
const MAX_KEPT: usize = 256 * 1024;
/// How long the process waits at its end for the last lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Keeps the writer alive. On drop it waits for the last lines, for up to `LAST_WORDS`.
pub(crate) struct LogGuard(Option<(Arc<Lines>, Receiver<()>)>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some((lines, written)) = self.0.take() {
            lines.end();
            let _late = written.recv_timeout(LAST_WORDS);
        }
    }
}

impl LogGuard {
    /// What was logged.
    pub(crate) fn stats(&self) -> LogStats {
        LogStats(self.0.as_ref().map(|(lines, _)| Arc::clone(lines)).unwrap_or_default())
    }
}

/// Reads how many lines were logged.
#[derive(Clone)]
pub(crate) struct LogStats(Arc<Lines>);

/// What was logged since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogCounts {
    /// Lines that were handed to the writer.
    pub(crate) lines: u64,
    /// Lines that were dropped.
    pub(crate) dropped: u64,
    /// Bytes that wait for the writer.
    pub(crate) waiting_bytes: usize,
}

impl LogStats {
    pub(crate) fn counts(&self) -> LogCounts {
        let waiting = self.0.lock();
        LogCounts { lines: waiting.added, dropped: waiting.all_dropped, waiting_bytes: waiting.bytes.len() }
    }
}

/// The root logger, and the guard that must outlive it. Fails if the writer thread cannot be started.
pub(crate) fn open(config: &LogConfig) -> io::Result<(Logger, LogGuard)> {
    let level = match config.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    let format = match config.format {
        LogFormat::Text => Format::Text,
        LogFormat::Auto if io::stdout().is_terminal() => Format::Text,
        LogFormat::Json | LogFormat::Auto => Format::Json,
    };
    let lines = Arc::new(Lines::default());
    let (done, written) = sync_channel(1);
    let writing = Arc::clone(&lines);
    thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        writing.write_all_to(&mut io::stdout(), format);
        let _nobody_waits = done.send(());
    })?;
    let drain = LineDrain { lines: Arc::clone(&lines), format };
    let logger = Logger::root(LevelFilter::new(drain, level).ignore_res(), o!());
    Ok((logger, LogGuard(Some((lines, written)))))
}

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// Formatted lines that wait for the writer.
#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    some: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that were dropped and not reported yet.
    dropped: u64,
    /// Lines that were dropped since the start.
    all_dropped: u64,
    /// Lines that were added since the start.
    added: u64,
    ended: bool,
}

impl Lines {
    /// Adds a line, without waiting for the reader of the log. Drops and counts it if there is no room.
    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > MAX_WAITING {
            waiting.dropped += 1;
            waiting.all_dropped += 1;
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        waiting.added += 1;
        drop(waiting);
        if is_first {
            self.some.notify_one();
        }
    }

    /// Lets the writer write all waiting lines, and end.
    fn end(&self) {
        self.lock().ended = true;
        self.some.notify_one();
    }

    fn write_all_to(&self, out: &mut impl Write, format: Format) {
        let mut chunk = Vec::new();
        loop {
            let ended = self.gather(&mut chunk, format);
            // Serving goes on when the reader of the log is gone.
            let _unread = out.write_all(&chunk).and_then(|()| out.flush());
            chunk.shrink_to(MAX_KEPT);
            if ended {
                return;
            }
        }
    }

    /// Waits for lines and moves all of them into `chunk`. Returns whether they are the last.
    fn gather(&self, chunk: &mut Vec<u8>, format: Format) -> bool {
        let nothing = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.ended;
        drop(self.some.wait_while(self.lock(), nothing).expect(UNPOISONED));
        // `add` notifies for the first line only, so the timeout gathers further lines. `end` always notifies.
        let unended = |waiting: &mut Waiting| !waiting.ended;
        let gathered = self.some.wait_timeout_while(self.lock(), GATHERING, unended).expect(UNPOISONED);
        let mut waiting = gathered.0;
        chunk.clear();
        mem::swap(chunk, &mut waiting.bytes);
        let (dropped, ended) = (mem::take(&mut waiting.dropped), waiting.ended);
        drop(waiting);
        if dropped > 0 {
            chunk.extend_from_slice(drops_line(dropped, format).as_bytes());
        }
        ended
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "no code panics while the lock is held";

/// Formats records on the thread that logs them.
struct LineDrain {
    lines: Arc<Lines>,
    format: Format,
}

/// A timestamp as text (RFC 3339). Most lines fall into the same second as the line before, and only the microseconds
/// change.
struct Moment {
    second: i64,
    text: [u8; Self::LENGTH],
}

impl Moment {
    const LENGTH: usize = "2026-01-01T00:00:00.000000Z".len();
    const MICROS: Range<usize> = 20..26;

    fn of(at: Timestamp) -> Self {
        let text = at.to_string().into_bytes().try_into().expect("every timestamp has six decimals");
        Self { second: at.unix_micros().div_euclid(1_000_000), text }
    }

    fn advance_to(&mut self, now: Timestamp) -> &str {
        let mut micros = now.unix_micros().rem_euclid(1_000_000);
        if now.unix_micros().div_euclid(1_000_000) != self.second {
            *self = Self::of(now);
        }
        for digit in self.text[Self::MICROS].iter_mut().rev() {
            *digit = b"0123456789"[usize::try_from(micros % 10).expect("a remainder of 10 is a digit")];
            micros /= 10;
        }
        str::from_utf8(&self.text).expect("a timestamp is ASCII")
    }
}

thread_local! {
    static LAST_MOMENT: RefCell<Moment> = RefCell::new(Moment::of(SystemClock.now()));
    static JSON: (slog_json::Json<SharedBuffer>, SharedBuffer) = json_format();
    static TEXT: (slog_term::FullFormat<slog_term::PlainDecorator<SharedBuffer>>, SharedBuffer) = text_format();
}

/// The buffer that the formatter writes to and the drain takes from.
#[derive(Clone, Default)]
struct SharedBuffer(std::rc::Rc<RefCell<Vec<u8>>>);

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(())
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
            "message" => PushFnValue(|record: &Record<'_>, out| match record.msg().as_str() {
                Some(plain) => out.emit(plain),
                None => out.emit(record.msg()),
            }),
            "level" => FnValue(|record: &Record<'_>| level_name(record.level())),
            "timestamp" => PushFnValue(|_: &Record<'_>, out| {
                LAST_MOMENT.with_borrow_mut(|moment| out.emit(moment.advance_to(SystemClock.now())))
            }),
        ))
        .build();
    (format, buffer)
}

/// Formats the line of a request, in fewer steps than `slog-json`.
fn request_line(line: &mut Vec<u8>, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
    let message = record.msg().as_str().map_or_else(|| record.msg().to_string().into(), Cow::Borrowed);
    LAST_MOMENT.with_borrow_mut(|moment| {
        let timestamp = moment.advance_to(SystemClock.now());
        let first = [("timestamp", timestamp), ("level", level_name(record.level())), ("message", &*message)];
        request_line::write_to(line, &first, record, values).map_err(io::Error::other)
    })
}

fn text_format() -> (slog_term::FullFormat<slog_term::PlainDecorator<SharedBuffer>>, SharedBuffer) {
    let buffer = SharedBuffer::default();
    let format = slog_term::FullFormat::new(slog_term::PlainDecorator::new(buffer.clone()))
        .use_custom_timestamp(|out: &mut dyn Write| write!(out, "{}", SystemClock.now()))
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

impl Drain for LineDrain {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        match self.format {
            Format::Json if record.tag() == REQUEST_TAG => JSON.with(|(_, buffer)| {
                let outcome = request_line(&mut buffer.0.borrow_mut(), record, values);
                self.add(buffer, outcome)
            }),
            Format::Json => JSON.with(|(words, buffer)| self.add(buffer, words.log(record, values))),
            Format::Text => TEXT.with(|(words, buffer)| self.add(buffer, words.log(record, values))),
        }
    }
}

impl LineDrain {
    /// Passes the formatted line on, unless formatting failed, and clears the buffer.
    fn add(&self, buffer: &SharedBuffer, outcome: io::Result<()>) -> io::Result<()> {
        let mut line = buffer.0.borrow_mut();
        if outcome.is_ok() {
            self.lines.add(&harmless(&line, self.format));
        }
        line.clear();
        outcome
    }
}

/// The line with API keys masked, and with characters escaped that a terminal would obey instead of showing them.
fn harmless(line: &[u8], format: Format) -> Cow<'_, [u8]> {
    let bytes = line.strip_suffix(b"\n").unwrap_or(line);
    // No early exit, so that the compiler can check many bytes in one step. Nearly all lines are plain to their end.
    let is_plain = bytes.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    let masked = mask_keys(&text);
    if is_plain && matches!(masked, Cow::Borrowed(_)) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(masked.len() + 16);
    for character in masked.chars() {
        if !steers(character) {
            shown.push(character);
        } else if format == Format::Json {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown += &format!("\\u{unit:04x}");
            }
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown.push('\n');
    Cow::Owned(shown.into_bytes())
}

/// Whether a terminal may obey the character: control characters, characters that change the direction of the text
/// behind them (UAX 9) or end a line, and invisible characters.
pub(crate) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn drops_line(lost: u64, format: Format) -> String {
    let (now, event) = (SystemClock.now(), "log.dropped");
    let message = format!("{lost} log lines were dropped: the reader of the log is too slow");
    if format == Format::Text {
        return format!("{now} WARN {message}, log.dropped: {lost}, event.name: {event}\n");
    }
    let line = serde_json::json!({
        "timestamp": now.to_string(),
        "level": "warning",
        "message": message,
        "event.name": event,
        "log.dropped": lost,
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, format: Format) -> String {
        let line = format!("{text}\n");
        String::from_utf8(harmless(line.as_bytes(), format).into_owned()).expect("text stays text")
    }

    #[test]
    fn no_character_of_a_line_steers_a_terminal() {
        let obeyed = (0..=0x10_ffff).filter_map(char::from_u32).filter(|character| steers(*character));
        for character in obeyed.filter(|character| *character != '\n') {
            for format in [Format::Json, Format::Text] {
                let line = shown(&format!("\"a{character}b\""), format);
                assert!(line.is_ascii() && line.bytes().filter(|byte| *byte < b' ').eq([b'\n']), "{line:?}");
                assert!(!line.contains('\x7f'), "{line:?}");
                if format == Format::Json {
                    assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), format!("a{character}b"));
                }
            }
        }
        for obeyed in ["\u{1b}[31m", "\u{9b}31m", "\u{7f}", "\u{202e}", "\u{2066}", "\r", "\u{85}"] {
            assert!(obeyed.chars().any(steers), "{obeyed:?}");
        }
    }

    #[test]
    fn a_moment_advances_within_its_second_and_beyond_it() {
        let at = |micros| Timestamp::from_unix_micros(micros).expect("the time is in range");
        let mut moment = Moment::of(at(1_700_000_000_000_001));
        for micros in [1, 0, 999_999, 1_000_000, 1_000_042, 86_400_000_000, -1, -1_000_000, -1_700_000_000_000_001] {
            let now = at(1_700_000_000_000_000 + micros);
            assert_eq!(moment.advance_to(now), now.to_string());
        }
    }

    /// Formats each record with `slog-json` and with `request_line`.
    #[derive(Clone, Default)]
    struct BothWays(Arc<Mutex<Vec<[String; 2]>>>);

    impl Drain for BothWays {
        type Ok = ();
        type Err = io::Error;

        fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
            let without_moment = |line: &[u8]| {
                let mut line = String::from_utf8(line.to_vec()).expect("text");
                let at = line.find("\"timestamp\":\"").expect("a line has a timestamp") + 13;
                line.replace_range(at..at + Moment::LENGTH, "");
                line
            };
            let (words, buffer) = json_format();
            words.log(record, values)?;
            let usual = without_moment(&buffer.0.take());
            request_line(&mut buffer.0.borrow_mut(), record, values)?;
            self.0.lock().expect(UNPOISONED).push([usual, without_moment(&buffer.0.take())]);
            Ok(())
        }
    }

    #[test]
    fn a_request_line_equals_what_slog_json_writes() {
        let lines = BothWays::default();
        let log = Logger::root(lines.clone().fuse(), o!("region" => "a\"b", "number" => 7_u64));
        for text in ["", "plain", "a\"b\\c", "\n\t\u{1b}\u{7f}\u{85}", "Grüße \u{202e}"] {
            slog::info!(log, "request"; "url.path" => text, "a" => 1_u16, "b" => u32::MAX, "c" => u64::MAX,
                "d" => usize::MAX, "e" => 0.000_123_f64, "f" => f64::NAN, "g" => %text, "h" => 1e300);
            slog::warn!(log, "{text} of {}", 7; "a" => true, "b" => 'x', "c" => -1_i64);
        }
        let lines = lines.0.lock().expect(UNPOISONED);
        assert_eq!(lines.len(), 10);
        for [usual, own] in &*lines {
            assert_eq!(own, usual);
        }
    }

    #[test]
    fn text_in_any_language_is_not_changed() {
        for text in ["", "plain", "Grüße, 世界 – пример 🔑", "{\"a\":\"b\\\"c\"}"] {
            assert_eq!(shown(text, Format::Json), format!("{text}\n"));
        }
        assert_eq!(shown("a\nb", Format::Text), "a\\u{a}b\n");
    }

    #[test]
    fn keys_are_masked_in_both_formats() {
        let key = "sgn_SSnBEMJK7Gb7abcdefghijkmnopqrstuvwxyz123456ABCDEF";
        for format in [Format::Json, Format::Text] {
            let masked = "a /sgn_SSnBEMJK7Gb7[masked] b\n";
            assert_eq!(shown(&format!("a /{key} b"), format), masked);
            assert!(!shown(&key.replace("sgn_", "%73gn%5f"), format).contains(&key[16..]));
        }
    }
}
