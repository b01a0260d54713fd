//! How long counting clicks and their statistics take, in files of their own. With any argument: only counting.

use std::{sync::Arc, time::Duration};

use adapter_sqlite::{SqliteClickFile, SqliteFile};
use test_support::contract::{ClickSubject, click_figures, click_load_figures};

#[tokio::main]
#[expect(clippy::disallowed_macros, clippy::print_stdout, reason = "the figures are the result")]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (links, clicks) = (folder.path().join("signpost.db"), folder.path().join("clicks.db"));
    let (links, clicks) = (SqliteFile::new(links), SqliteClickFile::new(clicks));
    links.migrate().expect("a new database takes every migration");
    clicks.migrate().expect("a new database takes every migration");
    let timeout = Duration::from_mins(1);
    let links = Arc::new(links.open(timeout).expect("a migrated database opens"));
    let clicks = Arc::new(clicks.open(links.clone(), timeout).expect("a migrated database opens"));
    let subject = ClickSubject::over(links, clicks, 7);
    let mut figures = click_load_figures(subject.clone(), &[5_000, 25_000, 50_000]).await;
    if std::env::args().len() == 1 {
        figures.extend(click_figures(subject).await);
    }
    for (what, time) in figures {
        println!("{:12.2} µs  {what}", time.as_secs_f64() * 1_000_000.0);
    }
}
