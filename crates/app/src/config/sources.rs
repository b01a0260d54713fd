//! Where settings come from.

use std::path::PathBuf;

/// Where settings come from. The caller looks at the process, this module does not.
///
/// Without `Debug`: the environment holds secrets.
pub(crate) struct Sources {
    /// The file named by a flag. `SIGNPOST_CONFIG` names it otherwise.
    pub(crate) file: Option<PathBuf>,
    /// The file to read, if it is there, when none is named.
    pub(crate) default_file: PathBuf,
    /// The whole environment; only `SIGNPOST_*` is looked at.
    pub(crate) env: Vec<(String, String)>,
    /// Keys and values from flags.
    pub(crate) overrides: Vec<(String, String)>,
    /// What the default of `http.workers` stands for.
    pub(crate) cores: usize,
}
