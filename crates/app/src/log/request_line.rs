//! Request lines as JSON, byte for byte what `slog-json` would write, in a third of the steps. Each redirect writes
//! one, and redirects outnumber everything else.

use std::{fmt, fmt::Write as _};

use slog::{KV, Key, OwnedKVList, Record, Serializer};

/// Appends the line. `first` holds the keys and texts that begin every line.
pub(super) fn write_to(
    line: &mut Vec<u8>,
    first: &[(Key, &str)],
    record: &Record<'_>,
    values: &OwnedKVList,
) -> slog::Result {
    let before = line.len();
    let mut words = Words(line);
    for (key, text) in first {
        words.emit_str(key, text)?;
    }
    values.serialize(record, &mut words)?;
    record.kv().serialize(record, &mut words)?;
    if let Some(begin) = line.get_mut(before) {
        // Each pair begins with a comma.
        *begin = b'{';
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// Writes keys and values as JSON, each pair with a comma before it. Keys come from this code and need no escapes.
struct Words<'a>(&'a mut Vec<u8>);

impl Words<'_> {
    fn key(&mut self, key: Key) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn number(&mut self, key: Key, number: impl itoa::Integer) {
        self.key(key);
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

impl Serializer for Words<'_> {
    fn emit_str(&mut self, key: Key, text: &str) -> slog::Result {
        // No early exit, so that the compiler can check many bytes in one step.
        let other =
            |byte: u8| u8::from(!matches!(byte, b' '..=b'~')) | u8::from(byte == b'"') | u8::from(byte == b'\\');
        let is_plain = text.bytes().fold(0, |any, byte| any | other(byte)) == 0;
        self.key(key);
        if is_plain {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
            return Ok(());
        }
        serde_json::to_writer(&mut *self.0, text).map_err(|_| fmt::Error.into())
    }

    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.key(key);
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn emit_i64(&mut self, key: Key, number: i64) -> slog::Result {
        self.number(key, number);
        Ok(())
    }

    fn emit_u16(&mut self, key: Key, number: u16) -> slog::Result {
        self.number(key, number);
        Ok(())
    }

    fn emit_u32(&mut self, key: Key, number: u32) -> slog::Result {
        self.number(key, number);
        Ok(())
    }

    fn emit_u64(&mut self, key: Key, number: u64) -> slog::Result {
        self.number(key, number);
        Ok(())
    }

    fn emit_usize(&mut self, key: Key, number: usize) -> slog::Result {
        self.number(key, number);
        Ok(())
    }

    fn emit_f64(&mut self, key: Key, number: f64) -> slog::Result {
        self.key(key);
        serde_json::to_writer(&mut *self.0, &number).map_err(|_| fmt::Error.into())
    }

    fn emit_arguments(&mut self, key: Key, words: &fmt::Arguments<'_>) -> slog::Result {
        let mut text = String::new();
        text.write_fmt(*words)?;
        self.emit_str(key, &text)
    }
}
