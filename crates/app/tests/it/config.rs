//! Configuration: the sources of settings, what is wrong with them, and the commands that only read them.

use std::{fs, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Setup, Signpost, Told, code_of, eventually, run, signpost};

/// Within this time a wrong configuration ends the start.
const AT_ONCE: Duration = Duration::from_secs(1);

const PASSWORD: &str = "hunter2-and-more";

#[test]
fn all_problems_are_listed_and_no_secret_is_shown() {
    let folder = tempfile::tempdir().expect("a place for a file");
    let file = folder.path().join("wrong.toml");
    let text = format!("[http]\nworkers = 0\nbund = 'x'\n[store]\nurl = 'mysql://user:{PASSWORD}@db/links'\n");
    fs::write(&file, text).expect("a new folder takes files");
    for command in ["serve", "check-config", "migrate"] {
        let told = run(signpost()
            .current_dir(folder.path())
            .env("SIGNPOST_CODES__LENGTH", "99")
            .env("SIGNPOST_HTTP_DRAIN", PASSWORD)
            .arg("--config")
            .arg(&file)
            .args(["--set", "auth.anonymous=perhaps", "--set", &format!("{PASSWORD}@=1"), command]));
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.took < AT_ONCE, "{told:?}");
        assert_eq!(told.out, "");
        let mut lines: Vec<_> = told.err.lines().map(str::trim).collect();
        assert_eq!(lines.remove(0), "signpost: configuration: 7 problems");
        for problem in [
            format!("http.workers (file {}): expected `cores` or 1 to 256", file.display()),
            format!("http.bund (file {}): unknown, did you mean http.bind?", file.display()),
            format!("store.url (file {}): expected `sqlite:PATH`", file.display()),
            "codes.length (variable SIGNPOST_CODES__LENGTH): expected 6 to 32".to_owned(),
            "SIGNPOST_HTTP_DRAIN (environment): unknown, did you mean SIGNPOST_HTTP__DRAIN?".to_owned(),
            "auth.anonymous (flag): expected `off` or `shorten`".to_owned(),
            "a name that cannot be one (flag): unknown".to_owned(),
        ] {
            let found = lines.iter().position(|line| line.starts_with(&problem));
            lines.remove(found.unwrap_or_else(|| panic!("{problem} is missing: {told:?}")));
        }
        assert!(!told.err.contains(PASSWORD), "{told:?}");
    }
}

#[test]
fn each_bad_value_is_named_with_its_key() {
    for (key, value) in [
        ("http.bind", "elsewhere:80"),
        ("http.bind", "8080"),
        ("http.workers", "many"),
        ("http.max_connections", "0"),
        ("http.head_timeout", "10"),
        ("http.head_timeout", "0s"),
        ("http.request_timeout", "90s"),
        ("public_url", "sho.rt"),
        ("public_url", "https://sho.rt/path"),
        ("landing_url", "javascript:alert(1)"),
        ("store.url", "links.db"),
        ("store.pool_size", "-1"),
        ("store.tls", "perhaps"),
        ("store.migrate", "yes"),
        ("codes.length", "5"),
        ("http.cors_origins", "*,https://a.example"),
        ("http.cors_origins", "https://a.example/path"),
        ("http.cors_origins", "a.example"),
        ("targets.allow_private", "1"),
        ("targets.own_hosts", "a.example:80"),
        ("auth.anonymous", "on"),
        ("log.level", "verbose"),
        ("log.format", "xml"),
    ] {
        let told = check(&[&format!("{key}={value}")]);
        assert_eq!(told.code, Some(1), "{key}: {told:?}");
        assert!(told.err.contains(&format!("  {key} (flag): expected ")), "{key}: {told:?}");
    }
    let told = check(&["http.drain=20s", "http.shutdown_timeout=20s"]);
    assert!(
        told.code == Some(1) && told.err.contains("http.drain (flag) and http.shutdown_timeout (flag)"),
        "{told:?}"
    );
}

#[test]
fn flags_beat_variables_beat_the_file_beats_the_defaults() {
    let folder = tempfile::tempdir().expect("a place for a file");
    let text =
        "[codes]\nlength = 9\n[http]\nworkers = 3\ndrain = '1s'\n[targets]\nown_hosts = ['a.example', 'b.example']\n";
    fs::write(folder.path().join("signpost.toml"), text).expect("a new folder takes files");
    let told = run(signpost()
        .current_dir(folder.path())
        .env("SIGNPOST_HTTP__WORKERS", "4")
        .env("SIGNPOST_HTTP__DRAIN", "2s")
        .args(["--set", "http.drain=3s", "--public-url", "https://SHO.rt:443/", "check-config"]));
    assert_eq!(told.code, Some(0), "{told:?}");
    for line in [
        "codes.length = 9  # file signpost.toml",
        "http.workers = 4  # variable SIGNPOST_HTTP__WORKERS",
        "http.drain = 3s  # flag",
        "public_url = https://sho.rt  # flag",
        "targets.own_hosts = a.example,b.example  # file signpost.toml",
        "http.bind = 127.0.0.1:8080  # default",
        "store.url = sqlite:./data/signpost.db  # default",
        "auth.anonymous = off  # default",
    ] {
        assert!(told.out.lines().any(|shown| shown == line), "{line} is missing: {told:?}");
    }
    assert!(!folder.path().join("data").exists(), "looking makes nothing");
}

#[test]
fn secrets_are_not_shown_wherever_they_come_from() {
    let folder = tempfile::tempdir().expect("a place for a file");
    let url = format!("postgres://user:{PASSWORD}@127.0.0.1:1/links");
    let file = folder.path().join("url");
    fs::write(&file, format!("{url}\n")).expect("a new folder takes files");
    let given = || {
        let [mut by_variable, mut by_file, mut by_flag] = [signpost(), signpost(), signpost()];
        by_variable.env("SIGNPOST_STORE__URL", &url);
        by_file.env("SIGNPOST_STORE__URL_FILE", &file);
        by_flag.args(["--set", &format!("store.url={url}")]);
        [by_variable, by_file, by_flag]
    };
    for mut command in given() {
        let told = run(command.current_dir(folder.path()).arg("check-config"));
        assert!(told.out.contains("store.url = postgres://[redacted]"), "{told:?}");
        assert!(!told.out.contains(PASSWORD) && !told.err.contains(PASSWORD), "{told:?}");
    }
    for mut command in given() {
        // No server listens there. The error has to say so without the password.
        let told = run(command.current_dir(folder.path()).args(["keys", "list"]));
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(!told.out.contains(PASSWORD) && !told.err.contains(PASSWORD), "{told:?}");
    }
}

#[test]
fn a_server_without_its_database_does_not_log_its_password() {
    let url = format!("postgres://user:{PASSWORD}@127.0.0.1:1/links");
    let server = Signpost::on_sqlite().variable("SIGNPOST_STORE__URL", &url).launch();
    server.event("store.unavailable");
    server.get("/zzzzzzzz").with_status(503);
    server.get("/health").with_status(503);
    assert!(server.terminate().success());
    assert!(!server.output().contains(PASSWORD) && !server.complaints().contains(PASSWORD), "{}", server.output());
}

#[test]
fn settings_take_effect() {
    let setup = Signpost::on_sqlite().set("codes.length", "12").set("targets.own_hosts", "a.example, b.example");
    let server = setup.set("targets.allow_private", "true").set("public_url", "https://sho.rt:8443").start();
    let caller = server.caller();
    let link = caller.link(&json!({"url": "http://127.0.0.1:81/"}));
    let code = code_of(&link);
    assert_eq!(code.len(), 12);
    assert_eq!(link["short_url"], format!("https://sho.rt:8443/{code}"));
    server.get(&format!("/{code}")).with_status(302);
    for own in ["https://a.example/", "http://B.example.:81/x", "https://sho.rt:8443/abc", "http://sho.rt/"] {
        caller.claim(&json!({"url": own})).refuses(&[("/url", "own-host")]);
    }
}

#[test]
fn the_command_line_explains_itself() {
    let told = run(signpost().arg("--help"));
    assert_eq!(told.code, Some(0), "{told:?}");
    for command in ["serve", "migrate", "check-config", "keys", "openapi", "health"] {
        assert!(told.out.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {told:?}");
    }
    let told = run(signpost().arg("--version"));
    assert_eq!(told.out, format!("signpost {}", env!("CARGO_PKG_VERSION")));
    for wrong in [&["nonsense"][..], &["--set", "x"][..], &["--bind"][..], &["keys"][..]] {
        let told = run(signpost().args(wrong));
        assert!(told.code == Some(2) && told.out.is_empty() && !told.err.is_empty(), "{wrong:?}: {told:?}");
    }
}

#[test]
fn the_health_command_asks_a_running_server() {
    let server = Signpost::on_sqlite().set("http.drain", "15s").start();
    let ask =
        |arguments: &[&str]| run(signpost().args(["--bind", &server.address().to_string(), "health"]).args(arguments));
    let healthy = ask(&[]);
    assert!(healthy.code == Some(0) && healthy.out.contains("\"status\":\"pass\""), "{healthy:?}");
    let ready = ask(&["--ready"]);
    assert_eq!((ready.code, ready.out.as_str()), (Some(0), "ready"));

    server.signal(Signal::TERM);
    assert!(eventually(Duration::from_secs(5), || server.get("/readyz").status == 503));
    assert_eq!(ask(&["--ready"]).code, Some(1));
    assert_eq!(ask(&[]).code, Some(0));

    server.kill9();
    let silent = ask(&[]);
    assert!(silent.code == Some(1) && silent.err.contains("no answer from http://127.0.0.1:"), "{silent:?}");
}

alone_on_both_stores! { migrations_are_applied_listed_and_reverted }

fn migrations_are_applied_listed_and_reverted(setup: &Setup) {
    let migrate = |action: &[&str]| -> Vec<String> {
        let told = setup.run(&[&["migrate"][..], action].concat());
        assert_eq!(told.code, Some(0), "{told:?}");
        told.out.lines().map(str::to_owned).collect()
    };
    let with_word =
        |word: &str, names: &[String]| -> Vec<String> { names.iter().map(|name| format!("{word} {name}")).collect() };
    let known = names_of_migrations();
    assert!(known.len() >= 3 && known.is_sorted(), "{known:?}");
    if setup.is_on_postgres() {
        assert_eq!(migrate(&["status"]), with_word("missing", &known));
    }
    assert_eq!(migrate(&[]), with_word("applied", &known));
    assert_eq!(migrate(&["up"]), ["nothing to apply"]);
    assert_eq!(migrate(&["status"]), with_word("applied", &known));
    let unsure = setup.run(&["migrate", "revert"]);
    assert!(unsure.code == Some(1) && unsure.err.contains("say --yes"), "{unsure:?}");
    for name in known.iter().rev() {
        assert_eq!(migrate(&["revert", "--yes"]), [format!("reverted {name}")]);
    }
    assert_eq!(migrate(&["revert", "--yes"]), ["nothing to revert"]);
    for command in [&["check-store"][..], &["keys", "list"][..], &["keys", "revoke", "AAAAAAAAAAAA"][..]] {
        let told = setup.run(command);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!((told.out.clone() + &told.err).contains(&known[0]), "{told:?}");
    }
    assert_eq!(migrate(&["status"]), with_word("missing", &known));
    assert_eq!(migrate(&[]), with_word("applied", &known));
    setup.start().caller().code("https://example.com/after-all-that");
}

/// As RUNBOOK describes it: the owner of the schema migrates, and the service may only use the tables.
#[test]
fn keys_are_managed_by_a_role_that_may_not_change_the_schema() {
    let setup = Signpost::on_postgres();
    assert_eq!(setup.run(&["migrate"]).code, Some(0));
    let database = setup.database().clone();
    let role = format!("keeper_{}", database.name());
    let grant = format!(
        "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    );
    database.sql(&grant).expect("we own it");
    let url = database.url().replace("postgres://signpost@", &format!("postgres://{role}@"));
    let setup = setup.set("store.url", &url).set("store.migrate", "false");
    for command in [
        &["migrate", "status"][..],
        &["check-store"][..],
        &["keys", "list"][..],
        &["keys", "create", "--name", "x", "--scope", "admin"][..],
    ] {
        let told = setup.run(command);
        assert_eq!(told.code, Some(0), "{command:?}: {told:?}");
    }
}

/// A block is read even if today's rules would refuse it. A row that cannot be read does not stop the others.
#[test]
fn unreadable_rows_are_reported_and_the_others_are_in_force() {
    let server = Signpost::on_postgres().start();
    let code = server.caller().code("https://example.com/taken-down");
    let block = |id: char, kind: &str, value: &str| {
        let id = id.to_string().repeat(8) + "-0000-0000-0000-000000000000";
        format!("INSERT INTO blocks VALUES ('{id}', '{kind}', '{value}', 'why', now(), 'system', NULL, NULL);")
    };
    let rows = [
        "ALTER TABLE blocks DROP CONSTRAINT blocks_kind_check;".to_owned(),
        block('1', "planet", "mars"),
        block('2', "code", "status"),
        block('3', "code", &code),
    ];
    server.database().sql(&rows.concat()).expect("the database is ours");
    assert!(eventually(Duration::from_secs(10), || server.get(&format!("/{code}")).status == 451), "it is followed");
    let told = server.event("row.unreadable");
    assert_eq!(told["db.collection.name"], "blocks", "{told}");
    assert!(told["error.message"].as_str().is_some_and(|why| why.starts_with("kind: ")), "{told}");
    assert_eq!(told["level"], "warning", "{told}");

    let checked = server.setup().run(&["check-store"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.out.contains("unreadable row in blocks, 11111111-0000-0000-0000-000000000000: kind: "),
        "{checked:?}"
    );
    assert!(!checked.out.contains("22222222"), "a reserved word can be read: {checked:?}");

    let again = server.another().start();
    assert_eq!(again.get(&format!("/{code}")).status, 451);
    assert_eq!(server.events("row.unreadable").len(), 1, "not each second");
    let health = server.get("/health").with_status(200).json();
    let tasks = health["checks"]["tasks:lastSuccess"].as_array().expect("a list").clone();
    let blocks = tasks.into_iter().find(|task| task["componentId"] == "blocks").expect("the task is listed");
    assert_eq!((&health["status"], &blocks["status"]), (&json!("warn"), &json!("warn")), "{health}");
    assert_eq!(blocks["output"], "some blocks cannot be read and are not in force");
}

/// A code that became a path of a later release stays the address of its link. The path is served with a slash behind
/// it.
#[test]
fn a_link_whose_code_became_a_path_still_redirects() {
    let server = Signpost::on_postgres().start();
    server.caller().code("https://example.com/older");
    let inherited = "INSERT INTO links (id, code, owner_id, target, redirect, forward_query, tags, state, deduplicated, \
                     dedup_key, activation_id, generation, created_at, updated_at) \
                     SELECT gen_random_uuid(), 'docs', owner_id, target, redirect, forward_query, tags, state, false, \
                     dedup_key, gen_random_uuid(), generation, created_at, updated_at FROM links;";
    server.database().sql(inherited).expect("the database is ours");
    let again = server.another().start();
    let followed = again.get("/docs");
    assert_eq!((followed.status, followed.header("location")), (302, Some("https://example.com/older")));
    let reader = again.get("/docs/").with_status(200).text();
    assert!(reader.contains("swagger-ui"), "{reader}");
    again.get("/health/").with_status(200);
    assert_eq!(again.get("/readyz").status, 200);
}

#[test]
fn check_store_reports_a_damaged_file() {
    let setup = Signpost::on_sqlite();
    assert_eq!(setup.run(&["migrate"]).code, Some(0));
    let file = setup.data_dir().join("signpost.db");
    let mut bytes = fs::read(&file).expect("the file exists");
    // The header of the second page, which is the root of a table or of an index.
    bytes[4_096..4_104].fill(0xff);
    fs::write(&file, bytes).expect("the folder is ours");
    let told = setup.run(&["check-store"]);
    assert!(told.code == Some(1) && told.err.contains(&file.display().to_string()), "{told:?}");
    assert!(!told.out.contains("nothing is wrong"), "{told:?}");
}

/// SQLite reports the table whose constraint is violated, but not the row.
#[test]
fn check_store_names_a_row_that_violates_a_constraint() {
    let setup = Signpost::on_sqlite();
    let server = setup.start();
    let link =
        server.caller().claim(&json!({"url": "https://example.com/a", "tags": ["here"]})).with_status(201).json();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let file = setup.data_dir().join("signpost.db");
    let mut bytes = fs::read(&file).expect("the file exists");
    let row = b"example.com/a\x01\x2e[\"here\"]";
    let at =
        bytes.windows(row.len()).position(|window| window == row).expect("a row has its columns one after another");
    bytes[at..at + row.len()].copy_from_slice(b"example.com/a\x01\x2f[\"here\"]");
    fs::write(&file, bytes).expect("the folder is ours");
    let told = setup.run(&["check-store"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains("CHECK constraint failed in links"), "{told:?}");
    assert!(
        told.out.contains(&format!("unreadable row in links, {}: redirect: ", link["id"].as_str().expect("an id"))),
        "{told:?}"
    );
}

#[test]
fn read_only_commands_create_no_database() {
    let setup = Signpost::on_sqlite();
    for command in [
        &["migrate", "status"][..],
        &["migrate", "revert", "--yes"][..],
        &["check-store"][..],
        &["keys", "list"][..],
        &["keys", "create", "--name", "x", "--scope", "admin"][..],
    ] {
        let told = setup.run(command);
        assert!(told.code == Some(1) && told.err.contains("there is no database at"), "{told:?}");
    }
    assert!(!setup.data_dir().join("signpost.db").exists());
}

#[test]
fn an_unusable_database_file_is_named_in_the_error() {
    let setup = Signpost::on_sqlite();
    fs::create_dir_all(setup.data_dir()).expect("the folder is ours");
    let file = setup.data_dir().join("signpost.db");
    fs::write(&file, "no database".repeat(1_000)).expect("the folder is ours");
    for command in ["serve", "migrate", "check-store"] {
        let told = setup.run(&[command]);
        assert!(told.code == Some(1) && told.err.contains(&file.display().to_string()), "{told:?}");
    }
}

/// The names of the migrations, which are the same on both stores.
fn names_of_migrations() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");
    let entries = fs::read_dir(folder).expect("the repository has them").flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// Runs `check-config` with these settings.
fn check(settings: &[&str]) -> Told {
    let mut command = signpost();
    for setting in settings {
        command.args(["--set", setting]);
    }
    run(command.arg("check-config"))
}
