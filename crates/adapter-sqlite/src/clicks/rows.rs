//! Statements that write or read one row, prepared once for each connection.

use diesel::{
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Binary, Integer, Text},
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
    AddTotal<'a> { link_id: Binary = &'a [u8], kind: Integer = i32, owner: Text = &'a str, clicks: BigInt = i64,
        last_at: BigInt = i64 },
    "INSERT INTO link_totals (link_id, kind, owner, clicks, last_at) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks, last_at = max(last_at, excluded.last_at)"
}

statement! {
    AddHour<'a> { link_id: Binary = &'a [u8], hour: Integer = i32, kind: Integer = i32, clicks: BigInt = i64 },
    "INSERT INTO link_hours (link_id, hour, kind, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
}

statement! {
    AddDay<'a> { link_id: Binary = &'a [u8], day: Integer = i32, kind: Integer = i32, clicks: BigInt = i64 },
    "INSERT INTO link_days (link_id, day, kind, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
}

statement! {
    /// The clicks of a link on a day.
    ClicksOfDay<'a> { link_id: Binary = &'a [u8], day: Integer = i32 } -> (BigInt),
    "SELECT coalesce(sum(clicks), 0) FROM link_days WHERE (link_id, day) = (",
    ")"
}

statement! {
    /// At most how many values of a dimension a link has on a day: those that people and bots share count twice.
    ValuesOfLink<'a> { link_id: Binary = &'a [u8], day: Integer = i32, dimension: Integer = i32 } -> (BigInt),
    "SELECT count(*) FROM link_dimensions_day WHERE (link_id, day, dimension) = (",
    ")"
}

statement! {
    KnownOfLink<'a> { link_id: Binary = &'a [u8], day: Integer = i32, dimension: Integer = i32 } -> (Text),
    "SELECT value FROM link_dimensions_day d JOIN dimension_values v ON v.id = d.value_id
     WHERE (link_id, day, d.dimension) = (",
    ")"
}

statement! {
    /// The same as [`ValuesOfLink`] for an owner.
    ValuesOfOwner<'a> { owner: Text = &'a str, dimension: Integer = i32, day: Integer = i32, domain_id: Integer = i32 }
        -> (BigInt),
    "SELECT count(*) FROM owner_dimensions_day WHERE (owner, dimension, day, domain_id) = (",
    ")"
}

statement! {
    KnownOfOwner<'a> { owner: Text = &'a str, dimension: Integer = i32, day: Integer = i32, domain_id: Integer = i32 }
        -> (Text),
    "SELECT value FROM owner_dimensions_day d JOIN dimension_values v ON v.id = d.value_id
     WHERE (owner, d.dimension, day, domain_id) = (",
    ")"
}

statement! {
    ValueId<'a> { dimension: Integer = i32, value: Text = &'a str } -> (BigInt),
    "SELECT id FROM dimension_values WHERE (dimension, value) = (",
    ")"
}

statement! {
    AddValue<'a> { dimension: Integer = i32, value: Text = &'a str } -> (BigInt),
    "INSERT INTO dimension_values (dimension, value) VALUES (",
    ") RETURNING id"
}

statement! {
    AddDimensionOfDay<'a> { link_id: Binary = &'a [u8], day: Integer = i32, dimension: Integer = i32,
        kind: Integer = i32, value_id: BigInt = i64, clicks: BigInt = i64 },
    "INSERT INTO link_dimensions_day (link_id, day, dimension, kind, value_id, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
}

statement! {
    AddDimensionOfMonth<'a> { link_id: Binary = &'a [u8], month: Integer = i32, dimension: Integer = i32,
        kind: Integer = i32, value_id: BigInt = i64, clicks: BigInt = i64 },
    "INSERT INTO link_dimensions_month (link_id, month, dimension, kind, value_id, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
}

statement! {
    Sketch<'a> { link_id: Binary = &'a [u8], day: Integer = i32 } -> (Binary),
    "SELECT sketch FROM link_visitors_day WHERE (link_id, day) = (",
    ")"
}

statement! {
    WriteSketch<'a> { link_id: Binary = &'a [u8], day: Integer = i32, sketch: Binary = Vec<u8> },
    "INSERT INTO link_visitors_day (link_id, day, sketch) VALUES (",
    ") ON CONFLICT DO UPDATE SET sketch = excluded.sketch"
}

statement! {
    AddOwnerHour<'a> { owner: Text = &'a str, hour: Integer = i32, domain_id: Integer = i32, kind: Integer = i32,
        clicks: BigInt = i64 },
    "INSERT INTO owner_hours (owner, hour, domain_id, kind, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
}

statement! {
    AddOwnerDimension<'a> { owner: Text = &'a str, dimension: Integer = i32, day: Integer = i32,
        domain_id: Integer = i32, kind: Integer = i32, value_id: BigInt = i64, clicks: BigInt = i64 },
    "INSERT INTO owner_dimensions_day (owner, dimension, day, domain_id, kind, value_id, clicks) VALUES (",
    ") ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks"
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
