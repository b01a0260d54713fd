//! Runs every test on every store.

use std::sync::OnceLock;

use super::{Setup, Signpost};

/// Makes two tests of each function: one with the shared server on SQLite, one with the shared server on PostgreSQL.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test($crate::support::Store::Sqlite.shared()); })+
        }
        mod postgres {
            $(#[test] fn $test() { super::$test($crate::support::Store::Postgres.shared()); })+
        }
    };
}

/// Makes two tests of each function, one for each store. The function starts servers of its own.
macro_rules! alone_on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod alone_on_sqlite {
            $(#[test] fn $test() { super::$test(&$crate::support::Store::Sqlite.setup()); })+
        }
        mod alone_on_postgres {
            $(#[test] fn $test() { super::$test(&$crate::support::Store::Postgres.setup()); })+
        }
    };
}

/// Where a server keeps its links.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    /// A server of its own on an empty store, not yet started.
    pub(crate) fn setup(self) -> Setup {
        let setup = match self {
            Self::Sqlite => Signpost::on_sqlite(),
            Self::Postgres => Signpost::on_postgres(),
        };
        setup.patient()
    }

    /// The server that tests share. Tests do not disturb each other, because each uses an owner of its own.
    pub(crate) fn shared(self) -> &'static Signpost {
        static SQLITE: OnceLock<Signpost> = OnceLock::new();
        static POSTGRES: OnceLock<Signpost> = OnceLock::new();
        let server = match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
        };
        server.get_or_init(|| self.setup().start())
    }
}
