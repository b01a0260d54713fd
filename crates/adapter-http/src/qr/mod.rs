//! QR codes (ISO/IEC 18004) as pictures.
//!
//! | file     | holds                                              |
//! |----------|----------------------------------------------------|
//! | `mod`    | which modules are dark, and what a picture may be  |
//! | `color`  | colours, and whether readers can tell them apart   |
//! | `logo`   | the operator's logo                                |
//! | `svg`    | a code as SVG                                      |
//! | `pixels` | a code as PNG                                      |
//!
//! A square of modules is left free for a logo in the middle: less than an eighth of the area. Level H restores up to
//! 30 % of a code, so what is printed around the logo may still be dirty or bent.

mod color;
mod logo;
mod pixels;
mod svg;

use std::sync::Arc;

use qrcodegen::{QrCode, QrCodeEcc};

pub(crate) use self::color::Color;
pub use self::logo::{InvalidLogo, Logo};

/// How a code is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Width and height in pixels.
    pub(crate) size: u32,
    /// Free modules on each side.
    pub(crate) margin: u32,
    /// How much of the code can be restored. With a logo it is level H.
    pub(crate) level: Level,
    pub(crate) color: Color,
    pub(crate) background: Color,
    pub(crate) logo: Option<Arc<Logo>>,
}

/// A format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Svg,
    Png,
}

/// How much of a code can be restored: 7, 15, 25 or 30 %. A code that has room for a higher level gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    L,
    M,
    Q,
    H,
}

/// Why a code cannot be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undrawable {
    /// No code holds so much text.
    #[error("the text is too long for a QR code")]
    TooLong,
    /// A module would be smaller than a pixel.
    #[error("a picture of this code needs at least {least} pixels")]
    TooSmall { least: u32 },
}

/// Draws `text` as a code.
pub(crate) fn draw(text: &str, style: &Style) -> Result<Vec<u8>, Undrawable> {
    let grid = Grid::new(text, style)?;
    match style.format {
        Format::Svg => Ok(svg::draw(&grid, style).into_bytes()),
        Format::Png if grid.side() > style.size => Err(Undrawable::TooSmall { least: grid.side() }),
        Format::Png => Ok(pixels::draw(&grid, style)),
    }
}

/// The modules of a code, with its margin.
struct Grid {
    code: QrCode,
    margin: u32,
    /// The square in the middle that is left free.
    hole: Option<Hole>,
}

/// A square of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    /// Its first column and row.
    begin: u32,
    side: u32,
}

impl Hole {
    /// The hole in a code of `side` modules: an odd number of them, as the code has, so that it is in the middle.
    fn of(side: u32) -> Self {
        let hole = (side / 4 + 1) | 1;
        Self { begin: (side - hole) / 2, side: hole }
    }

    /// Without the border around the logo.
    fn inside(self) -> Self {
        Self { begin: self.begin + 1, side: self.side - 2 }
    }

    fn moved(self, by: u32) -> Self {
        Self { begin: self.begin + by, ..self }
    }

    fn contains(self, x: u32, y: u32) -> bool {
        let range = self.begin..self.begin + self.side;
        range.contains(&x) && range.contains(&y)
    }
}

impl Grid {
    fn new(text: &str, style: &Style) -> Result<Self, Undrawable> {
        let level = if style.logo.is_some() { Level::H } else { style.level };
        let level = match level {
            Level::L => QrCodeEcc::Low,
            Level::M => QrCodeEcc::Medium,
            Level::Q => QrCodeEcc::Quartile,
            Level::H => QrCodeEcc::High,
        };
        let code = QrCode::encode_text(text, level).map_err(|_| Undrawable::TooLong)?;
        let hole = style.logo.is_some().then(|| Hole::of(code.size().unsigned_abs()).moved(style.margin));
        Ok(Self { code, margin: style.margin, hole })
    }

    /// Modules on a side, with the margin.
    fn side(&self) -> u32 {
        self.code.size().unsigned_abs() + 2 * self.margin
    }

    /// Whether a module is dark. Modules in the margin are not.
    fn is_dark(&self, x: u32, y: u32) -> bool {
        let at = |position: u32| position.cast_signed() - self.margin.cast_signed();
        self.hole.is_none_or(|hole| !hole.contains(x, y)) && self.code.get_module(at(x), at(y))
    }
}

#[cfg(test)]
mod tests;
