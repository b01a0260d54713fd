//! The layers: the value of each key from each source. Later sources override earlier ones.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf};

use super::{
    Problems, Sources,
    keys::{self, KEYS, Key, PREFIX},
};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Variable(String),
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The value in effect for each key. No `Debug`, because it holds secrets.
pub(super) struct Settings(BTreeMap<&'static str, Entry>);

/// A value not yet parsed.
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) value: Value,
    pub(super) source: Source,
}

/// The key and where its value came from, never the value.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key.path, self.source)
    }
}

/// A value as written. Only TOML can distinguish a list from a text.
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
}

impl Settings {
    /// Reads all sources. Never fails: an unusable value becomes a problem, and the value of the layer below stays.
    pub(super) fn gather(sources: Sources, problems: &mut Problems) -> Self {
        let ours = |(name, _): &(String, String)| name.starts_with(PREFIX);
        let mut env: BTreeMap<String, String> = sources.env.into_iter().filter(ours).collect();
        let named_by_variable = env.remove("SIGNPOST_CONFIG").map(PathBuf::from);

        let mut settings = Self::defaults();
        settings.add_file(sources.file.or(named_by_variable), sources.default_file, problems);
        settings.add_variables(env, problems);
        for (path, text) in sources.overrides {
            settings.add(&path, Some(Value::Text(text)), Source::Flag, problems);
        }
        settings
    }

    pub(super) fn get(&self, path: &str) -> &Entry {
        self.0.get(path).expect("every key has a default, and only keys are asked for")
    }

    /// In the order of the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        KEYS.iter().map(move |key| self.get(key.path))
    }

    fn defaults() -> Self {
        let mut settings = Self(BTreeMap::new());
        for key in KEYS {
            settings.set(key, Value::Text(key.default.to_owned()), Source::Default);
        }
        settings
    }

    fn set(&mut self, key: &'static Key, value: Value, source: Source) {
        self.0.insert(key.path, Entry { key, value, source });
    }

    /// Sets the value of a key, or adds a problem. `None` stands for a value of a type that the setting does not have.
    fn add(&mut self, path: &str, value: Option<Value>, source: Source, problems: &mut Problems) {
        match (Key::find(path), value) {
            (Some(key), Some(value)) => self.set(key, value, source),
            (Some(key), None) => problems.add(format!("{path} ({source}): expected {}", key.expects)),
            (None, _) => {
                let known = KEYS.iter().map(|key| key.path.to_owned());
                problems.add(keys::unknown(path, &source, known));
            }
        }
    }
}

/// The file.
impl Settings {
    fn add_file(&mut self, named: Option<PathBuf>, default: PathBuf, problems: &mut Problems) {
        let optional = named.is_none();
        let path = named.unwrap_or(default);
        let read = fs::read_to_string(&path);
        let source = Source::File(path);
        let text = match read {
            Ok(text) => text,
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return problems.add(format!("{source}: cannot be read: {error}")),
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table("", table, &source, problems),
            Err(error) => problems.add(format!("{source}: {}", without_excerpt(&error, &text))),
        }
    }

    fn add_table(&mut self, section: &str, table: toml::Table, source: &Source, problems: &mut Problems) {
        for (name, value) in table {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            match value {
                toml::Value::Table(inner) if is_section(&path) || !inner.is_empty() => {
                    self.add_table(&path, inner, source, problems);
                }
                value => {
                    let fits = Key::find(&path).is_none_or(|key| key.takes(&value));
                    let value = if fits { Value::from_toml(value) } else { None };
                    self.add(&path, value, source.clone(), problems);
                }
            }
        }
    }
}

/// The error without its excerpt of the line, which may hold a secret.
fn without_excerpt(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    format!("not TOML at line {line}: {}", error.message())
}

fn is_section(path: &str) -> bool {
    let below = |key: &Key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(below)
}

/// The environment.
impl Settings {
    fn add_variables(&mut self, mut env: BTreeMap<String, String>, problems: &mut Problems) {
        for key in KEYS {
            let variable = key.variable();
            let direct = env.remove(&variable);
            let by_file = key.file_variable().and_then(|name| env.remove_entry(&name));
            match (direct, by_file) {
                (Some(text), None) => self.set(key, Value::Text(text), Source::Variable(variable)),
                (None, Some((name, file))) => self.add_secret_file(key, name, &file, problems),
                (Some(_), Some((name, _))) => {
                    problems.add(format!("{} (variables {variable} and {name}): expected only one of them", key.path));
                }
                (None, None) => {}
            }
        }
        // No setting uses the variables that are left. Those of the test suite are allowed.
        for name in env.keys().filter(|name| !name.starts_with("SIGNPOST_TEST_")) {
            problems.add(keys::unknown(name, &"environment", known_variables()));
        }
    }

    /// A problem does not repeat the name of the file: the operator may have put the secret there.
    fn add_secret_file(&mut self, key: &'static Key, variable: String, file: &str, problems: &mut Problems) {
        let path = key.path;
        match fs::read_to_string(file) {
            Ok(text) => {
                let value = Value::Text(without_newline(&text).to_owned());
                self.set(key, value, Source::Variable(variable));
            }
            Err(error) => problems.add(format!("{path} (variable {variable}): its file cannot be read: {error}")),
        }
    }
}

fn known_variables() -> impl Iterator<Item = String> {
    let settings = KEYS.iter().flat_map(|key| [Some(key.variable()), key.file_variable()]);
    settings.flatten().chain(["SIGNPOST_CONFIG".to_owned()])
}

/// The text without the one newline that editors and `echo` append.
fn without_newline(text: &str) -> &str {
    let line = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n'));
    line.unwrap_or(text)
}

impl Value {
    fn from_toml(value: toml::Value) -> Option<Self> {
        match value {
            toml::Value::String(text) => Some(Self::Text(text)),
            toml::Value::Float(number) => Some(Self::Text(number.to_string())),
            toml::Value::Integer(number) => Some(Self::Text(number.to_string())),
            toml::Value::Boolean(switch) => Some(Self::Text(switch.to_string())),
            toml::Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().map(Self::List)
            }
            toml::Value::Datetime(_) | toml::Value::Table(_) => None,
        }
    }

    /// `None` for a list.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(_) => None,
        }
    }

    /// A text is a list whose items are separated by commas.
    pub(super) fn items(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            Self::List(items) => items.iter().map(String::as_str).collect(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}
