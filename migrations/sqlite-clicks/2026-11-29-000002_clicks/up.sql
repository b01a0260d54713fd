-- Counts of clicks, in a file of their own: its writer is not the writer of links. Hours, days and months are numbers
-- since 1970, in UTC; times are microseconds since then. Ids of links are those of the other file, which may lack some.

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
    link_id BLOB    NOT NULL,
    kind    INTEGER NOT NULL,
    owner   TEXT    NOT NULL,
    clicks  INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    CONSTRAINT link_totals_pkey PRIMARY KEY (link_id, kind),
    CONSTRAINT link_totals_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_totals_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

-- The clicked links of an owner.
CREATE INDEX link_totals_owner_idx ON link_totals (owner, link_id);

CREATE TABLE link_hours (
    link_id BLOB    NOT NULL,
    hour    INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    clicks  INTEGER NOT NULL,
    CONSTRAINT link_hours_pkey PRIMARY KEY (link_id, hour, kind),
    CONSTRAINT link_hours_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_hours_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

-- Forgetting what is old.
CREATE INDEX link_hours_hour_idx ON link_hours (hour);

-- What is left of the hours once they are forgotten.
CREATE TABLE link_days (
    link_id BLOB    NOT NULL,
    day     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    clicks  INTEGER NOT NULL,
    CONSTRAINT link_days_pkey PRIMARY KEY (link_id, day, kind),
    CONSTRAINT link_days_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_days_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE dimension_values (
    id        INTEGER PRIMARY KEY,
    dimension INTEGER NOT NULL,
    value     TEXT    NOT NULL,
    CONSTRAINT dimension_values_value_key UNIQUE (dimension, value)
) STRICT;

CREATE TABLE link_dimensions_day (
    link_id   BLOB    NOT NULL,
    day       INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    value_id  INTEGER NOT NULL,
    clicks    INTEGER NOT NULL,
    CONSTRAINT link_dimensions_day_pkey PRIMARY KEY (link_id, day, dimension, kind, value_id),
    CONSTRAINT link_dimensions_day_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_dimensions_day_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

-- Sums of the days: a breakdown of a year reads twelve months and some days.
CREATE TABLE link_dimensions_month (
    link_id   BLOB    NOT NULL,
    month     INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    value_id  INTEGER NOT NULL,
    clicks    INTEGER NOT NULL,
    CONSTRAINT link_dimensions_month_pkey PRIMARY KEY (link_id, month, dimension, kind, value_id),
    CONSTRAINT link_dimensions_month_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_dimensions_month_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE link_visitors_day (
    link_id BLOB    NOT NULL,
    day     INTEGER NOT NULL,
    sketch  BLOB    NOT NULL,
    CONSTRAINT link_visitors_day_pkey PRIMARY KEY (link_id, day)
) STRICT, WITHOUT ROWID;

-- `domain_id` is the short domain, 0 for the default one.
CREATE TABLE owner_hours (
    owner     TEXT    NOT NULL,
    hour      INTEGER NOT NULL,
    domain_id INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    clicks    INTEGER NOT NULL,
    CONSTRAINT owner_hours_pkey PRIMARY KEY (owner, hour, domain_id, kind),
    CONSTRAINT owner_hours_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT owner_hours_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

-- Forgetting what is old, and the hours of all owners.
CREATE INDEX owner_hours_hour_idx ON owner_hours (hour);

-- The dimension comes before the day: the days of an owner are the sums of one dimension.
CREATE TABLE owner_dimensions_day (
    owner     TEXT    NOT NULL,
    dimension INTEGER NOT NULL,
    day       INTEGER NOT NULL,
    domain_id INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    value_id  INTEGER NOT NULL,
    clicks    INTEGER NOT NULL,
    CONSTRAINT owner_dimensions_day_pkey PRIMARY KEY (owner, dimension, day, domain_id, kind, value_id),
    CONSTRAINT owner_dimensions_day_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT owner_dimensions_day_clicks_check CHECK (clicks > 0)
) STRICT, WITHOUT ROWID;

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
