//! Chunked bodies: where they end (RFC 9112 section 7.1). Their content is not read here.

/// Most bytes of a chunk-size line. Senders use chunk extensions so rarely that a longer one is only a way to make
/// us read more than the body holds.
const SIZE_LINE_BYTES: usize = 64;

/// Most chunks that pass at once. Behind the guard each chunk is queued by itself, however small it is.
const CHUNKS_AT_ONCE: usize = 64;

/// As many hexadecimal digits as fit a `u64`.
const SIZE_DIGITS: u8 = 16;

/// A chunked body on its way through.
///
/// Stricter than the decoder behind it, so that a body that passes ends at the same byte for both.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChunkedBody {
    state: State,
    /// Bytes of the current size line, or of all trailers.
    overhead: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Complete,
}

/// A body that breaks its own framing, so that it is unknown where the next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CorruptBody;

impl ChunkedBody {
    /// A body of which nothing has come yet.
    pub(super) fn new(trailer_bytes: usize) -> Self {
        Self { state: State::FIRST, overhead: 0, trailer_bytes }
    }

    /// Follows the body through `bytes`, but through [`CHUNKS_AT_ONCE`] chunks at most. Returns how many of the bytes,
    /// from the first, belong to it, and how many chunks end in them.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, usize), CorruptBody> {
        let (mut at, mut chunks) = (0, 0);
        while at < bytes.len() && !self.is_complete() && chunks < CHUNKS_AT_ONCE {
            if let State::Data { mut left } = self.state {
                at += take(&mut left, bytes.len() - at);
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                chunks += usize::from(left == 0);
            } else {
                self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok((at, chunks))
    }

    /// Whether the last byte of the body has been seen.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    fn step(&mut self, byte: u8) -> Result<(), CorruptBody> {
        self.state = self.state.after(byte)?;
        self.overhead = if self.state.is_boundary() { 0 } else { self.overhead + 1 };
        let most = if self.state.is_trailer() { SIZE_LINE_BYTES + self.trailer_bytes } else { SIZE_LINE_BYTES };
        if self.overhead > most { Err(CorruptBody) } else { Ok(()) }
    }
}

impl State {
    const FIRST: Self = Self::Size { digits: 0, size: 0 };

    fn after(self, byte: u8) -> Result<Self, CorruptBody> {
        if let (Self::Size { digits, size }, Some(digit)) = (self, char::from(byte).to_digit(16)) {
            let grown = Self::Size { digits: digits + 1, size: (size << 4) | u64::from(digit) };
            return if digits < SIZE_DIGITS { Ok(grown) } else { Err(CorruptBody) };
        }
        match (self, byte) {
            (Self::Size { digits: 1.., size } | Self::Extension { size }, b'\r') => Ok(Self::SizeLf { size }),
            (Self::Size { digits: 1.., size }, b';') | (Self::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                Ok(Self::Extension { size })
            }
            (Self::SizeLf { size: 0 } | Self::TrailerLf, b'\n') => Ok(Self::TrailerStart),
            (Self::SizeLf { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::FIRST),
            (Self::TrailerStart, b'\r') => Ok(Self::EndLf),
            (Self::Trailer, b'\r') => Ok(Self::TrailerLf),
            (Self::TrailerStart | Self::Trailer, b'\t' | b' '..=b'~' | 0x80..) => Ok(Self::Trailer),
            (Self::EndLf, b'\n') => Ok(Self::Complete),
            // The grammar is above; every other byte, in every state, breaks it.
            _ => Err(CorruptBody),
        }
    }

    fn is_boundary(self) -> bool {
        matches!(self, Self::Size { digits: 0, .. } | Self::Data { .. })
    }

    fn is_trailer(self) -> bool {
        matches!(self, Self::TrailerStart | Self::Trailer | Self::TrailerLf | Self::EndLf | Self::Complete)
    }
}

/// Takes up to `available` bytes off `left`. Returns how many it took.
pub(super) fn take(left: &mut u64, available: usize) -> usize {
    let count = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= count as u64;
    count
}
