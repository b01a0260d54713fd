//! Statements over many rows, which are sent as one array for each column.

use diesel::{
    pg::{Pg, data_types::PgTimestamp},
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
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
    AddTotals<'a> { link_id: SqlUuid = Uuid, owner: Text = &'a str, humans: BigInt = i64, bots: BigInt = i64,
        last_at: Timestamptz = PgTimestamp },
    "INSERT INTO link_totals AS t (link_id, owner, humans, bots, last_at) SELECT * FROM input
     ON CONFLICT (link_id) DO UPDATE SET humans = t.humans + excluded.humans, bots = t.bots + excluded.bots,
        last_at = greatest(t.last_at, excluded.last_at)"
}

bulk! {
    /// The counts and the visitors of links on days.
    DaysOfLinks { link_id: SqlUuid = Uuid, day: Integer = i32 } -> (SqlUuid, Integer, Binary, Nullable<Binary>),
    "SELECT link_id, day, counts, visitors FROM input JOIN link_days USING (link_id, day)"
}

bulk! {
    WriteDaysOfLinks { link_id: SqlUuid = Uuid, day: Integer = i32, humans: BigInt = i64, bots: BigInt = i64,
        counts: Binary = Vec<u8>, visitors: Nullable<Binary> = Option<Vec<u8>> },
    "INSERT INTO link_days AS d (link_id, day, humans, bots, counts, visitors) SELECT * FROM input
     ON CONFLICT (link_id, day) DO UPDATE SET humans = d.humans + excluded.humans, bots = d.bots + excluded.bots,
        counts = excluded.counts, visitors = excluded.visitors"
}

bulk! {
    /// Locks until the end of the transaction, one after the other.
    Locks { class: Integer = i32, number: Integer = i32 },
    "SELECT pg_advisory_xact_lock(class, number) FROM input"
}

bulk! {
    /// The counts of owners on days.
    DaysOfOwners<'a> { owner: Text = &'a str, day: Integer = i32, domain_id: SmallInt = i16 }
        -> (Text, Integer, SmallInt, Binary),
    "SELECT owner, day, domain_id, counts FROM input JOIN owner_days USING (owner, day, domain_id)"
}

bulk! {
    WriteDaysOfOwners<'a> { owner: Text = &'a str, day: Integer = i32, domain_id: SmallInt = i16, humans: BigInt = i64,
        bots: BigInt = i64, counts: Binary = Vec<u8> },
    "INSERT INTO owner_days AS d (owner, day, domain_id, humans, bots, counts) SELECT * FROM input
     ON CONFLICT (owner, day, domain_id) DO UPDATE SET humans = d.humans + excluded.humans,
        bots = d.bots + excluded.bots, counts = excluded.counts"
}

bulk! {
    /// Forgets the hours before these, and remembers none again.
    ForgetHours { single: Bool = bool, before: Integer = i32 },
    "INSERT INTO forgotten_hours AS f (single, before) SELECT * FROM input
     ON CONFLICT (single) DO UPDATE SET before = excluded.before WHERE f.before < excluded.before"
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
