//! The module structure of each crate: files and folders import downwards, and never in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Item, UseTree, visit::Visit};

/// The top-level modules of `adapter-http`, from the top down. Those in one row do not import each other, except for
/// what `BESIDE` lists.
const FLOORS: &[&[&str]] = &[
    &["lib", "fuzzing"],
    &["server"],
    &["routes"],
    &["api", "redirect", "site", "ops", "metrics"],
    &["response"],
    &["request"],
    &["limits"],
    &["problem"],
    &["wire", "html", "qr"],
];

/// Modules of one row of which the first imports the second, and the reason.
const BESIDE: &[(&str, &str)] = &[];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = crates().into_iter().map(|name| (circle(&House::of(&name).imports), name));
    let found: Vec<_> = circles.filter(|(circle, _)| !circle.is_empty()).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_folders_import_each_other_in_a_circle() {
    for name in crates() {
        let mut folders: Imports = Imports::new();
        for (from, to) in House::of(&name).pairs() {
            let (from, to) = (room(from), room(to));
            if from != to {
                folders.entry(from.to_owned()).or_default().insert(to.to_owned());
            }
        }
        let circle = circle(&folders);
        assert!(circle.is_empty(), "{name}: {}", circle.join(" -> "));
    }
}

#[test]
fn rooms_of_the_http_adapter_import_downwards() {
    let floor = |name: &str| {
        let floor = FLOORS.iter().position(|rooms| rooms.contains(&name));
        floor.unwrap_or_else(|| panic!("the room {name} has no floor"))
    };
    for (from, to) in House::of("adapter-http").pairs() {
        let (from, to) = (room(from), room(to));
        let is_down = from == to || floor(from) < floor(to) || BESIDE.contains(&(from, to));
        assert!(is_down, "{from} imports {to}");
    }
}

/// The top-level module that a module belongs to.
fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

fn crates() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = fs::read_dir(folder).expect("the repository has this folder");
    let mut names: Vec<_> =
        listed.map(|entry| entry.expect("it is listed").file_name().into_string().expect("UTF-8")).collect();
    names.retain(|name| name != "fuzz");
    names.sort();
    names
}

/// Modules, each with the modules that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

struct House {
    imports: Imports,
}

/// One source file.
struct File {
    /// What the file imports from this crate: the name in the file, and the path.
    uses: Vec<(String, Vec<String>)>,
    /// The paths in the code of the file.
    paths: Vec<Vec<String>>,
}

impl House {
    fn of(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut files = BTreeMap::new();
        for path in sources(&root) {
            let module = module_of(path.strip_prefix(&root).expect("the file is below the root"));
            let text = fs::read_to_string(&path).expect("a source file is text");
            let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            files.insert(module.clone(), read(&module, &parsed.items));
        }
        let mut imports = Imports::new();
        for (module, file) in &files {
            let all = file.uses.iter().map(|(_, path)| path).chain(&file.paths);
            let targets = all.filter_map(|path| defined_in(&files, path, 0)).filter(|target| target != module);
            imports.insert(name_of(module), targets.map(|target| name_of(&target)).collect());
        }
        Self { imports }
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from.as_str(), to.as_str())))
    }
}

fn name_of(module: &[String]) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let listed =
        fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("the entry can be read").path());
    let (folders, files): (Vec<_>, Vec<_>) = listed.partition(|path| path.is_dir());
    let is_source = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path.extension().is_some_and(|ending| ending == "rs") && !name.ends_with("tests.rs")
    };
    files.into_iter().filter(is_source).chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

fn module_of(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let mut parts: Vec<_> = path.iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
    if ["mod", "lib", "main"].contains(&parts.last().map_or("", String::as_str)) {
        parts.pop();
    }
    parts
}

/// The imports and paths of the items of a module, without its tests.
fn read(module: &[String], items: &[Item]) -> File {
    let mut file = File { uses: Vec::new(), paths: Vec::new() };
    let mut paths = Paths { module, found: &mut file.paths };
    for item in items {
        match item {
            Item::Use(one) => flatten(module, &one.tree, &mut Vec::new(), &mut file.uses),
            Item::Mod(inner) if inner.content.is_some() => {}
            other => paths.visit_item(other),
        }
    }
    file
}

struct Paths<'a> {
    module: &'a [String],
    found: &'a mut Vec<Vec<String>>,
}

impl<'a> Visit<'a> for Paths<'_> {
    /// `pub(super)` is no import.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let mut uses = Vec::new();
        flatten(self.module, &item.tree, &mut Vec::new(), &mut uses);
        self.found.extend(uses.into_iter().map(|(_, path)| path));
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.extend(within(self.module, &segments).filter(|path| !path.is_empty()));
        syn::visit::visit_path(self, path);
    }
}

fn flatten(module: &[String], tree: &UseTree, before: &mut Vec<String>, uses: &mut Vec<(String, Vec<String>)>) {
    let mut add = |before: &[String], last: String, name: String| {
        let path = [before, &[last]].concat();
        uses.extend(within(module, &path).map(|path| (name, path)));
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(module, &path.tree, before, uses);
            before.pop();
        }
        UseTree::Name(name) => add(before, name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(name) => add(before, name.ident.to_string(), name.rename.to_string()),
        UseTree::Glob(_) => add(before, "*".to_owned(), "*".to_owned()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(module, tree, before, uses)),
    }
}

/// A path from the root of this crate; `None` for a path into another crate.
fn within(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let (mut base, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" | "super" => (module.to_vec(), path),
        _ => return None,
    };
    while let Some(first) = rest.first().filter(|first| ["self", "super"].contains(&first.as_str())) {
        if first == "super" {
            base.pop();
        }
        rest = &rest[1..];
    }
    base.extend(rest.iter().filter(|part| *part != "self").cloned());
    Some(base)
}

/// The module that defines the item of a path. Re-exports are followed.
fn defined_in(files: &BTreeMap<Vec<String>, File>, path: &[String], depth: usize) -> Option<Vec<String>> {
    let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let passed_on = rest.first().and_then(|name| files[module].uses.iter().find(|(given, _)| given == name));
    match passed_on {
        Some((_, target)) if depth < 8 && target != path => {
            defined_in(files, &[target.as_slice(), &rest[1..]].concat(), depth + 1)
        }
        _ => Some(module.to_vec()),
    }
}

/// The modules of one circle of imports; empty if there is none.
fn circle(imports: &Imports) -> Vec<String> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|start| search(imports, start, &mut Vec::new(), &mut done)).unwrap_or_default()
}

fn search(imports: &Imports, at: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
    if let Some(begin) = way.iter().position(|module| module == at) {
        return Some([&way[begin..], &[at.to_owned()]].concat());
    }
    if done.contains(at) {
        return None;
    }
    way.push(at.to_owned());
    let found = imports.get(at).into_iter().flatten().find_map(|next| search(imports, next, way, done));
    way.pop();
    done.insert(at.to_owned());
    found
}
