//! Runs the commands of the documents in a shell, and compares their output with the output shown there.

use std::{
    env,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{Request, Setup, Signpost, Told, run};

/// Separates the outputs of commands.
const MARK: &str = "\u{1e}";

#[test]
fn the_examples_of_the_readme_show_the_real_output() {
    tour("README.md", 5);
}

#[test]
fn the_examples_of_the_api_show_the_real_output() {
    tour("docs/API.md", 12);
}

/// Runs the examples of a document in one shell, in order, in the folder of a new server.
fn tour(document: &str, least: usize) {
    let setup = Signpost::on_sqlite().patient();
    let server = setup.start();
    let text = read(document);
    // The first block of the README is the build. Of the others without output, those count that set variables.
    let examples: Vec<_> = blocks(&text)
        .filter(|block| block.language == "console" || (block.language == "sh" && sets_variables(block.text)))
        .flat_map(|block| examples(block.text))
        .collect();
    assert!(examples.len() >= least, "{document} has {} examples", examples.len());

    let mut script = "set -u\n".to_owned();
    for example in &examples {
        write!(script, "{}\nprintf '{MARK}'\n", example.command).expect("writing to a string cannot fail");
    }
    let told = paste(&script, &setup, server.address());
    let outputs: Vec<_> = told.out.split(MARK).collect();
    for (example, output) in examples.iter().zip(outputs) {
        let expected = example.output.replace("127.0.0.1:8080", "sho.test");
        let expected = expected.replace(r#""domain":"127.0.0.1""#, r#""domain":"sho.test""#);
        assert!(alike(&expected, output.trim()), "{}\nshows {output}\nnot {expected}\n{told:?}", example.command);
    }
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{document}");
}

fn sets_variables(block: &str) -> bool {
    block.lines().all(|line| line.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase())))
}

#[test]
fn production_on_postgres_begins_as_the_readme_says() {
    let setup = Signpost::on_postgres();
    let url = setup.data_dir().with_file_name("store_url");
    fs::write(&url, setup.database().url()).expect("the folder takes files");
    let text = read("README.md");
    let (_, production) = text.split_once("## Production on PostgreSQL").expect("the README has this heading");
    let block = blocks(production).next().expect("it begins with commands");
    let commands = block.text.replace("/run/secrets/store_url", &url.display().to_string());
    let (before, serve) = commands.trim_end().rsplit_once('\n').expect("it has several");
    assert_eq!(serve, "signpost serve");

    let told = paste(&format!("set -e\n{before}"), &setup, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(told.code, Some(0), "{told:?}");
    let key = told.out.lines().find(|line| line.starts_with("sgn_")).expect("the key stands on standard output");
    let server = setup.start();
    let list = server.ask(&Request::get("/api/v1/keys").header("X-API-Key", key));
    assert_eq!(list.status, 200, "{list:?}");
}

/// The ways in which Signpost runs, with the program that shows its log.
const HOMES: [(&str, &str); 3] = [("docker compose", "docker"), ("systemd", "journalctl"), ("by hand", "cat")];

#[test]
fn every_log_recipe_works_on_a_stream_with_other_lines_and_shows_the_last_minutes() {
    let runbook = read("RUNBOOK.md");
    let recipes: Vec<_> = commands(&runbook)
        .into_iter()
        .filter(|command| command.contains("lines |") && !command.contains("lines()"))
        .collect();
    assert!(recipes.len() > 20, "{recipes:?}");
    for (home, program) in HOMES {
        let folder = TempDir::new().expect("the system has room");
        fs::create_dir(folder.path().join("data")).expect("the folder is empty");
        fs::write(folder.path().join("data/admin.key"), "sgn_").expect("the folder takes files");
        let stubs = stub(folder.path(), program);
        let mut script = beginning(&runbook, home).replace("/var/lib/signpost", "data");
        script.push_str("KEY=k CODE=first_link ID=4WhRp6WJ8Cb1\nlines | jq -r .message\n");
        for recipe in &recipes {
            // Every command of a pipeline has to succeed, unless the last one ends it early.
            let pipes = if recipe.contains("| head") { "set +o pipefail" } else { "set -o pipefail" };
            write!(script, "printf '{MARK}'\n{pipes}\n{recipe} || echo FAILED\n")
                .expect("writing to a string cannot fail");
        }
        let told = run(bash(&script).current_dir(folder.path()).env("PATH", stubs));
        let mut outputs = told.out.split(MARK);
        let messages: Vec<_> = outputs.next().expect("there is one").lines().collect();
        assert_eq!(messages, ["now", "with a prefix"], "{home}: {told:?}");
        for (recipe, output) in recipes.iter().zip(outputs) {
            assert!(!output.contains("FAILED"), "{home}: {recipe}: {told:?}");
        }
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{home}");
    }
}

/// A folder of programs that replace those of `home`, as a search path. They show a log with other lines in it.
fn stub(folder: &Path, program: &str) -> String {
    let log = "signpost-1  | starting\n\n{\"no\": \"end\n[1, 2]\n\"text\"\n{\"timestamp\":7}\n\
               {\"timestamp\":\"2020-01-01T00:00:00.000000Z\",\"level\":\"error\",\"message\":\"long ago\"}\n\
               {\"timestamp\":\"NOW.123456Z\",\"level\":\"info\",\"message\":\"now\",\"event.name\":7}\n\
               Nov 29 02:00:00 host signpost[7]: {\"timestamp\":\"NOW.123456Z\",\"level\":\"error\",\
               \"message\":\"with a prefix\",\"event.name\":\"store.unavailable\",\"error.message\":\"no\"}\n";
    let bin = folder.join("bin");
    fs::create_dir(&bin).expect("the folder is empty");
    fs::write(folder.join("log"), log).expect("the folder takes files");
    let show = "sed \"s/NOW/$(date -u +%Y-%m-%dT%H:%M:%S)/\" log";
    let path = env::var("PATH").expect("there is one");
    if program == "cat" {
        let made = run(bash(&format!("{show} >signpost.log")).current_dir(folder));
        assert_eq!(made.code, Some(0), "{made:?}");
        return path;
    }
    let script = format!("#!/bin/bash\ncase \"$*\" in *logs*1*0m*|*--since*-1*0min*) {show} ;; esac\n");
    fs::write(bin.join(program), script).expect("the folder takes files");
    fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).expect("the file is ours");
    format!("{}:{path}", bin.display())
}

/// The commands that the runbook says to run first.
fn beginning(runbook: &str, home: &str) -> String {
    let all: Vec<_> = blocks(runbook).map(|block| block.text).collect();
    let at_home = all.iter().find(|block| block.starts_with(&format!("# {home}"))).expect("the runbook knows it");
    let common = all.iter().find(|block| block.contains("lines() {")).expect("the runbook has it");
    format!("{at_home}{common}")
}

#[test]
fn every_statement_and_request_of_the_runbook_works() {
    let setup = Signpost::on_postgres().patient().set("ops.bind", "127.0.0.1:0");
    let server = setup.start();
    let ops = server.ops_address().expect("it has one").to_string();
    let runbook = read("RUNBOOK.md").replace("localhost:9464", &ops);
    let wanted = |command: &str| {
        let first = ["psql ", "curl ", "signpost health", "signpost keys list", "signpost block", "signpost check"];
        first.iter().any(|first| command.starts_with(first))
            && !command.contains(['…', '*'])
            && !command.contains("backup")
    };
    let recipes: Vec<_> = commands(&runbook).into_iter().filter(|command| wanted(command)).collect();
    assert!(recipes.len() > 30, "{recipes:?}");

    // First what the text assumes: a link, its owner, and a session that may be ended.
    let mut script = format!(
        "{}DB='{}' CODE=first_link PROCESS=$URL OWNER=default NAME=other PID=0 REQUEST=r ID=4WhRp6WJ8Cb1 \
         BLOCK=00000000-0000-7000-8000-000000000000\n\
         signpost() {{ command signpost $SETTINGS \"$@\"; }}\n\
         curl() {{ command curl --fail-with-body \"$@\"; }}\n\
         curl -s $URL/api/v1/links -H \"X-API-Key: $KEY\" --json '{{\"url\":\"https://example.com\",\"alias\":\"first_link\"}}' \
         >/dev/null || echo FAILED\n",
        beginning(&runbook, "by hand"),
        setup.database().url(),
    );
    for recipe in &recipes {
        // A block by this test would hide its link.
        let lift =
            "for id in $(signpost block list | awk 'NR > 1 {print $1}'); do signpost block lift $id; done >/dev/null";
        // Every command of a pipeline has to succeed, unless the last one ends it early.
        let pipes = if recipe.contains("| head") { "set +o pipefail" } else { "set -o pipefail" };
        write!(script, "printf '{MARK}'\n{pipes}\n{recipe}\necho \"status $?\"\n{lift}\n")
            .expect("writing to a string cannot fail");
    }
    let told = paste(&script, &setup, server.address());
    let outputs: Vec<_> = told.out.split(MARK).collect();
    assert!(!outputs[0].contains("FAILED"), "{told:?}");
    assert_eq!(outputs.len(), recipes.len() + 1, "{told:?}");
    let refused: Vec<_> = recipes
        .iter()
        .zip(&outputs[1..])
        // No block has that id, so lifting it fails.
        .filter(|(recipe, output)| {
            !output.trim_end().ends_with("status 0") && !recipe.starts_with("signpost block lift")
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}\n{told:?}");
}

// --- Shells and documents ---

pub(crate) fn read(document: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    fs::read_to_string(path).expect("the repository has this document")
}

pub(crate) struct Block<'t> {
    pub(crate) language: &'t str,
    pub(crate) text: &'t str,
}

/// The fenced blocks of a page.
pub(crate) fn blocks(page: &str) -> impl Iterator<Item = Block<'_>> {
    page.split("```").skip(1).step_by(2).filter_map(|block| {
        let (language, text) = block.split_once('\n')?;
        Some(Block { language, text })
    })
}

struct Example {
    command: String,
    output: String,
}

/// The commands of a block, after `$ ` or one a line, each with the output that is shown.
fn examples(block: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let shows = block.starts_with("$ ");
    for line in block.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (None, Some(last)) if last.command.ends_with('\\') => {
                last.command.push('\n');
                last.command.push_str(line);
            }
            (None, Some(last)) if shows => writeln!(last.output, "{line}").expect("writing to a string cannot fail"),
            (command, _) => {
                found.push(Example { command: command.unwrap_or(line).to_owned(), output: String::new() });
            }
        }
    }
    found
}

/// The commands of a page: the code spans of its lines, and the lines of its blocks.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    // A code span may go on in the next line.
    let mut span = String::new();
    for line in page.lines() {
        let text = line.trim_start();
        if text.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(text.split("  #").next().unwrap_or(text).trim_end().to_owned());
        } else {
            span.push_str(line);
            span.push('\n');
        }
    }
    found.extend(
        span.split("\n\n")
            .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
            .map(|command| command.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")),
    );
    found
}

fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

/// Runs a script in the folder of a server, with its address in the place of the address in the documents.
fn paste(script: &str, setup: &Setup, address: SocketAddr) -> Told {
    let script = script.replace("localhost:8080", &address.to_string());
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_signpost"));
    let programs = binary.parent().expect("it is in a folder");
    let servers = env::var("SIGNPOST_TEST_PG_BIN").unwrap_or_default();
    let path = format!("{}:{servers}:{}", programs.display(), env::var("PATH").expect("there is one"));
    let folder = setup.data_dir().parent().expect("it is in one").to_owned();
    run(bash(&script)
        .current_dir(folder)
        .env("PATH", path)
        .env("SETTINGS", format!("{} --bind {address}", setup.flags())))
}

/// Whether two outputs are the same except for words that depend on chance and clocks: codes, identifiers, times,
/// cursors. Such a word has a digit and at least eight characters.
fn alike(expected: &str, found: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
        text.trim().split_inclusive(|c| !is_part(c)).map(str::to_owned).collect()
    };
    let (expected, found) = (words(expected), words(found));
    let chance = |word: &str| word.len() >= 8 && word.bytes().any(|byte| byte.is_ascii_digit());
    expected.len() == found.len()
        && expected.iter().zip(&found).all(|(expected, found)| {
            expected == found || (chance(expected) && expected.len() == found.len() && !found.contains(' '))
        })
}

#[test]
fn outputs_are_alike_if_only_chance_differs() {
    assert!(alike(r#"{"code":"5DMVqKj9","a":1}"#, "{\"code\":\"abcdefgh\",\"a\":1}\n"));
    for other in [r#"{"code":"abcdefg","a":1}"#, r#"{"code":"abcdefgh","a":2}"#, "", r#"{"code":"abcdefgh"}"#] {
        assert!(!alike(r#"{"code":"5DMVqKj9","a":1}"#, other), "{other}");
    }
}
