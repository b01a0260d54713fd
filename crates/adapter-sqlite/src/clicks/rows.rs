//! Statements that write or read one row, prepared once for each connection.

use diesel::{
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Binary, Integer, Nullable, Text},
    sqlite::Sqlite,
};

/// Defines a statement with its values in the order of its text: after `$begin`, before `$end`. Its text never varies.
/// The query builder would build and prepare it anew for each row.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? { $($column:ident: $sql_type:ty = $rust:ty),+ }
        $(-> ($($result:ty),+))?, $begin:expr, $end:expr) => {
        $(#[$doc])*
        pub(super) struct $name $(<$life>)? { $(pub(super) $column: $rust,)+ }

        const _: () = {
            pub(crate) struct Statement;

            impl $(<$life>)? QueryId for $name $(<$life>)? {
                type QueryId = Statement;
                const HAS_STATIC_QUERY_ID: bool = true;
            }
        };

        impl $(<$life>)? QueryFragment<Sqlite> for $name $(<$life>)? {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                let mut separator = $begin;
                $(
                    out.push_sql(separator);
                    out.push_bind_param::<$sql_type, _>(&self.$column)?;
                    separator = ", ";
                )+
                let _last = separator;
                out.push_sql($end);
                Ok(())
            }
        }

        impl $(<$life>)? Query for $name $(<$life>)? {
            type SqlType = ($($($result,)+)?);
        }

        impl $(<$life>)? RunQueryDsl<SqliteConnection> for $name $(<$life>)? {}
    };
}

statement! {
    /// Moves a stream, unless it is counted up to another number.
    MoveStream<'a> { id: Binary = &'a [u8], after: BigInt = i64, until: BigInt = i64, lost: BigInt = i64, at: BigInt = i64 },
    "WITH input (id, after, until, lost, at) AS (VALUES (",
    ")) UPDATE click_streams SET acked = input.until, dropped = dropped + input.lost, updated_at = input.at
     FROM input WHERE click_streams.id = input.id AND click_streams.acked = input.after"
}

statement! {
    /// Moves a stream from 0, unless it is counted further.
    BeginStream<'a> { id: Binary = &'a [u8], until: BigInt = i64, lost: BigInt = i64, at: BigInt = i64 },
    "INSERT INTO click_streams (id, acked, dropped, updated_at) VALUES (",
    ") ON CONFLICT (id) DO UPDATE SET acked = excluded.acked, dropped = dropped + excluded.dropped,
        updated_at = excluded.updated_at WHERE acked = 0"
}

statement! {
    AddTotal<'a> { link_id: Binary = &'a [u8], owner: Text = &'a str, humans: BigInt = i64, bots: BigInt = i64,
        last_at: BigInt = i64 },
    "INSERT INTO link_totals (link_id, owner, humans, bots, last_at) VALUES (",
    ") ON CONFLICT DO UPDATE SET humans = humans + excluded.humans, bots = bots + excluded.bots,
        last_at = max(last_at, excluded.last_at)"
}

statement! {
    /// The counts and the visitors of a link on a day.
    DayOfLink<'a> { day: Integer = i32, link_id: Binary = &'a [u8] } -> (Binary, Nullable<Binary>),
    "SELECT counts, visitors FROM link_days WHERE (day, link_id) = (",
    ")"
}

statement! {
    WriteDayOfLink<'a> { day: Integer = i32, link_id: Binary = &'a [u8], humans: BigInt = i64, bots: BigInt = i64,
        counts: Binary = Vec<u8>, visitors: Nullable<Binary> = Option<Vec<u8>> },
    "INSERT INTO link_days (day, link_id, humans, bots, counts, visitors) VALUES (",
    ") ON CONFLICT DO UPDATE SET humans = humans + excluded.humans, bots = bots + excluded.bots,
        counts = excluded.counts, visitors = excluded.visitors"
}

statement! {
    /// The counts of an owner on a day.
    DayOfOwner<'a> { owner: Text = &'a str, day: Integer = i32, domain_id: Integer = i32 } -> (Binary),
    "SELECT counts FROM owner_days WHERE (owner, day, domain_id) = (",
    ")"
}

statement! {
    WriteDayOfOwner<'a> { owner: Text = &'a str, day: Integer = i32, domain_id: Integer = i32, humans: BigInt = i64,
        bots: BigInt = i64, counts: Binary = Vec<u8> },
    "INSERT INTO owner_days (owner, day, domain_id, humans, bots, counts) VALUES (",
    ") ON CONFLICT DO UPDATE SET humans = humans + excluded.humans, bots = bots + excluded.bots,
        counts = excluded.counts"
}

statement! {
    /// Forgets the hours before this one, and remembers none again.
    ForgetHours { single: Integer = i32, before: Integer = i32 },
    "INSERT INTO forgotten_hours (single, before) VALUES (",
    ") ON CONFLICT DO UPDATE SET before = excluded.before WHERE before < excluded.before"
}

statement! {
    AddOrphans { domain_id: Integer = i32, day: Integer = i32, reason: Integer = i32, clicks: BigInt = i64 },
    "INSERT INTO orphans_day (domain_id, day, reason, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
}

statement! {
    /// The salt that a day has, after this.
    KeepSalt { day: Integer = i32, salt: Binary = Vec<u8> } -> (Binary),
    "INSERT INTO visitor_salts (day, salt) VALUES (",
    ") ON CONFLICT DO UPDATE SET salt = visitor_salts.salt RETURNING salt"
}
