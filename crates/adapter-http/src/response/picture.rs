//! QR codes of links: what a query asks for, and the answer with the picture.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web,
};
use tokio::{sync::Semaphore, time::timeout};
use utoipa::{IntoParams, ToSchema};

use super::fixed::tag_of;
use crate::{
    problem::{Problem, ProblemKind},
    qr::{Color, Format, Level, Logo, Style, Undrawable, draw},
    request::{
        json::{Fault, field_problem},
        preconditions::names_tag,
        query::Query,
    },
};

/// Pictures of pixels that are drawn at a time. One takes some ten milliseconds, and redirects go on meanwhile.
static DRAWING: Semaphore = Semaphore::const_new(2);
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

const SIZES: RangeInclusive<u32> = 64..=2_048;
const MARGINS: RangeInclusive<u32> = 0..=16;

/// How the picture looks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct PictureQuery {
    /// The format of the picture: `svg` if not given
    #[param(inline)]
    format: Option<FormatSchema>,
    /// Width and height in pixels: 256 if not given. A PNG needs at least a pixel for each module
    #[param(minimum = 64, maximum = 2048)]
    size: Option<u32>,
    /// Free modules on each side: 4 if not given, as readers expect
    #[param(minimum = 0, maximum = 16)]
    margin: Option<u32>,
    /// How much of the code can be restored: 7, 15, 25 or 30 %; `m` if not given
    #[param(inline)]
    level: Option<LevelSchema>,
    /// The colour of the modules, as `rrggbb`: black if not given. It must be darker than the background, with a contrast of at least 3:1
    #[param(pattern = "^[0-9A-Fa-f]{6}$")]
    color: Option<String>,
    /// The colour behind them, as `rrggbb`, `rrggbbaa` or `transparent`: white if not given
    #[param(pattern = "^([0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?|transparent)$")]
    background: Option<String>,
    /// Whether the operator's logo is in the middle; the level is `h` then
    logo: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum FormatSchema {
    Svg,
    Png,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum LevelSchema {
    L,
    M,
    Q,
    H,
}

/// A picture in a format of pixels.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes an answer")]
pub(crate) struct Pixels(Vec<u8>);

/// The picture that a query asks for. Fails with everything that is wrong.
pub(crate) fn style(request: &HttpRequest, logo: Option<&Arc<Logo>>) -> Result<Style, Problem> {
    let mut query = Query::of(request);
    let style = Style {
        format: query.take("format", format).unwrap_or(Format::Svg),
        size: query.take("size", |text| number(text, &SIZES)).unwrap_or(256),
        margin: query.take("margin", |text| number(text, &MARGINS)).unwrap_or(4),
        level: query.take("level", level).unwrap_or(Level::M),
        color: query.take("color", color).unwrap_or(Color::BLACK),
        background: query.take("background", background).unwrap_or(Color::WHITE),
        logo: query.take("logo", |text| with_logo(text, logo)).flatten(),
    };
    if !style.color.is_readable_on(style.background) {
        let detail = "must be darker than the background, with a contrast of at least 3:1";
        query.fault("color", &Fault::new("unreadable", detail));
    }
    query.finish("picture")?;
    Ok(style)
}

/// The answer with the picture of `short_url`: 304 if the client has it already.
pub(crate) async fn answer(
    request: &HttpRequest,
    short_url: String,
    style: Style,
    cache_control: Option<&'static str>,
) -> Result<HttpResponse, Problem> {
    let media_type = match style.format {
        Format::Svg => "image/svg+xml",
        Format::Png => "image/png",
    };
    // What a picture shows, and the release that draws it, decide its bytes. So a client that has it costs no drawing.
    let logo = style.logo.as_deref().map_or("", Logo::encoded);
    let shown = format!("{} {short_url} {style:?} {logo}", env!("CARGO_PKG_VERSION"));
    let tag = format!("\"{}\"", tag_of(shown.as_bytes()));
    let known = names_tag(request.headers(), &tag);
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((header::ETAG, tag));
    if let Some(value) = cache_control {
        answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static(value)));
    }
    if known {
        return Ok(answer.finish());
    }
    let picture = drawn(short_url, style).await?;
    answer.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(media_type)));
    // Opened as a page, an SVG document may do nothing.
    answer.insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NOTHING_BUT_PICTURES)));
    Ok(answer.body(picture))
}

const NOTHING_BUT_PICTURES: &str = "default-src 'none'; img-src data:; sandbox";

async fn drawn(text: String, style: Style) -> Result<Vec<u8>, Problem> {
    if style.format == Format::Svg {
        return draw(&text, &style).map_err(undrawable);
    }
    let busy = |_| Problem::new(ProblemKind::Unavailable).detail("Too many pictures are being drawn.");
    let turn = timeout(PATIENCE, DRAWING.acquire()).await.map_err(busy)?;
    let turn = turn.expect("this semaphore is never closed");
    let drawing = web::block(move || {
        let picture = draw(&text, &style);
        drop(turn);
        picture
    });
    drawing.await.map_err(|error| Problem::new(ProblemKind::Internal).caused_by(error))?.map_err(undrawable)
}

fn undrawable(reason: Undrawable) -> Problem {
    match reason {
        Undrawable::TooLong => Problem::new(ProblemKind::Internal).caused_by(reason),
        Undrawable::TooSmall { least } => {
            let detail = format!("must be at least {least} for this link, level and margin");
            Problem::invalid(vec![field_problem("query/size".to_owned(), "out-of-range", &detail)])
        }
    }
}

fn format(text: &str) -> Result<Format, Fault> {
    match text {
        "svg" => Ok(Format::Svg),
        "png" => Ok(Format::Png),
        _ => Err(Fault::new("unknown-value", "must be svg or png")),
    }
}

fn level(text: &str) -> Result<Level, Fault> {
    match text {
        "l" => Ok(Level::L),
        "m" => Ok(Level::M),
        "q" => Ok(Level::Q),
        "h" => Ok(Level::H),
        _ => Err(Fault::new("unknown-value", "must be l, m, q or h")),
    }
}

fn number(text: &str, range: &RangeInclusive<u32>) -> Result<u32, Fault> {
    let detail = || format!("must be a whole number from {} to {}", range.start(), range.end());
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| Fault::new("out-of-range", detail()))
}

fn color(text: &str) -> Result<Color, Fault> {
    Color::parse(text).ok_or_else(|| Fault::new("not-a-color", "must be a colour such as 1a2b3c"))
}

fn background(text: &str) -> Result<Color, Fault> {
    let wrong = || Fault::new("not-a-color", "must be a colour such as 1a2b3c or 1a2b3c80, or transparent");
    Color::parse_background(text).ok_or_else(wrong)
}

fn with_logo(text: &str, logo: Option<&Arc<Logo>>) -> Result<Option<Arc<Logo>>, Fault> {
    match (text, logo) {
        ("false", _) => Ok(None),
        ("true", Some(logo)) => Ok(Some(Arc::clone(logo))),
        ("true", None) => Err(Fault::new("no-logo", "must be false: there is no logo here")),
        (_, _) => Err(Fault::new("unknown-value", "must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_only_where_the_operator_has_one() {
        assert_eq!(with_logo("true", None).map(|_| ()).map_err(|fault| fault.code), Err("no-logo"));
        assert!(with_logo("false", None).is_ok_and(|logo| logo.is_none()));
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        assert_eq!((number("64", &SIZES), number("2048", &SIZES), number("0", &MARGINS)), (Ok(64), Ok(2_048), Ok(0)));
        for wrong in ["63", "2049", "-1", "1e3", "256.0", " 256"] {
            assert_eq!(number(wrong, &SIZES).map_err(|fault| fault.code), Err("out-of-range"), "{wrong}");
        }
    }
}
