//! The documentation says what the code says.

use std::{fs, path::Path};

#[test]
fn the_errors_page_holds_the_table_of_problems() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ERRORS.md");
    let page = fs::read_to_string(path).expect("docs/ERRORS.md exists");
    let table = adapter_http::problem::errors_reference();
    assert!(page.contains(&table), "docs/ERRORS.md must contain:\n{table}");
}
