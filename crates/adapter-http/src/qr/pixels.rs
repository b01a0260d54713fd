//! A code as PNG: two colours of one bit each, or true colour with a logo. Rows are written one by one, so that a large
//! picture takes little memory while it is drawn.

use std::io::Write as _;

use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::{
    Color, Grid, Style,
    logo::{Pixel, Scaled},
};

/// Draws `grid`, which has at most as many modules on a side as the picture has pixels.
pub(super) fn draw(grid: &Grid, style: &Style) -> Vec<u8> {
    const IN_MEMORY: &str = "memory takes all, and each row has its length";
    let layout = Layout::new(grid, style);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, style.size, style.size);
    encoder.set_compression(Compression::Fast);
    // Most rows are like the row above.
    encoder.set_filter(Filter::Up);
    if layout.logo.is_some() {
        encoder.set_color(ColorType::Rgba);
    } else {
        encoder.set_color(ColorType::Indexed);
        encoder.set_depth(BitDepth::One);
        encoder.set_palette([style.background.rgb, style.color.rgb].concat());
        encoder.set_trns(vec![style.background.alpha, style.color.alpha]);
    }
    let mut writer = encoder.write_header().expect(IN_MEMORY);
    let mut rows = writer.stream_writer().expect(IN_MEMORY);
    for y in 0..style.size {
        let row = if layout.logo.is_some() { layout.true_colors(y) } else { layout.bits(y) };
        rows.write_all(&row).expect(IN_MEMORY);
    }
    rows.finish().expect(IN_MEMORY);
    writer.finish().expect(IN_MEMORY);
    file
}

/// Where everything is in the picture.
struct Layout<'a> {
    grid: &'a Grid,
    style: &'a Style,
    /// Pixels of a module.
    scale: u32,
    /// Where the first module begins. What is left beside whole modules is added to the margin.
    begin: u32,
    /// The logo, and its first column and row.
    logo: Option<(Scaled, [u32; 2])>,
}

impl<'a> Layout<'a> {
    fn new(grid: &'a Grid, style: &'a Style) -> Self {
        let scale = style.size / grid.side();
        let begin = (style.size - scale * grid.side()) / 2;
        let logo = grid.hole.zip(style.logo.as_ref()).map(|(hole, logo)| {
            let inside = hole.inside();
            let side = inside.side * scale;
            let logo = logo.scaled(side);
            let at = |length: u32| begin + inside.begin * scale + (side - length) / 2;
            let corner = [at(logo.width), at(logo.height)];
            (logo, corner)
        });
        Self { grid, style, scale, begin, logo }
    }

    fn is_dark(&self, x: u32, y: u32) -> bool {
        let module = |at: u32| at.checked_sub(self.begin).map(|at| at / self.scale);
        module(x).zip(module(y)).is_some_and(|(x, y)| self.grid.is_dark(x, y))
    }

    /// A row of two colours, eight pixels a byte, the first one in the highest bit.
    fn bits(&self, y: u32) -> Vec<u8> {
        let pixels: Vec<_> = (0..self.style.size).map(|x| self.is_dark(x, y)).collect();
        let byte =
            |eight: &[bool]| eight.iter().enumerate().fold(0, |byte, (at, dark)| byte | u8::from(*dark) << (7 - at));
        pixels.chunks(8).map(byte).collect()
    }

    fn true_colors(&self, y: u32) -> Vec<u8> {
        let pixel = |x| {
            let color = if self.is_dark(x, y) { self.style.color } else { self.style.background };
            let Color { rgb: [red, green, blue], alpha } = self.logo_at(x, y).map_or(color, |logo| over(logo, color));
            [red, green, blue, alpha]
        };
        (0..self.style.size).flat_map(pixel).collect()
    }

    fn logo_at(&self, x: u32, y: u32) -> Option<Pixel> {
        let (logo, [left, top]) = self.logo.as_ref()?;
        let (x, y) = (x.checked_sub(*left)?, y.checked_sub(*top)?);
        (x < logo.width && y < logo.height).then(|| logo.pixels[(y * logo.width + x) as usize])
    }
}

/// A pixel over a colour (Porter and Duff's "over").
fn over(pixel: Pixel, color: Color) -> Color {
    let (front, back) = (u32::from(pixel.alpha), u32::from(color.alpha) * (255 - u32::from(pixel.alpha)) / 255);
    let byte = |value: u32| u8::try_from(value).expect("a mean of bytes is a byte");
    let mut rgb = [0; 3];
    for (mixed, (of_front, of_back)) in rgb.iter_mut().zip(pixel.rgb.into_iter().zip(color.rgb)) {
        *mixed = byte((u32::from(of_front) * front + u32::from(of_back) * back) / (front + back).max(1));
    }
    Color { rgb, alpha: byte(front + back) }
}
