//! Statements over many rows, which are sent as one array for each column.

use diesel::{
    pg::{Pg, data_types::PgTimestamp},
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Binary, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Defines a statement whose rows are the table `input`, in the order in which they were pushed. Its text never varies,
/// so each connection prepares it once: the query builder would do that anew at each call.
macro_rules! bulk {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? { $($column:ident: $sql_type:ty = $rust:ty),+ }
        $(-> ($($result:ty),+))? , $sql:expr) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name $(<$life>)? { $($column: Vec<$rust>,)+ }

        impl $(<$life>)? $name $(<$life>)? {
            pub(super) fn push(&mut self, ($($column),+): ($($rust),+)) {
                $(self.$column.push($column);)+
            }
        }

        const _: () = {
            pub(crate) struct Statement;

            impl $(<$life>)? QueryId for $name $(<$life>)? {
                type QueryId = Statement;
                const HAS_STATIC_QUERY_ID: bool = true;
            }
        };

        impl $(<$life>)? QueryFragment<Pg> for $name $(<$life>)? {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                let mut separator = "WITH input AS (SELECT * FROM unnest(";
                $(
                    out.push_sql(separator);
                    out.push_bind_param::<Array<$sql_type>, _>(&self.$column)?;
                    separator = ", ";
                )+
                let _last = separator;
                out.push_sql(concat!(") AS input (", bulk!(@names $($column),+), ")) ", $sql));
                Ok(())
            }
        }

        impl $(<$life>)? Query for $name $(<$life>)? {
            type SqlType = ($($($result,)+)?);
        }
    };
    (@names $first:ident $(, $more:ident)*) => { concat!(stringify!($first) $(, ", ", stringify!($more))*) };
}

bulk! {
    /// Moves a stream, unless it is counted up to another number.
    MoveStream { id: SqlUuid = Uuid, after: BigInt = i64, until: BigInt = i64, lost: BigInt = i64,
        at: Timestamptz = PgTimestamp },
    "UPDATE click_streams s SET acked = i.until, dropped = s.dropped + i.lost, updated_at = i.at
     FROM input i WHERE s.id = i.id AND s.acked = i.after"
}

bulk! {
    /// Moves a stream from 0, unless it is counted further.
    BeginStream { id: SqlUuid = Uuid, until: BigInt = i64, lost: BigInt = i64, at: Timestamptz = PgTimestamp },
    "INSERT INTO click_streams AS s (id, acked, dropped, updated_at) SELECT id, until, lost, at FROM input
     ON CONFLICT (id) DO UPDATE SET acked = excluded.acked, dropped = s.dropped + excluded.dropped,
        updated_at = excluded.updated_at
     WHERE s.acked = 0"
}

bulk! {
    AddTotals<'a> { link_id: SqlUuid = Uuid, kind: SmallInt = i16, owner: Text = &'a str, clicks: BigInt = i64,
        last_at: Nullable<Timestamptz> = Option<PgTimestamp> },
    "INSERT INTO link_totals AS t (link_id, kind, owner, clicks, last_at) SELECT * FROM input
     ON CONFLICT (link_id, kind) DO UPDATE SET clicks = t.clicks + excluded.clicks,
        last_at = greatest(t.last_at, excluded.last_at)"
}

bulk! {
    AddHours { link_id: SqlUuid = Uuid, hour: Integer = i32, kind: SmallInt = i16, clicks: BigInt = i64 },
    "INSERT INTO link_hours AS t (link_id, hour, kind, clicks) SELECT * FROM input
     ON CONFLICT (link_id, hour, kind) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    AddDays { link_id: SqlUuid = Uuid, day: Integer = i32, kind: SmallInt = i16, clicks: BigInt = i64 },
    "INSERT INTO link_days AS t (link_id, day, kind, clicks) SELECT * FROM input
     ON CONFLICT (link_id, day, kind) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    /// Those of these days of links on which more than so many clicks are counted.
    BusyDays { link_id: SqlUuid = Uuid, day: Integer = i32, more_than: BigInt = i64 } -> (SqlUuid, Integer),
    "SELECT link_id, day FROM input i JOIN link_days USING (link_id, day)
     GROUP BY link_id, day, more_than HAVING sum(clicks) > more_than"
}

bulk! {
    /// The stored values of each dimension of which the link has more than `most` with `fresh` new ones.
    CrowdedLinks { link_id: SqlUuid = Uuid, day: Integer = i32, dimension: SmallInt = i16, fresh: BigInt = i64,
        most: BigInt = i64 } -> (SqlUuid, Integer, SmallInt, Text),
    "SELECT DISTINCT d.link_id, d.day, d.dimension, v.value
     FROM input i
     JOIN link_dimensions_day d USING (link_id, day, dimension)
     JOIN dimension_values v ON v.id = d.value_id
     WHERE i.fresh + (
        SELECT count(DISTINCT value_id) FROM link_dimensions_day c
        WHERE c.link_id = i.link_id AND c.day = i.day AND c.dimension = i.dimension
     ) > i.most"
}

bulk! {
    /// The same for owners.
    CrowdedOwners<'a> { owner: Text = &'a str, day: Integer = i32, dimension: SmallInt = i16, domain_id: SmallInt = i16,
        fresh: BigInt = i64, most: BigInt = i64 } -> (Text, Integer, SmallInt, Text),
    "SELECT DISTINCT d.owner, d.day, d.dimension, v.value
     FROM input i
     JOIN owner_dimensions_day d USING (owner, day, dimension, domain_id)
     JOIN dimension_values v ON v.id = d.value_id
     WHERE i.fresh + (
        SELECT count(DISTINCT value_id) FROM owner_dimensions_day c
        WHERE c.owner = i.owner AND c.day = i.day AND c.dimension = i.dimension AND c.domain_id = i.domain_id
     ) > i.most"
}

bulk! {
    /// Those of these values that are stored, with their ids.
    StoredValueIds<'a> { dimension: SmallInt = i16, value: Text = &'a str } -> (SmallInt, Text, BigInt),
    "SELECT dimension, value, id FROM input JOIN dimension_values USING (dimension, value)"
}

bulk! {
    AddValues<'a> { dimension: SmallInt = i16, value: Text = &'a str },
    "INSERT INTO dimension_values (dimension, value) SELECT * FROM input ON CONFLICT DO NOTHING"
}

bulk! {
    AddDimensionsOfDays { link_id: SqlUuid = Uuid, day: Integer = i32, dimension: SmallInt = i16, kind: SmallInt = i16,
        value_id: BigInt = i64, clicks: BigInt = i64 },
    "INSERT INTO link_dimensions_day AS t (link_id, day, dimension, kind, value_id, clicks) SELECT * FROM input
     ON CONFLICT (link_id, day, dimension, kind, value_id) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    AddDimensionsOfMonths { link_id: SqlUuid = Uuid, month: Integer = i32, dimension: SmallInt = i16,
        kind: SmallInt = i16, value_id: BigInt = i64, clicks: BigInt = i64 },
    "INSERT INTO link_dimensions_month AS t (link_id, month, dimension, kind, value_id, clicks) SELECT * FROM input
     ON CONFLICT (link_id, month, dimension, kind, value_id) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    Sketches { link_id: SqlUuid = Uuid, day: Integer = i32 } -> (SqlUuid, Integer, Binary),
    "SELECT link_id, day, sketch FROM input JOIN link_visitors_day USING (link_id, day)"
}

bulk! {
    WriteSketches { link_id: SqlUuid = Uuid, day: Integer = i32, sketch: Binary = Vec<u8> },
    "INSERT INTO link_visitors_day (link_id, day, sketch) SELECT * FROM input
     ON CONFLICT (link_id, day) DO UPDATE SET sketch = excluded.sketch"
}

bulk! {
    /// Locks until the end of the transaction, one after the other.
    Locks { class: Integer = i32, number: Integer = i32 },
    "SELECT pg_advisory_xact_lock(class, number) FROM input"
}

bulk! {
    AddOwnerHours<'a> { owner: Text = &'a str, hour: Integer = i32, domain_id: SmallInt = i16, kind: SmallInt = i16,
        clicks: BigInt = i64 },
    "INSERT INTO owner_hours AS t (owner, hour, domain_id, kind, clicks) SELECT * FROM input
     ON CONFLICT (owner, hour, domain_id, kind) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    AddOwnerDimensions<'a> { owner: Text = &'a str, dimension: SmallInt = i16, day: Integer = i32,
        domain_id: SmallInt = i16, kind: SmallInt = i16, value_id: BigInt = i64, clicks: BigInt = i64 },
    "INSERT INTO owner_dimensions_day AS t (owner, dimension, day, domain_id, kind, value_id, clicks)
     SELECT * FROM input
     ON CONFLICT (owner, dimension, day, domain_id, kind, value_id) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    AddOrphans { domain_id: SmallInt = i16, day: Integer = i32, reason: SmallInt = i16, clicks: BigInt = i64 },
    "INSERT INTO orphans_day AS t (domain_id, day, reason, clicks) SELECT * FROM input
     ON CONFLICT (domain_id, day, reason) DO UPDATE SET clicks = t.clicks + excluded.clicks"
}

bulk! {
    /// The salts that these days have, after this.
    KeepSalts { day: Integer = i32, salt: Binary = Vec<u8> } -> (Binary),
    "INSERT INTO visitor_salts AS t (day, salt) SELECT * FROM input
     ON CONFLICT (day) DO UPDATE SET salt = t.salt RETURNING salt"
}
