//! The table as docs/METRICS.md has it.

use std::fmt::Write;

use super::table::{Kind, Metric, PARTS, When};

const WRITTEN: &str = "writing to a string cannot fail";

/// All metrics as Markdown.
fn reference() -> String {
    let mut page = String::new();
    for (title, rows) in PARTS {
        write!(page, "### {title}\n\n| metric | type | labels | meaning | watch |\n|---|---|---|---|---|\n")
            .expect(WRITTEN);
        page.extend(rows.iter().map(row));
        page.push('\n');
    }
    page.push_str("## Labels\n\n| metric | label | values |\n|---|---|---|\n");
    for metric in PARTS.iter().flat_map(|(_, rows)| *rows) {
        for label in metric.labels {
            let values: Vec<_> = (label.values)().iter().map(|value| format!("`{value}`")).collect();
            let values =
                if label.name == "version" { "the version of the binary".to_owned() } else { values.join(", ") };
            writeln!(page, "| `{}` | `{}` | {values} |", metric.name, label.name).expect(WRITTEN);
        }
    }
    page
}

fn row(metric: &Metric) -> String {
    let Metric { name, help, watch, .. } = metric;
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{}`", label.name)).collect();
    let when = match metric.when {
        When::Always => "",
        When::Clicks => " (if clicks are recorded)",
        When::Sqlite => " (on SQLite)",
        When::Postgres => " (on PostgreSQL)",
        When::Redis => " (with Redis)",
        When::Linux => " (on Linux)",
    };
    format!("| `{name}` | {kind} | {} | {help}{when} | {watch} |\n", labels.join(", "))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::metrics::table;

    #[test]
    fn docs_list_exactly_these_metrics() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/METRICS.md");
        let text = fs::read_to_string(docs).unwrap_or_default();
        let (_, rest) = text.split_once("<!-- metrics -->").unwrap_or_default();
        let (listed, _) = rest.split_once("<!-- /metrics -->").unwrap_or_default();
        let table = reference();
        assert!(listed.trim() == table.trim(), "between the markers in {docs} has to stand:\n\n{table}");
    }

    /// <https://prometheus.io/docs/practices/naming/>
    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let names: BTreeSet<_> = table::all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), table::all().count());
        for metric in table::all() {
            let name = metric.name;
            assert!(["signpost_", "http_server_", "process_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(!["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
            for wrong in ["milliseconds", "_ms", "kilobytes", "percent", "_micros"] {
                assert!(!name.contains(wrong), "{name}");
            }
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        }
    }
}
