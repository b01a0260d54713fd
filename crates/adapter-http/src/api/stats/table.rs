//! Statistics as CSV (RFC 4180): one table of three columns, which begins with its filters.

use super::body::{Clicks, Statistics};

/// The table.
pub(crate) fn csv(statistics: &Statistics) -> String {
    let mut table = Table::default();
    table.row("section", "name", "clicks");
    for (name, value) in [
        ("from", statistics.from.to_string()),
        ("to", statistics.to.to_string()),
        ("interval", statistics.interval.to_owned()),
        ("time_zone", statistics.time_zone.to_owned()),
        ("bots", statistics.bots.to_owned()),
        ("as_of", statistics.as_of.to_string()),
    ] {
        table.row("filter", name, &value);
    }
    table.totals("total", &statistics.totals);
    if let Some(previous) = &statistics.previous {
        table.totals("previous", previous);
    }
    if let Some(visitors) = statistics.daily_visitors {
        table.row("total", "daily_visitors", &visitors.to_string());
    }
    for part in &statistics.series {
        table.row("series", &part.start.to_string(), &part.counts.clicks.to_string());
    }
    let breakdowns = &statistics.breakdowns;
    table.row("breakdown", "first_day", &breakdowns.first_day);
    table.row("breakdown", "last_day", &breakdowns.last_day);
    table.row("breakdown", "total", &breakdowns.total.to_string());
    for (name, values) in breakdowns.by_name() {
        for value in values {
            table.row(name, &value.value, &value.clicks.to_string());
        }
    }
    table.0
}

#[derive(Default)]
struct Table(String);

impl Table {
    fn totals(&mut self, section: &str, counts: &Clicks) {
        for (name, clicks) in [("clicks", counts.clicks), ("humans", counts.humans), ("bots", counts.bots)] {
            self.row(section, name, &clicks.to_string());
        }
    }

    fn row(&mut self, section: &str, name: &str, value: &str) {
        for (place, field) in [section, name, value].into_iter().enumerate() {
            if place > 0 {
                self.0.push(',');
            }
            self.field(field);
        }
        self.0.push_str("\r\n");
    }

    /// Quotes a field where that is needed. A value that a spreadsheet would run as a formula begins with an apostrophe.
    fn field(&mut self, field: &str) {
        let guard = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if field.contains([',', '"', '\r', '\n']) {
            self.0.push_str(&format!("\"{guard}{}\"", field.replace('"', "\"\"")));
        } else {
            self.0.push_str(guard);
            self.0.push_str(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_no_formula_is_left() {
        let mut table = Table::default();
        table.row("browser", "=HYPERLINK(\"x\")", "1");
        table.row("browser", "a,b", "2");
        table.row("browser", "plain", "3");
        assert_eq!(table.0, "browser,\"'=HYPERLINK(\"\"x\"\")\",1\r\nbrowser,\"a,b\",2\r\nbrowser,plain,3\r\n");
    }
}
