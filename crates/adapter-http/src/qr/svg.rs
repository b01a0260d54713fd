//! A code as SVG: one path of all dark modules.

use std::fmt::Write as _;

use super::{Color, Grid, Style};

pub(super) fn draw(grid: &Grid, style: &Style) -> String {
    let (size, side) = (style.size, grid.side());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\">"
    );
    if style.background.alpha > 0 {
        svg += &format!("<rect width=\"{side}\" height=\"{side}\" {}/>", fill(style.background));
    }
    svg += &format!("<path {} d=\"{}\"/>", fill(style.color), path(grid));
    if let (Some(hole), Some(logo)) = (grid.hole, &style.logo) {
        let inside = hole.inside();
        svg += &format!(
            "<image x=\"{begin}\" y=\"{begin}\" width=\"{side}\" height=\"{side}\" href=\"data:image/png;base64,{png}\"/>",
            begin = inside.begin,
            side = inside.side,
            png = logo.encoded()
        );
    }
    svg + "</svg>\n"
}

fn fill(color: Color) -> String {
    match color.alpha {
        255 => format!("fill=\"{color}\""),
        alpha => format!("fill=\"{color}\" fill-opacity=\"{:.3}\"", f64::from(alpha) / 255.0),
    }
}

/// A rectangle for each run of dark modules in a row.
fn path(grid: &Grid) -> String {
    let mut path = String::new();
    for y in 0..grid.side() {
        let mut x = 0;
        while x < grid.side() {
            let run = (x..grid.side()).take_while(|x| grid.is_dark(*x, y)).count();
            let run = u32::try_from(run).expect("a code has few modules");
            if run > 0 {
                write!(path, "M{x} {y}h{run}v1h-{run}z").expect("a string takes all");
            }
            x += run.max(1);
        }
    }
    path
}
