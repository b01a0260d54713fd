//! Where settings come from.

use std::path::PathBuf;

/// Where settings come from. The caller reads the environment of the process; this module does not.
///
/// No `Debug`, because the environment holds secrets.
pub(crate) struct Sources {
    /// The file named by the flag. If there is none, `SIGNPOST_CONFIG` names it.
    pub(crate) file: Option<PathBuf>,
    /// The file to read, if it exists, when none is named.
    pub(crate) default_file: PathBuf,
    /// The whole environment. Only `SIGNPOST_*` is read.
    pub(crate) env: Vec<(String, String)>,
    /// Keys and values from flags.
    pub(crate) overrides: Vec<(String, String)>,
    /// Number of CPU cores, which the default of `http.workers` stands for.
    pub(crate) cores: usize,
}
