//! Acknowledged writes are durable, and a damaged file is reported.

use std::{fs, time::Duration};

use adapter_sqlite::SqliteFile;
use domain::ports::{FailureReason, LinkRepository, Ping, RepositoryErrorKind};
use test_support::contract::{Subject, a_link};

use crate::{fresh, migrated_file, path};

/// Short enough for a test to wait for.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(path(&folder), "not a database, but long enough to be taken for one".repeat(100)).expect("written");
    let file = SqliteFile::new(path(&folder));
    assert!(file.migrate().is_err());
    assert!(file.open(PATIENCE).is_err());
}

#[tokio::test]
async fn a_closed_file_holds_all_data_without_a_log() {
    let (file, folder) = migrated_file();
    let store = file.open(PATIENCE).expect("a migrated database opens");
    let subject = Subject::over(std::sync::Arc::new(store), 7);
    let link = subject.given(&a_link()).await;
    drop(subject);
    let names: Vec<_> = fs::read_dir(folder.path()).expect("it is a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["signpost.db"]);
    let store = file.open(PATIENCE).expect("it opens again");
    assert_eq!(store.find(&link.address()).await.expect("it works"), Some(link));
    store.close();
    assert_eq!(
        store.find(&"abcdef".parse().expect("valid")).await.map_err(|error| error.kind()),
        Err(RepositoryErrorKind::Unavailable)
    );
}

#[tokio::test]
async fn damage_to_the_file_is_found() {
    let (file, folder) = migrated_file();
    assert_eq!(file.damage().expect("it opens"), Vec::<String>::new());
    let mut bytes = fs::read(path(&folder)).expect("it is there");
    // Overwrites the header of the second page, which is the root of a table or of an index.
    bytes[4_096..4_104].fill(0xff);
    fs::write(path(&folder), bytes).expect("the test owns the file");
    assert!(file.damage().map_or(true, |findings| !findings.is_empty()));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("file"), "").expect("written");
    assert!(SqliteFile::new(folder.path().join("file/signpost.db")).open(PATIENCE).is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let (_, folder) = migrated_file();
    let mode = fs::metadata(path(&folder)).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_store_without_its_schema_fails_as_internal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteFile::new(path(&folder)).open(PATIENCE).expect("an empty file opens");
    assert_eq!(store.ping().await.map_err(|error| error.kind()), Err(RepositoryErrorKind::Internal));
    let error = store.find(&"abcdef".parse().expect("valid")).await.expect_err("there is no table");
    assert_eq!((error.kind(), error.reason()), (RepositoryErrorKind::Internal, FailureReason::SchemaMissing));
}

#[tokio::test]
async fn a_writer_blocked_by_another_process_fails_as_unavailable_in_time() {
    use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
    let (migrated, folder) = migrated_file();
    let store = migrated.open(PATIENCE).expect("a migrated database opens");
    let file = path(&folder);
    let mut other = SqliteConnection::establish(file.to_str().expect("UTF-8")).expect("the file opens");
    other.batch_execute("BEGIN IMMEDIATE").expect("no other connection writes");
    let error = store.ping().await.expect_err("the other process holds the lock");
    assert_eq!((error.kind(), error.reason()), (RepositoryErrorKind::Unavailable, FailureReason::Locked));
    other.batch_execute("ROLLBACK").expect("the lock is released");
    store.ping().await.expect("the writer goes on");
}

#[tokio::test]
async fn a_corrupt_row_is_told_from_a_missing_one() {
    use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
    let (store, folder) = fresh().await;
    let file = path(&folder);
    let mut other = SqliteConnection::establish(file.to_str().expect("UTF-8")).expect("the file opens");
    let sql = "PRAGMA ignore_check_constraints = ON; INSERT INTO links VALUES (randomblob(16), 'abcdef', 'default', \
               'gopher://x', 302, 0, NULL, NULL, '[]', 'active', 1, zeroblob(32), 1, 1, 1, NULL, NULL, 0)";
    other.batch_execute(sql).expect("constraints are off");
    let error = store.find(&"abcdef".parse().expect("valid")).await.expect_err("the target is invalid");
    assert_eq!(error.kind(), RepositoryErrorKind::Corrupt);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn opening_the_file_again_drops_no_locks() {
    let (store, folder) = fresh().await;
    store.ping().await.expect("every connection is set up");
    assert!(locks_on(&path(&folder)) > 0, "in WAL mode a connection holds a lock as long as it is open");
    SqliteFile::new(path(&folder)).migrations().expect("readable");
    assert!(locks_on(&path(&folder)) > 0, "another process could now remove the log we write to");
}

/// How many POSIX locks this process holds on a file.
#[cfg(target_os = "linux")]
fn locks_on(file: &std::path::Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let inode = format!(":{} ", fs::metadata(file).expect("it exists").ino());
    let pid = format!(" {} ", std::process::id());
    let locks = fs::read_to_string("/proc/locks").expect("Linux lists its locks");
    locks.lines().filter(|line| line.contains(&pid) && line.contains(&inode)).count()
}
