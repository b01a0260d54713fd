-- Counts of clicks, in a file of their own: its writer is not the writer of links. Hours and days are numbers since
-- 1970, in UTC; times are microseconds since then. Ids of links are those of the other file, which may lack some.

-- How far each stream of clicks is counted.
CREATE TABLE click_streams (
    id         BLOB    CONSTRAINT click_streams_pkey PRIMARY KEY NOT NULL,
    acked      INTEGER NOT NULL,
    dropped    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT click_streams_id_check CHECK (length(id) = 16),
    CONSTRAINT click_streams_acked_check CHECK (acked >= 0),
    CONSTRAINT click_streams_dropped_check CHECK (dropped >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE link_totals (
    link_id BLOB    CONSTRAINT link_totals_pkey PRIMARY KEY NOT NULL,
    owner   TEXT    NOT NULL,
    humans  INTEGER NOT NULL,
    bots    INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    CONSTRAINT link_totals_humans_check CHECK (humans >= 0),
    CONSTRAINT link_totals_bots_check CHECK (bots >= 0)
) STRICT, WITHOUT ROWID;

-- The clicked links of an owner.
CREATE INDEX link_totals_owner_idx ON link_totals (owner, link_id);

-- The clicks of a link on a day. `counts` holds them by hour and by the value of each dimension, in the format of the
-- domain; `visitors` is a sketch of its visitors. The day comes first: so all rows that are written today lie together,
-- however many days are stored.
CREATE TABLE link_days (
    day      INTEGER NOT NULL,
    link_id  BLOB    NOT NULL,
    humans   INTEGER NOT NULL,
    bots     INTEGER NOT NULL,
    counts   BLOB    NOT NULL,
    visitors BLOB,
    CONSTRAINT link_days_pkey PRIMARY KEY (day, link_id),
    CONSTRAINT link_days_humans_check CHECK (humans >= 0),
    CONSTRAINT link_days_bots_check CHECK (bots >= 0)
) STRICT, WITHOUT ROWID;

-- The same of all links of an owner. `domain_id` is the short domain, 0 for the default one.
CREATE TABLE owner_days (
    owner     TEXT    NOT NULL,
    day       INTEGER NOT NULL,
    domain_id INTEGER NOT NULL,
    humans    INTEGER NOT NULL,
    bots      INTEGER NOT NULL,
    counts    BLOB    NOT NULL,
    CONSTRAINT owner_days_pkey PRIMARY KEY (owner, day, domain_id),
    CONSTRAINT owner_days_humans_check CHECK (humans >= 0),
    CONSTRAINT owner_days_bots_check CHECK (bots >= 0)
) STRICT, WITHOUT ROWID;

-- The days of all owners.
CREATE INDEX owner_days_day_idx ON owner_days (day, humans, bots);

-- Hours before this one are not read any more. One row at most.
CREATE TABLE forgotten_hours (
    single INTEGER PRIMARY KEY,
    before INTEGER NOT NULL,
    CONSTRAINT forgotten_hours_single_check CHECK (single = 1)
) STRICT;

-- The secret salts of the last days. Without its salt, no hash of a visitor can be traced to an address.
CREATE TABLE visitor_salts (
    day  INTEGER PRIMARY KEY,
    salt BLOB    NOT NULL,
    CONSTRAINT visitor_salts_salt_check CHECK (length(salt) = 16)
) STRICT;

-- Visits that led nowhere, by short domain.
CREATE TABLE orphans_day (
    domain_id INTEGER NOT NULL,
    day       INTEGER NOT NULL,
    reason    INTEGER NOT NULL,
    clicks    INTEGER NOT NULL,
    CONSTRAINT orphans_day_pkey PRIMARY KEY (domain_id, day, reason),
    CONSTRAINT orphans_day_reason_check CHECK (reason BETWEEN 0 AND 3),
    CONSTRAINT orphans_day_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;
