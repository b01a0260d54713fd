-- Counts of clicks. Hours, days and months are numbers since 1970, in UTC. No table refers to `links`: a restored
-- database may lack links that were clicked. Rows are updated in place many times, so pages keep some room.

-- How far each stream of clicks is counted.
CREATE TABLE click_streams (
    id         UUID        CONSTRAINT click_streams_pkey PRIMARY KEY,
    acked      BIGINT      NOT NULL,
    dropped    BIGINT      NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT click_streams_acked_check CHECK (acked >= 0),
    CONSTRAINT click_streams_dropped_check CHECK (dropped >= 0)
) WITH (fillfactor = 50);

-- Each link that was clicked has a row for humans, if only with 0 clicks: it is the lock of all counts of the link.
CREATE TABLE link_totals (
    link_id UUID        NOT NULL,
    kind    SMALLINT    NOT NULL,
    owner   TEXT        COLLATE "C" NOT NULL,
    clicks  BIGINT      NOT NULL,
    last_at TIMESTAMPTZ,
    CONSTRAINT link_totals_pkey PRIMARY KEY (link_id, kind),
    CONSTRAINT link_totals_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_totals_clicks_check CHECK (clicks >= 0),
    CONSTRAINT link_totals_last_at_check CHECK ((clicks > 0) = (last_at IS NOT NULL))
) WITH (fillfactor = 80);

-- The clicked links of an owner, each once.
CREATE INDEX link_totals_owner_idx ON link_totals (owner, link_id) WHERE kind = 0;

CREATE TABLE link_hours (
    link_id UUID     NOT NULL,
    hour    INTEGER  NOT NULL,
    kind    SMALLINT NOT NULL,
    clicks  BIGINT   NOT NULL,
    CONSTRAINT link_hours_pkey PRIMARY KEY (link_id, hour, kind),
    CONSTRAINT link_hours_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_hours_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 90);

-- Forgetting what is old.
CREATE INDEX link_hours_hour_idx ON link_hours (hour);

-- What is left of the hours once they are forgotten.
CREATE TABLE link_days (
    link_id UUID     NOT NULL,
    day     INTEGER  NOT NULL,
    kind    SMALLINT NOT NULL,
    clicks  BIGINT   NOT NULL,
    CONSTRAINT link_days_pkey PRIMARY KEY (link_id, day, kind),
    CONSTRAINT link_days_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_days_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 90);

-- The most clicked links of all owners. Rows lie in the order of their days, so that a few bytes a page are enough.
CREATE INDEX link_days_day_idx ON link_days USING brin (day) WITH (autosummarize = on);

CREATE TABLE dimension_values (
    id        BIGINT   GENERATED ALWAYS AS IDENTITY CONSTRAINT dimension_values_pkey PRIMARY KEY,
    dimension SMALLINT NOT NULL,
    value     TEXT     COLLATE "C" NOT NULL,
    CONSTRAINT dimension_values_value_key UNIQUE (dimension, value)
);

CREATE TABLE link_dimensions_day (
    link_id   UUID     NOT NULL,
    day       INTEGER  NOT NULL,
    dimension SMALLINT NOT NULL,
    kind      SMALLINT NOT NULL,
    value_id  BIGINT   NOT NULL,
    clicks    BIGINT   NOT NULL,
    CONSTRAINT link_dimensions_day_pkey PRIMARY KEY (link_id, day, dimension, kind, value_id),
    CONSTRAINT link_dimensions_day_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_dimensions_day_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 90);

-- Sums of the days: a breakdown of a year reads twelve months and some days.
CREATE TABLE link_dimensions_month (
    link_id   UUID     NOT NULL,
    month     INTEGER  NOT NULL,
    dimension SMALLINT NOT NULL,
    kind      SMALLINT NOT NULL,
    value_id  BIGINT   NOT NULL,
    clicks    BIGINT   NOT NULL,
    CONSTRAINT link_dimensions_month_pkey PRIMARY KEY (link_id, month, dimension, kind, value_id),
    CONSTRAINT link_dimensions_month_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_dimensions_month_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 90);

CREATE TABLE link_visitors_day (
    link_id UUID    NOT NULL,
    day     INTEGER NOT NULL,
    sketch  BYTEA   NOT NULL,
    CONSTRAINT link_visitors_day_pkey PRIMARY KEY (link_id, day)
);

-- `domain_id` is the short domain, 0 for the default one.
CREATE TABLE owner_hours (
    owner     TEXT     COLLATE "C" NOT NULL,
    hour      INTEGER  NOT NULL,
    domain_id SMALLINT NOT NULL,
    kind      SMALLINT NOT NULL,
    clicks    BIGINT   NOT NULL,
    CONSTRAINT owner_hours_pkey PRIMARY KEY (owner, hour, domain_id, kind),
    CONSTRAINT owner_hours_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT owner_hours_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 50);

-- Forgetting what is old, and the hours of all owners.
CREATE INDEX owner_hours_hour_idx ON owner_hours (hour);

-- The dimension comes before the day: the days of an owner are the sums of one dimension.
CREATE TABLE owner_dimensions_day (
    owner     TEXT     COLLATE "C" NOT NULL,
    dimension SMALLINT NOT NULL,
    day       INTEGER  NOT NULL,
    domain_id SMALLINT NOT NULL,
    kind      SMALLINT NOT NULL,
    value_id  BIGINT   NOT NULL,
    clicks    BIGINT   NOT NULL,
    CONSTRAINT owner_dimensions_day_pkey PRIMARY KEY (owner, dimension, day, domain_id, kind, value_id),
    CONSTRAINT owner_dimensions_day_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT owner_dimensions_day_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 80);

-- The secret salts of the last days. Without its salt, no hash of a visitor can be traced to an address.
CREATE TABLE visitor_salts (
    day  INTEGER CONSTRAINT visitor_salts_pkey PRIMARY KEY,
    salt BYTEA   NOT NULL,
    CONSTRAINT visitor_salts_salt_check CHECK (octet_length(salt) = 16)
);

-- Visits that led nowhere, by short domain.
CREATE TABLE orphans_day (
    domain_id SMALLINT NOT NULL,
    day       INTEGER  NOT NULL,
    reason    SMALLINT NOT NULL,
    clicks    BIGINT   NOT NULL,
    CONSTRAINT orphans_day_pkey PRIMARY KEY (domain_id, day, reason),
    CONSTRAINT orphans_day_reason_check CHECK (reason BETWEEN 0 AND 3),
    CONSTRAINT orphans_day_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 50);
