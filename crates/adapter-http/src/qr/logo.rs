//! The operator's logo, for the middle of codes.

use std::{fmt, io::Cursor, ops::Range};

use base64::{Engine, prelude::BASE64_STANDARD};
use png::{Decoder, DecodingError, Limits, Transformations};

/// A logo: a PNG picture, small enough to be sent with each code.
pub struct Logo {
    /// The file in Base64, for SVG.
    encoded: String,
    width: u32,
    height: u32,
    /// Four bytes a pixel: red, green, blue, alpha.
    pixels: Vec<u8>,
}

/// Why a file is no logo.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLogo {
    /// It is larger than [`Logo::MAX_BYTES`].
    #[error("the file has more than {} bytes", Logo::MAX_BYTES)]
    TooLarge,
    /// It is wider or higher than [`Logo::MAX_PIXELS`].
    #[error("the picture is wider or higher than {} pixels", Logo::MAX_PIXELS)]
    TooManyPixels,
    /// It is no PNG, or broken.
    #[error("the file is no PNG picture")]
    NoPng(#[from] DecodingError),
}

impl Logo {
    /// Maximum size of the file in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Maximum width and height in pixels.
    pub const MAX_PIXELS: u32 = 1_024;

    /// Reads a PNG file.
    pub fn from_png(file: &[u8]) -> Result<Self, InvalidLogo> {
        if file.len() > Self::MAX_BYTES {
            return Err(InvalidLogo::TooLarge);
        }
        let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: 16 * 1024 * 1024 });
        decoder.set_transformations(Transformations::normalize_to_color8());
        let mut reader = decoder.read_info()?;
        let (width, height) = reader.info().size();
        if width.max(height) > Self::MAX_PIXELS {
            return Err(InvalidLogo::TooManyPixels);
        }
        let mut bytes = vec![0; reader.output_buffer_size().ok_or(InvalidLogo::TooManyPixels)?];
        let frame = reader.next_frame(&mut bytes)?;
        bytes.truncate(frame.buffer_size());
        let pixels = bytes.chunks_exact(frame.color_type.samples()).flat_map(|pixel| match *pixel {
            [gray] => [gray, gray, gray, 255],
            [gray, alpha] => [gray, gray, gray, alpha],
            [red, green, blue] => [red, green, blue, 255],
            [red, green, blue, alpha, ..] => [red, green, blue, alpha],
            [] => [0; 4],
        });
        let pixels = pixels.collect();
        Ok(Self { encoded: BASE64_STANDARD.encode(file), width, height, pixels })
    }

    /// The file in Base64.
    pub(crate) fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The logo as large as fits a square of `side` pixels.
    pub(super) fn scaled(&self, side: u32) -> Scaled {
        let longest = self.width.max(self.height);
        let scale = |length: u32| (length * side / longest).max(1);
        let (width, height) = (scale(self.width), scale(self.height));
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = pixels.map(|(x, y)| self.mean(span(x, width, self.width), span(y, height, self.height))).collect();
        Scaled { width, height, pixels }
    }

    /// The mean of the pixels in some columns and rows. Transparent pixels have no colour.
    fn mean(&self, columns: Range<u32>, rows: Range<u32>) -> Pixel {
        let (mut sums, mut alphas, mut count) = ([0_u64; 3], 0_u64, 0_u64);
        for y in rows {
            for x in columns.clone() {
                let at = 4 * (y * self.width + x) as usize;
                let pixel = &self.pixels[at..at + 4];
                let alpha = u64::from(pixel[3]);
                sums.iter_mut().zip(pixel).for_each(|(sum, channel)| *sum += u64::from(*channel) * alpha);
                alphas += alpha;
                count += 1;
            }
        }
        let byte = |value: u64| u8::try_from(value).expect("a mean of bytes is a byte");
        Pixel { rgb: sums.map(|sum| byte(sum / alphas.max(1))), alpha: byte(alphas / count.max(1)) }
    }
}

/// Shows the size, not the pixels.
impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logo({} × {})", self.width, self.height)
    }
}

/// Which of `all` pixels make pixel `index` of `scaled`: at least one.
fn span(index: u32, scaled: u32, all: u32) -> Range<u32> {
    let begin = index * all / scaled;
    begin..((index + 1) * all / scaled).max(begin + 1)
}

/// A logo of the size in which it is drawn.
pub(super) struct Scaled {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<Pixel>,
}

/// A pixel of a logo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pixel {
    pub(super) rgb: [u8; 3],
    pub(super) alpha: u8,
}
