//! Upgrades of databases that an earlier release filled. `.ci/make_fixture` says how they were made.

use std::{fs, path::PathBuf, process::Command};

use crate::support::{Request, Setup, Signpost};

alone_on_both_stores! {
    an_existing_database_is_upgraded_in_place_and_serves_the_same_links,
}

/// What an earlier release wrote, decompressed.
fn fixture(name: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/2026-11-29").join(name);
    let output = Command::new("gzip").arg("--decompress").arg("--stdout").arg(&file).output().expect("gzip runs");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The database of the earlier release in the place of the new one. Returns what each of its links answered.
fn filled(setup: &Setup) -> String {
    let name = if setup.is_on_postgres() { "postgres" } else { "sqlite" };
    fs::create_dir_all(setup.data_dir()).expect("the folder is ours");
    if setup.is_on_postgres() {
        let script = setup.data_dir().join("dump.sql");
        fs::write(&script, fixture("postgres.sql.gz")).expect("there is room");
        setup.database().restore(&script);
    } else {
        fs::write(setup.data_dir().join("signpost.db"), fixture("sqlite.db.gz")).expect("there is room");
    }
    String::from_utf8(fixture(&format!("{name}.tsv.gz"))).expect("UTF-8")
}

fn an_existing_database_is_upgraded_in_place_and_serves_the_same_links(setup: &Setup) {
    let expected = filled(setup);
    let key = setup.run(&["keys", "create", "--name", "later", "--scope", "admin"]);
    assert_eq!(key.code, Some(1), "commands do not upgrade: {key:?}");
    let server = setup.start();
    assert_same(&server, &expected);
    let told = setup.run(&["check-store"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let migrations = setup.run(&["migrate", "status"]);
    assert!(migrations.out.contains("short_domains"), "{migrations:?}");
    // A new start finds nothing to do.
    drop(server);
    assert_same(&setup.start(), &expected);
}

/// Each link answers as it did before.
fn assert_same(server: &Signpost, expected: &str) {
    let mut connection = server.connect();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in expected.lines() {
        let mut fields = line.split('\t');
        let (code, status, location) = (fields.next(), fields.next(), fields.next());
        let (code, status) = (code.expect("a code"), status.expect("a status"));
        let answer = connection.send(&Request::get(&format!("/{code}?q=1"))).expect("it answers");
        let found = (answer.status.to_string(), answer.header("location").unwrap_or_default().to_owned());
        if found != (status.to_owned(), location.unwrap_or_default().to_owned()) {
            wrong.push((line.to_owned(), found));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count}: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert_eq!(count, 10_000);
}
