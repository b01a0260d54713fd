//! Colours, and whether readers can tell them apart.

use std::fmt;

/// A colour in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color {
    pub(crate) rgb: [u8; 3],
    /// 0 is transparent, 255 opaque.
    pub(crate) alpha: u8,
}

/// The least contrast between modules and background: below it, phones fail in dim light.
const LEAST_CONTRAST: f64 = 3.0;

impl Color {
    pub(crate) const BLACK: Self = Self { rgb: [0; 3], alpha: 255 };
    pub(crate) const WHITE: Self = Self { rgb: [255; 3], alpha: 255 };
    pub(crate) const TRANSPARENT: Self = Self { rgb: [255; 3], alpha: 0 };

    /// Reads `rrggbb`, an opaque colour.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [red, green, blue] = bytes(text)?;
        Some(Self { rgb: [red, green, blue], alpha: 255 })
    }

    /// Reads `rrggbb`, `rrggbbaa` or `transparent`.
    pub(crate) fn parse_background(text: &str) -> Option<Self> {
        if text == "transparent" {
            return Some(Self::TRANSPARENT);
        }
        let with_alpha = bytes(text).map(|[red, green, blue, alpha]| Self { rgb: [red, green, blue], alpha });
        with_alpha.or_else(|| Self::parse(text))
    }

    /// Whether readers can read modules of this colour on `background`: they expect dark on light. What is behind a
    /// transparent background is taken for white.
    pub(crate) fn is_readable_on(self, background: Self) -> bool {
        (background.luminance() + 0.05) / (self.luminance() + 0.05) >= LEAST_CONTRAST
    }

    /// Relative luminance on a white page, 0 to 1 (WCAG 2.2).
    fn luminance(self) -> f64 {
        let alpha = f64::from(self.alpha) / 255.0;
        let linear = |channel: u8| {
            let value = (f64::from(channel) * alpha + 255.0 * (1.0 - alpha)) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.rgb.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

/// The colour without its alpha, as CSS writes it.
impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.rgb;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Exactly `N` bytes in hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.len() == 2 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)).filter(|_| is_hex) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    is_hex.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_written() {
        assert_eq!(Color::parse("0a0bFF").expect("a colour").to_string(), "#0a0bff");
        let half = Color::parse_background("0a0bff80").expect("a colour");
        assert_eq!((half.to_string().as_str(), half.alpha), ("#0a0bff", 128));
        assert_eq!(Color::parse_background("transparent"), Some(Color::TRANSPARENT));
        assert_eq!(Color::parse_background("ffffff"), Some(Color::WHITE));
        for bad in ["", "fff", "#ffffff", "gggggg", "+1+1+1", "ffffff0", "ffffff00", "red", "é0000"] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn modules_must_be_darker_than_the_background() {
        let color = |text| Color::parse_background(text).expect("a colour");
        for (front, back) in [
            ("000000", "ffffff"),
            ("003366", "ffeecc"),
            ("949494", "ffffff"),
            ("000000", "transparent"),
            ("000000", "00000010"),
        ] {
            assert!(color(front).is_readable_on(color(back)), "{front} {back}");
        }
        for (front, back) in [
            ("ffffff", "000000"),
            ("959595", "ffffff"),
            ("ffff00", "ffffff"),
            ("ffffff", "transparent"),
            ("000000", "000000f0"),
        ] {
            assert!(!color(front).is_readable_on(color(back)), "{front} {back}");
        }
    }
}
