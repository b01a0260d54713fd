//! Rows that cannot be read: one of them must not hide the others.

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
};

/// A stored row that the domain does not accept, and that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnreadableRow {
    /// The table it is in.
    pub table: &'static str,
    /// What identifies the row within that table.
    pub id: String,
    /// Which column, and what is wrong with it.
    pub reason: String,
}

impl UnreadableRow {
    /// A row of `table`. Its reason is `error` with its chain of causes.
    pub fn new(table: &'static str, id: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(below) = cause {
            reason = format!("{reason}: {below}");
            cause = below.source();
        }
        Self { table, id: id.into(), reason }
    }
}

/// Receives the rows that a store left out. A store reports a row each time it reads it.
pub trait UnreadableRows: Send + Sync {
    /// This row was left out.
    fn left_out(&self, row: UnreadableRow);
}

/// Reports the rows that a store left out. Its clones share one listener. Without a listener, nothing is reported.
#[derive(Clone, Default)]
pub struct LeftOut(Arc<OnceLock<Arc<dyn UnreadableRows>>>);

impl LeftOut {
    /// Reports to `listener` from now on. The first listener stays; later calls do nothing.
    pub fn tell(&self, listener: Arc<dyn UnreadableRows>) {
        let _first_stays = self.0.set(listener);
    }

    /// The row; `None` if it cannot be read. Then it is reported to the listener.
    pub fn unless<T>(
        &self,
        table: &'static str,
        id: impl fmt::Display,
        row: Result<T, Box<dyn Error + Send + Sync>>,
    ) -> Option<T> {
        match row {
            Ok(row) => Some(row),
            Err(error) => {
                if let Some(listener) = self.0.get() {
                    listener.left_out(UnreadableRow::new(table, id.to_string(), error.as_ref()));
                }
                None
            }
        }
    }
}

impl fmt::Debug for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftOut").finish_non_exhaustive()
    }
}

/// A page of a list, filled from rows of which some may be left out. Its positions are those of all stored rows, so
/// that a row that cannot be read does not end a walk.
#[derive(Clone, Debug)]
pub struct Page<P, T> {
    limit: usize,
    after: Option<P>,
    items: Vec<T>,
    is_last: bool,
}

impl<P: Clone, T> Page<P, T> {
    /// An empty page for up to `limit` items, from the position `after` on.
    pub fn behind(after: Option<P>, limit: u32) -> Self {
        Self { limit: limit as usize, after, items: Vec::new(), is_last: false }
    }

    /// After which position to read how many more rows; `None` if the page is full or no rows are left.
    pub fn missing(&self) -> Option<(Option<P>, i64)> {
        let count = self.limit - self.items.len();
        (count > 0 && !self.is_last)
            .then(|| (self.after.clone(), i64::try_from(count).expect("a page has fewer than 2^32 rows")))
    }

    /// Adds the rows that were read: as many as were [`missing`](Self::missing), or all that are left.
    pub fn take<R>(&mut self, rows: Vec<R>, place: impl Fn(&R) -> P, read: impl FnMut(R) -> Option<T>) {
        self.is_last = rows.len() < self.limit - self.items.len();
        self.after = rows.last().map(place).or_else(|| self.after.take());
        self.items.extend(rows.into_iter().filter_map(read));
    }

    /// The items that could be read.
    pub fn into_items(self) -> Vec<T> {
        self.items
    }
}

/// A column with a value that the domain does not accept.
#[derive(Debug, thiserror::Error)]
#[error("{column}")]
pub struct UnreadableColumn {
    column: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

/// Adds the name of the column to an error.
pub fn in_column<T>(
    column: &'static str,
    outcome: Result<T, impl Into<Box<dyn Error + Send + Sync>>>,
) -> Result<T, UnreadableColumn> {
    outcome.map_err(|error| UnreadableColumn { column, source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_filled_although_some_rows_are_left_out() {
        let rows: Vec<u32> = (0..100).collect();
        let walk = |limit: u32, left_out: fn(&u32) -> bool| {
            let (mut after, mut walked) = (None, Vec::new());
            loop {
                let mut page = Page::behind(after, limit);
                while let Some((after, count)) = page.missing() {
                    let behind = rows.iter().copied().filter(|row| after.is_none_or(|after| *row > after));
                    let some = behind.take(usize::try_from(count).expect("few")).collect();
                    page.take(some, |row| *row, |row| (!left_out(&row)).then_some(row));
                }
                let items = page.into_items();
                after = items.last().copied().or(after);
                walked.extend(items.iter().copied());
                if items.len() < limit as usize {
                    return walked;
                }
            }
        };
        let holes: [fn(&u32) -> bool; 5] =
            [|_| false, |_| true, |row| *row < 50, |row| *row >= 50, |row| (10..=80).contains(row) || row % 3 == 0];
        for left_out in holes {
            for limit in [1, 2, 7, 100, 1_000] {
                let expected: Vec<_> = rows.iter().copied().filter(|row| !left_out(row)).collect();
                assert_eq!(walk(limit, left_out), expected, "{limit}");
            }
        }
    }

    #[test]
    fn the_reason_names_the_column_and_what_is_wrong_there() {
        let error = in_column("code", "ab c".parse::<crate::code::Code>()).expect_err("it has a space");
        let row = UnreadableRow::new("links", "7", &error);
        assert_eq!(row.reason, "code: may only contain A-Z, a-z, 0-9, `_`, `-`, and single dots between them");
    }

    #[test]
    fn left_out_rows_are_reported_to_the_first_listener_only() {
        #[derive(Default)]
        struct Heard(std::sync::Mutex<Vec<UnreadableRow>>);
        impl UnreadableRows for Heard {
            fn left_out(&self, row: UnreadableRow) {
                self.0.lock().expect("nothing panics here").push(row);
            }
        }
        let (left_out, heard) = (LeftOut::default(), Arc::<Heard>::default());
        let broken = || Err::<u8, Box<dyn Error + Send + Sync>>("broken".into());
        assert_eq!(left_out.unless("links", 1, broken()), None, "no listener is there yet");
        left_out.tell(heard.clone());
        left_out.tell(Arc::<Heard>::default());
        assert_eq!(left_out.unless("links", 2, broken()), None);
        assert_eq!(left_out.unless("links", 3, Ok(7)), Some(7));
        let heard = heard.0.lock().expect("nothing panics here");
        assert_eq!(heard.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["2"]);
    }
}
