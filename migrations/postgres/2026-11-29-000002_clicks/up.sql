-- Counts of clicks. Hours and days are numbers since 1970, in UTC. No table refers to `links`: a restored database
-- may lack links that were clicked. Rows are updated in place many times, so pages keep some room.

-- How far each stream of clicks is counted.
CREATE TABLE click_streams (
    id         UUID        CONSTRAINT click_streams_pkey PRIMARY KEY,
    acked      BIGINT      NOT NULL,
    dropped    BIGINT      NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT click_streams_acked_check CHECK (acked >= 0),
    CONSTRAINT click_streams_dropped_check CHECK (dropped >= 0)
) WITH (fillfactor = 50);

-- Its row is the lock of all counts of a link.
CREATE TABLE link_totals (
    link_id UUID        CONSTRAINT link_totals_pkey PRIMARY KEY,
    owner   TEXT        COLLATE "C" NOT NULL,
    humans  BIGINT      NOT NULL,
    bots    BIGINT      NOT NULL,
    last_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT link_totals_humans_check CHECK (humans >= 0),
    CONSTRAINT link_totals_bots_check CHECK (bots >= 0)
) WITH (fillfactor = 80);

-- The clicked links of an owner.
CREATE INDEX link_totals_owner_idx ON link_totals (owner, link_id);

-- The clicks of a link on a day. `counts` holds them by hour and by the value of each dimension, in the format of the
-- domain; `visitors` is a sketch of its visitors. Most are short and lie in the row. Long ones lie beside it, and are not
-- compressed: they are written anew with each batch.
CREATE TABLE link_days (
    link_id  UUID    NOT NULL,
    day      INTEGER NOT NULL,
    humans   BIGINT  NOT NULL,
    bots     BIGINT  NOT NULL,
    counts   BYTEA   NOT NULL,
    visitors BYTEA,
    CONSTRAINT link_days_pkey PRIMARY KEY (link_id, day),
    CONSTRAINT link_days_humans_check CHECK (humans >= 0),
    CONSTRAINT link_days_bots_check CHECK (bots >= 0)
) WITH (fillfactor = 80);

ALTER TABLE link_days ALTER COLUMN counts SET STORAGE EXTERNAL;
ALTER TABLE link_days ALTER COLUMN visitors SET STORAGE EXTERNAL;

-- The most clicked links of all owners. Rows lie in the order of their days, so that a few bytes a page are enough.
CREATE INDEX link_days_day_idx ON link_days USING brin (day) WITH (autosummarize = on);

-- The same of all links of an owner. `domain_id` is the short domain, 0 for the default one.
CREATE TABLE owner_days (
    owner     TEXT     COLLATE "C" NOT NULL,
    day       INTEGER  NOT NULL,
    domain_id SMALLINT NOT NULL,
    humans    BIGINT   NOT NULL,
    bots      BIGINT   NOT NULL,
    counts    BYTEA    NOT NULL,
    CONSTRAINT owner_days_pkey PRIMARY KEY (owner, day, domain_id),
    CONSTRAINT owner_days_humans_check CHECK (humans >= 0),
    CONSTRAINT owner_days_bots_check CHECK (bots >= 0)
) WITH (fillfactor = 50);

ALTER TABLE owner_days ALTER COLUMN counts SET STORAGE EXTERNAL;

-- The days of all owners.
CREATE INDEX owner_days_day_idx ON owner_days (day);

-- Hours before this one are not read any more. One row at most.
CREATE TABLE forgotten_hours (
    single BOOLEAN CONSTRAINT forgotten_hours_pkey PRIMARY KEY,
    before INTEGER NOT NULL,
    CONSTRAINT forgotten_hours_single_check CHECK (single)
);

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
