//! The operator's files: refused at the start, and read again when they change.

use std::{error::Error, fs, path::PathBuf};

use adapter_enrich::{Describer, DescriberOptions, ListError, Reread};
use domain::click::ClickKind;
use tempfile::TempDir;

use super::{
    mmdb::{Value, database},
    support::{country, describe_agent, with_bots, with_countries},
};

const PROBE: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36 Our-Probe";

/// A file in a folder of its own.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn with(content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Self { path: folder.path().join("file"), _folder: folder };
        file.replace(content);
        file
    }

    /// Other content must have another length: times of modification may be equal.
    fn replace(&self, content: impl AsRef<[u8]>) {
        fs::write(&self.path, content).expect("the folder is ours");
    }
}

fn iso_code(code: &str) -> Value<'_> {
    let names = Value::Map(vec![("en", Value::Text("Somewhere"))]);
    let country = Value::Map(vec![("geoname_id", Value::Number(7)), ("iso_code", Value::Text(code)), ("names", names)]);
    Value::Map(vec![("continent", Value::Map(vec![("code", Value::Text("EU"))])), ("country", country)])
}

fn country_code(code: &str) -> Value<'_> {
    Value::Map(vec![("country", Value::Text("Somewhere")), ("country_code", Value::Text(code))])
}

fn refused(options: DescriberOptions) -> ListError {
    Describer::new(options).expect_err("it is refused")
}

fn whole(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

#[test]
fn the_operator_adds_bots_and_takes_them_away() {
    let file = File::with("# ours\nour-probe\n");
    let mut describer = Describer::new(with_bots(&file.path)).expect("a good list");
    let lists = describer.lists();
    let traits = describe_agent(&mut describer, PROBE);
    assert_eq!((traits.kind, &*traits.browser, &*traits.os), (ClickKind::Bot, "our-probe", "(unknown)"));
    assert_eq!(lists.refresh().expect("a good list"), Reread::default());

    file.replace("# none\n");
    assert_eq!(describe_agent(&mut describer, PROBE).kind, ClickKind::Bot);
    assert_eq!(lists.refresh().expect("a good list"), Reread { bots: true, countries: false });
    let traits = describe_agent(&mut describer, PROBE);
    assert_eq!((traits.kind, &*traits.browser), (ClickKind::Human, "Chrome"));
}

#[test]
fn a_file_that_changes_before_the_first_click_is_read_as_it_is_then() {
    let file = File::with("nothing-of-ours\n");
    let mut describer = Describer::new(with_bots(&file.path)).expect("a good list");
    file.replace("our-probe\n");
    assert_eq!(describe_agent(&mut describer, PROBE).kind, ClickKind::Bot);
}

#[test]
fn a_bad_line_is_reported_and_the_last_good_list_stays() {
    let file = File::with("our-probe\n/(/\n");
    let error = refused(with_bots(&file.path));
    assert!(whole(&error).contains("clicks.bots_file is no list of bots: line 2 cannot be used"), "{}", whole(&error));

    file.replace("our-probe\n");
    let mut describer = Describer::new(with_bots(&file.path)).expect("a good list");
    describe_agent(&mut describer, PROBE);
    file.replace("other\n\n/)/\n");
    for _ in 0..2 {
        let error = describer.lists().refresh().expect_err("it is refused");
        assert!(whole(&error).contains("line 3"), "{}", whole(&error));
        assert_eq!(describe_agent(&mut describer, PROBE).kind, ClickKind::Bot);
    }
    file.replace("other\n");
    describer.lists().refresh().expect("a good list");
    assert_eq!(describe_agent(&mut describer, PROBE).kind, ClickKind::Human);
}

#[test]
fn a_list_of_bots_that_is_no_text_is_refused() {
    for content in [vec![0xff, 0xfe, 0x41], vec![b'#'; 1024 * 1024 + 1]] {
        assert!(matches!(refused(with_bots(&File::with(content).path)), ListError::NoText { .. }));
    }
}

#[test]
fn both_forms_of_records_tell_the_country() {
    let file = File::with(database(&[
        ("203.0.113.0/24", iso_code("DE")),
        ("198.51.100.0/24", country_code("at")),
        ("192.0.2.0/24", iso_code("EUR")),
        ("2001:db8:7::/48", country_code("CH")),
    ]));
    let mut describer = Describer::new(with_countries(&file.path)).expect("a good database");
    for _ in 0..2 {
        assert_eq!(country(&mut describer, "203.0.113.77"), "DE");
        assert_eq!(country(&mut describer, "198.51.100.1"), "AT");
        assert_eq!(country(&mut describer, "2001:db8:7:8::9"), "CH");
        for unknown in ["192.0.2.1", "10.0.0.1", "2001:db8:8::1"] {
            assert_eq!(country(&mut describer, unknown), "(unknown)", "{unknown}");
        }
    }
}

#[test]
fn a_missing_or_broken_database_is_refused_at_the_start() {
    let good = database(&[("203.0.113.0/24", iso_code("DE"))]);
    let missing = tempfile::tempdir().expect("a folder").path().join("gone.mmdb");
    let error = refused(with_countries(&missing));
    assert!(whole(&error).contains("geo.database cannot be read"), "{}", whole(&error));
    for content in [&good[..good.len() / 2], b"", b"not a database"] {
        let error = refused(with_countries(&File::with(content).path));
        assert!(whole(&error).contains("no MMDB database"), "{}", whole(&error));
    }
    let of_networks = database(&[("203.0.113.0/24", Value::Map(vec![("asn", Value::Number(64_496))]))]);
    let error = refused(with_countries(&File::with(of_networks).path));
    assert!(whole(&error).contains("type `Test`, which has no countries"), "{}", whole(&error));
}

#[test]
fn a_database_that_became_broken_leaves_the_old_one() {
    let file = File::with(database(&[("203.0.113.0/24", iso_code("DE"))]));
    let mut describer = Describer::new(with_countries(&file.path)).expect("a good database");
    let lists = describer.lists();
    assert_eq!(country(&mut describer, "203.0.113.7"), "DE");

    file.replace("half a downlo");
    assert!(matches!(lists.refresh(), Err(ListError::NoCountries { .. })));
    fs::remove_file(&file.path).expect("it is ours");
    assert!(matches!(lists.refresh(), Err(ListError::Unreadable { .. })));
    assert_eq!(country(&mut describer, "203.0.113.7"), "DE");

    file.replace(database(&[("203.0.113.0/24", iso_code("FR")), ("198.51.100.0/24", iso_code("DE"))]));
    assert_eq!(lists.refresh().expect("a good database"), Reread { bots: false, countries: true });
    assert_eq!(country(&mut describer, "203.0.113.7"), "FR");
}

#[test]
fn a_database_that_is_gone_at_the_first_click_is_reported_and_read_once_it_is_back() {
    let content = database(&[("203.0.113.0/24", iso_code("DE"))]);
    let file = File::with(&content);
    let mut describer = Describer::new(with_countries(&file.path)).expect("a good database");
    fs::remove_file(&file.path).expect("it is ours");
    assert_eq!(country(&mut describer, "203.0.113.7"), "(unknown)");
    assert!(matches!(describer.lists().refresh(), Err(ListError::Unreadable { .. })));
    file.replace(&content);
    describer.lists().refresh().expect("a good database");
    assert_eq!(country(&mut describer, "203.0.113.7"), "DE");
}

#[test]
fn a_bad_list_does_not_keep_the_database_from_being_read() {
    let bots = File::with("our-probe\n");
    let countries = File::with(database(&[("203.0.113.0/24", iso_code("DE"))]));
    let options = DescriberOptions { geo_database: Some(countries.path.clone()), ..with_bots(&bots.path) };
    let mut describer = Describer::new(options).expect("good files");
    assert_eq!(country(&mut describer, "203.0.113.7"), "DE");
    bots.replace("/(/");
    countries.replace(database(&[("203.0.113.0/24", country_code("FR"))]));
    assert!(matches!(describer.lists().refresh(), Err(ListError::BadLine { .. })));
    assert_eq!(country(&mut describer, "203.0.113.7"), "FR");
}
