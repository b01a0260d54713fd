use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};
use rqrr::PreparedImage;

use super::*;

const SHORT: &str = "https://sho.test/h7RkQ2mX";
const LONG: &str =
    "https://links.department.organisation.example/an-alias-of-sixty-four-characters_0123456789_0123456789_01234";

fn style(format: Format) -> Style {
    Style { format, size: 256, margin: 4, level: Level::M, color: Color::BLACK, background: Color::WHITE, logo: None }
}

/// A logo of these colours in vertical stripes, which look like modules.
fn logo() -> Arc<Logo> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 40, 30);
    encoder.set_color(ColorType::Rgba);
    let pixel = |at: usize| if at % 8 < 4 { [200, 0, 0, 255] } else { [255, 255, 255, 255] };
    let pixels: Vec<u8> = (0..40 * 30).flat_map(pixel).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("memory takes all");
    Arc::new(Logo::from_png(&file).expect("a picture"))
}

/// A picture in shades of grey, on a white page.
struct Picture {
    side: u32,
    grey: Vec<u8>,
}

impl Picture {
    fn of(bytes: &[u8], format: Format) -> Self {
        match format {
            Format::Png => Self::of_png(bytes),
            Format::Svg => Self::of_svg(str::from_utf8(bytes).expect("SVG is text")),
        }
    }

    fn of_png(bytes: &[u8]) -> Self {
        let mut decoder = Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(Transformations::normalize_to_color8() | Transformations::ALPHA);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it is small")];
        let frame = reader.next_frame(&mut pixels).expect("it is whole");
        assert_eq!((frame.width, frame.color_type), (frame.height, ColorType::Rgba));
        let grey = |pixel: &[u8]| {
            let sum: u32 = pixel[..3].iter().map(|channel| u32::from(*channel)).sum();
            let (alpha, mean) = (u32::from(pixel[3]), sum / 3);
            u8::try_from((mean * alpha + 255 * (255 - alpha)) / 255).expect("a byte")
        };
        Self { side: frame.width, grey: pixels.chunks_exact(4).map(grey).collect() }
    }

    /// Draws the path of our own SVG, eight pixels a module. A logo becomes a grey square.
    fn of_svg(svg: &str) -> Self {
        let attribute = |text: &str, name: &str| -> String {
            let (_, rest) = text.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name} in {text}"));
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let numbers = |text: &str| -> Vec<u32> {
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
        };
        let modules = numbers(&attribute(svg, "viewBox"))[2];
        let mut picture = Self { side: 8 * modules, grey: vec![255; (64 * modules * modules) as usize] };
        let (_, path) = svg.split_once("<path").expect("there is one path");
        for run in attribute(path, "d").split_terminator('z') {
            let [x, y, width, height, back] = numbers(run)[..] else { panic!("{run}") };
            assert_eq!((height, back), (1, width));
            picture.fill(x, y, width, height, 0);
        }
        if let Some((_, image)) = svg.split_once("<image") {
            let [x, y, width, height] = ["x", "y", "width", "height"].map(|name| numbers(&attribute(image, name))[0]);
            picture.fill(x, y, width, height, 120);
        }
        picture
    }

    fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, grey: u8) {
        for row in 8 * y..8 * (y + height) {
            let begin = (row * self.side + 8 * x) as usize;
            self.grey[begin..begin + 8 * width as usize].fill(grey);
        }
    }

    fn read(&self) -> Option<String> {
        let side = self.side as usize;
        let mut image = PreparedImage::prepare_from_greyscale(side, side, |x, y| self.grey[y * side + x]);
        let grids = image.detect_grids();
        grids.first().and_then(|grid| grid.decode().ok()).map(|(_, text)| text)
    }
}

fn reads_back(text: &str, style: &Style) {
    let picture = Picture::of(&draw(text, style).expect("it can be drawn"), style.format);
    assert_eq!(picture.read().as_deref(), Some(text), "{style:?}");
    if style.format == Format::Png {
        assert_eq!(picture.side, style.size);
    }
}

#[test]
fn each_level_format_and_size_can_be_read_with_and_without_a_logo() {
    for format in [Format::Svg, Format::Png] {
        for level in [Level::L, Level::M, Level::Q, Level::H] {
            for logo in [None, Some(logo())] {
                for (text, sizes) in [(SHORT, [128, 301]), (LONG, [256, 301])] {
                    for size in sizes {
                        reads_back(text, &Style { level, size, logo: logo.clone(), ..style(format) });
                    }
                }
            }
        }
    }
}

#[test]
fn each_length_of_a_code_leaves_room_for_a_logo() {
    let long = format!("https://sho.test/{}", "x".repeat(64));
    for length in ("https://sho.test/".len() + 1..=long.len()).step_by(7) {
        reads_back(&long[..length], &Style { size: 300, logo: Some(logo()), ..style(Format::Png) });
    }
}

#[test]
fn a_code_with_a_logo_can_be_read_although_it_is_dirty() {
    for text in [SHORT, LONG] {
        let style = Style { size: 400, logo: Some(logo()), ..style(Format::Png) };
        let mut picture = Picture::of(&draw(text, &style).expect("it can be drawn"), Format::Png);
        // A stain of 3 % of the picture, below the logo.
        for row in 280..350 {
            picture.grey[row * 400 + 170..row * 400 + 240].fill(0);
        }
        assert_eq!(picture.read().as_deref(), Some(text));
    }
}

#[test]
fn colours_margins_and_transparency_can_be_read() {
    let color = |text| Color::parse_background(text).expect("a colour");
    for (front, back) in [("003366", "ffeecc"), ("7a0019", "ffffff80"), ("000000", "transparent")] {
        for margin in [4, 16] {
            let style = Style { color: color(front), background: color(back), margin, ..style(Format::Png) };
            reads_back(SHORT, &style);
            reads_back(SHORT, &Style { logo: Some(logo()), ..style });
        }
    }
}

#[test]
fn the_margin_is_as_many_modules_as_asked() {
    for margin in [0, 1, 16] {
        let svg = draw(SHORT, &Style { margin, ..style(Format::Svg) }).expect("it can be drawn");
        let picture = Picture::of(&svg, Format::Svg);
        let is_dark = |at: u32| picture.grey.chunks(picture.side as usize).any(|row| row[at as usize] == 0);
        assert_eq!((0..picture.side).position(is_dark), Some(8 * margin as usize));
    }
}

#[test]
fn a_picture_of_pixels_has_at_least_one_for_each_module() {
    let style = Style { size: 64, margin: 16, ..style(Format::Png) };
    let Err(Undrawable::TooSmall { least }) = draw(LONG, &style) else {
        panic!("it cannot be drawn");
    };
    assert!(draw(LONG, &Style { size: least, ..style.clone() }).is_ok());
    assert_eq!(draw(LONG, &Style { size: least - 1, ..style.clone() }), Err(Undrawable::TooSmall { least }));
    assert!(draw(LONG, &Style { format: Format::Svg, ..style }).is_ok());
}

#[test]
fn a_hole_is_in_the_middle_and_covers_less_than_an_eighth() {
    for side in (21..=177).step_by(4) {
        let hole = Hole::of(side);
        assert_eq!(2 * hole.begin + hole.side, side);
        assert!(8 * hole.side * hole.side < side * side && hole.inside().side >= 5, "{side}: {hole:?}");
    }
}

#[test]
fn a_large_picture_is_a_small_file() {
    let size = |logo| {
        let style = Style { size: 2_048, logo, ..style(Format::Png) };
        draw(LONG, &style).expect("it can be drawn").len()
    };
    assert!(size(None) < 50_000 && size(Some(logo())) < 500_000, "{} {}", size(None), size(Some(logo())));
}

#[test]
fn the_form_of_an_svg_is_plain() {
    let style = Style { background: Color { alpha: 51, ..Color::WHITE }, ..style(Format::Svg) };
    let svg = String::from_utf8(draw(SHORT, &style).expect("it can be drawn")).expect("SVG is text");
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"256\" height=\"256\" viewBox=\"0 0 33 33\"")
    );
    assert!(svg.contains("<rect width=\"33\" height=\"33\" fill=\"#ffffff\" fill-opacity=\"0.200\"/>"), "{svg}");
    assert_eq!(svg.matches("<path").count(), 1);
}

#[test]
fn a_logo_is_a_small_png_of_any_kind() {
    let file = |color: ColorType, depth: BitDepth, side: u32, bytes: &[u8]| {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, side, side);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(vec![9, 8, 7, 250, 0, 0]);
            encoder.set_trns(vec![100]);
        }
        encoder.write_header().and_then(|mut writer| writer.write_image_data(bytes)).expect("memory takes all");
        file
    };
    for (color, depth, bytes, pixel) in [
        (ColorType::Grayscale, BitDepth::Eight, &[7][..], ([7, 7, 7], 255)),
        (ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 100], ([7, 7, 7], 100)),
        (ColorType::Rgb, BitDepth::Eight, &[9, 8, 7], ([9, 8, 7], 255)),
        (ColorType::Rgba, BitDepth::Sixteen, &[9, 0, 8, 0, 7, 0, 100, 0], ([9, 8, 7], 100)),
        (ColorType::Indexed, BitDepth::One, &[0], ([9, 8, 7], 100)),
    ] {
        let logo = Logo::from_png(&file(color, depth, 1, bytes)).expect("a picture");
        let scaled = logo.scaled(5);
        assert_eq!((scaled.width, scaled.height, scaled.pixels.len()), (5, 5, 25));
        assert_eq!((scaled.pixels[0].rgb, scaled.pixels[0].alpha), pixel, "{color:?}");
    }
    let wide = file(ColorType::Grayscale, BitDepth::One, 1_025, &vec![0; 1_025 * 129]);
    assert!(matches!(Logo::from_png(&wide), Err(InvalidLogo::TooManyPixels)));
    assert!(matches!(Logo::from_png(&vec![0; Logo::MAX_BYTES + 1]), Err(InvalidLogo::TooLarge)));
    let broken = &file(ColorType::Rgb, BitDepth::Eight, 1, &[9, 8, 7])[..40];
    for bad in [&b"<svg/>"[..], b"", broken] {
        assert!(matches!(Logo::from_png(bad), Err(InvalidLogo::NoPng(_))));
    }
}
