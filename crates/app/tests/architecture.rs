//! Rules of the architecture, checked against Cargo's metadata and the files of the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

const STORES: [&str; 2] = ["adapter-postgres", "adapter-sqlite"];

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::read);

#[test]
fn domain_depends_on_no_crate_of_ours() {
    assert_eq!(WORKSPACE.ours_below("domain"), names(&[]));
}

#[test]
fn adapters_and_test_support_depend_on_domain_alone() {
    for package in WORKSPACE.members().filter(|package| !["domain", "app"].contains(&package.name.as_str())) {
        assert_eq!(WORKSPACE.ours_below(&package.name), names(&["domain"]), "{}", package.name);
    }
}

#[test]
fn nothing_depends_on_the_binary() {
    assert_eq!(WORKSPACE.who_asks_for(|name| name == "app"), names(&[]));
}

#[test]
fn test_support_is_only_ever_a_dev_dependency() {
    for package in WORKSPACE.members() {
        assert!(!WORKSPACE.ours_below(&package.name).contains("test-support"), "{}", package.name);
    }
}

#[test]
fn only_the_stores_depend_on_diesel() {
    assert_eq!(WORKSPACE.who_asks_for(|name| name.starts_with("diesel")), names(&STORES));
    assert_eq!(WORKSPACE.who_reaches(|name| name.starts_with("diesel")), names(&["app", STORES[0], STORES[1]]));
}

#[test]
fn only_the_http_adapter_and_the_binary_depend_on_actix() {
    let allowed = names(&["adapter-http", "app"]);
    assert!(WORKSPACE.who_asks_for(is_actix).is_subset(&allowed));
    assert!(WORKSPACE.who_reaches(is_actix).is_subset(&allowed));
}

#[test]
fn only_the_redis_adapter_depends_on_redis() {
    let is_client = |name: &str| ["redis", "fred", "deadpool-redis", "bb8-redis"].contains(&name);
    assert!(WORKSPACE.who_asks_for(is_client).is_subset(&names(&["adapter-redis"])));
}

#[test]
fn domain_brings_no_runtime_database_web_log_or_randomness() {
    let is_foreign = |name: &str| {
        let prefixes = ["actix", "diesel", "slog", "sqlx", "tokio", "tracing"];
        ["getrandom", "log", "rand"].contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let found: Vec<_> =
        WORKSPACE.below("domain", &[Kind::Normal]).into_iter().filter(|name| is_foreign(name)).collect();
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn domain_and_the_stores_are_permissive_and_what_is_above_is_gpl() {
    for package in WORKSPACE.members() {
        let expected = match package.name.as_str() {
            "adapter-http" | "app" => "GPL-3.0-or-later",
            _ => "MIT OR Apache-2.0",
        };
        assert_eq!(package.license, expected, "{}", package.name);
    }
}

/// Not even for its tests: `actix-governor` is GPL-3.0-or-later.
#[test]
fn no_permissive_crate_has_a_path_to_actix_governor() {
    for package in WORKSPACE.members().filter(|package| !package.license.starts_with("GPL")) {
        let all = WORKSPACE.below(&package.name, &[Kind::Normal, Kind::Build, Kind::Dev]);
        assert!(!all.contains("actix-governor"), "{}", package.name);
    }
}

/// Checked in the lock file, which covers every platform and feature.
#[test]
fn no_tls_or_database_library_of_the_system_is_needed() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file is in the repository");
    for name in ["native-tls", "openssl-sys", "pq-sys"] {
        assert!(!lock.contains(&format!("\nname = \"{name}\"\n")), "{name}");
    }
}

#[test]
fn both_databases_have_the_same_migrations_each_with_its_way_back() {
    let [postgres, sqlite, sqlite_clicks] = ["postgres", "sqlite", "sqlite-clicks"].map(|database| {
        let folder = root().join("migrations").join(database);
        let migrations = entries(&folder);
        for migration in &migrations {
            assert_eq!(entries(&folder.join(migration)), owned(&["down.sql", "up.sql"]), "{database}/{migration}");
        }
        migrations
    });
    assert!(!postgres.is_empty() && sqlite.is_disjoint(&sqlite_clicks));
    assert_eq!(postgres, sqlite.union(&sqlite_clicks).cloned().collect());
}

#[test]
fn the_top_of_the_repository_stays_tidy() {
    let allowed = owned(&[
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "RUNBOOK.md",
        "clippy.toml",
        "compose.yaml",
        "crates",
        "deny.toml",
        "docs",
        "justfile",
        "migrations",
        "rust-toolchain.toml",
        "rustfmt.toml",
    ]);
    // Names that .gitignore lists.
    let is_ignored = |name: &str| ["data", "target"].contains(&name) || name.ends_with(".profraw");
    let strangers: Vec<_> = entries(root())
        .into_iter()
        .filter(|name| !name.starts_with('.') && !is_ignored(name) && !allowed.contains(name))
        .collect();
    assert_eq!(strangers, Vec::<String>::new());
}

fn is_actix(name: &str) -> bool {
    name.starts_with("actix-")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn entries(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a listing").file_name().into_string().expect("plain names")).collect()
}

fn names<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

fn owned(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value.as_str() {
            None => Self::Normal,
            Some("build") => Self::Build,
            Some("dev") => Self::Dev,
            Some(other) => panic!("cargo knows a kind of dependency that we do not: {other}"),
        }
    }
}

/// A package of the lock file.
struct Package {
    name: String,
    license: String,
    is_ours: bool,
    /// The packages that its manifest names, used or not.
    wanted: Vec<String>,
    /// Ids of the packages that it is built with, and what for.
    used: Vec<(String, Vec<Kind>)>,
}

/// All packages for this platform, by id.
struct Workspace(BTreeMap<String, Package>);

impl Workspace {
    /// Works offline: the build of this test has fetched every package for this platform.
    fn read() -> Self {
        let version = cargo(&["--version", "--verbose"]);
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
        let metadata = cargo(&[
            "metadata",
            "--format-version=1",
            "--locked",
            "--offline",
            "--filter-platform",
            host,
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]);
        let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
        let ours: BTreeSet<&str> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let nodes: BTreeMap<&str, &Value> =
            list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
        let packages = list(&metadata["packages"]).iter().map(|package| {
            let id = text(&package["id"]);
            let read = Package {
                name: text(&package["name"]).to_owned(),
                license: package["license"].as_str().unwrap_or_default().to_owned(),
                is_ours: ours.contains(id),
                wanted: list(&package["dependencies"]).iter().map(|wanted| text(&wanted["name"]).to_owned()).collect(),
                used: list(&nodes[id]["deps"]).iter().map(used).collect(),
            };
            (id.to_owned(), read)
        });
        Self(packages.collect())
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.0.values().filter(|package| package.is_ours)
    }

    fn member(&self, name: &str) -> &Package {
        let found = self.members().find(|package| package.name == name);
        found.unwrap_or_else(|| panic!("there is no crate {name}"))
    }

    /// Names of all packages below one of our crates, over dependencies of these kinds.
    fn below(&self, name: &str, kinds: &[Kind]) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![self.member(name)];
        while let Some(package) = open.pop() {
            for (id, why) in &package.used {
                if why.iter().any(|kind| kinds.contains(kind)) && seen.insert(id.as_str()) {
                    open.push(&self.0[id]);
                }
            }
        }
        seen.into_iter().map(|id| self.0[id].name.as_str()).collect()
    }

    /// Our crates that one of them is built from, without its tests.
    fn ours_below(&self, name: &str) -> BTreeSet<&str> {
        let ours: BTreeSet<&str> = self.members().map(|package| package.name.as_str()).collect();
        self.below(name, &[Kind::Normal, Kind::Build]).intersection(&ours).copied().collect()
    }

    /// Our crates whose manifests name such a package, for any purpose.
    fn who_asks_for(&self, is_it: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let asking = self.members().filter(|package| package.wanted.iter().any(|name| is_it(name)));
        asking.map(|package| package.name.as_str()).collect()
    }

    /// Our crates that have such a package below them, without their tests.
    fn who_reaches(&self, is_it: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let names = self.members().map(|package| package.name.as_str());
        names.filter(|name| self.below(name, &[Kind::Normal, Kind::Build]).into_iter().any(&is_it)).collect()
    }
}

fn used(dependency: &Value) -> (String, Vec<Kind>) {
    let kinds = list(&dependency["dep_kinds"]).iter().map(|why| Kind::of(&why["kind"]));
    (text(&dependency["pkg"]).to_owned(), kinds.collect())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list in cargo's metadata")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text in cargo's metadata")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).output().expect("the cargo that built us");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// Documents name files in code spans and links. Such pages rot when files move.
#[test]
fn every_path_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let listed = |folder: &str| fs::read_dir(root.join(folder)).expect("it is part of the repository");
    let pages = ["docs", "docs/adr"].into_iter().flat_map(listed).map(|entry| entry.expect("it is listed").path());
    let pages = pages.chain(["README.md", "RUNBOOK.md"].map(|page| root.join(page)));
    for page in pages.filter(|page| page.extension().is_some_and(|ending| ending == "md")) {
        let text = fs::read_to_string(&page).expect("it is text");
        let prose: String = text.split("```").step_by(2).collect();
        for span in prose.split('`').skip(1).step_by(2) {
            let is_path = ["crates/", "docs/", "migrations/", ".ci/"].iter().any(|folder| span.starts_with(folder));
            let is_whole = span.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            assert!(!is_path || !is_whole || root.join(span).exists(), "{}: {span}", page.display());
        }
        let folder = page.parent().expect("it is in a folder");
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            assert!(
                link.is_empty() || link.contains("://") || folder.join(link).exists(),
                "{}: {link}",
                page.display()
            );
        }
    }
}
