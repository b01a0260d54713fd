-- Short domains, and links that live on them: a code is unique within its short domain. Stop the server first: a release
-- that knows no short domains cannot claim links any more.

CREATE TABLE short_domains (
    -- Never given to another one: blocks and idempotency records may name a removed one.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    host          TEXT    CONSTRAINT short_domains_host_key UNIQUE,
    landing_url   TEXT,
    not_found_url TEXT,
    gone_url      TEXT,
    blocked_url   TEXT,
    redirect      INTEGER,
    robots        TEXT    NOT NULL,
    accepts_links INTEGER NOT NULL,
    generation    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    CONSTRAINT short_domains_id_check CHECK (id BETWEEN 0 AND 32767),
    -- The default one has no host of its own: the configuration names it.
    CONSTRAINT short_domains_host_check CHECK (
        (id = 0) = (host IS NULL) AND (host IS NULL OR length(host) BETWEEN 1 AND 253)
        AND (host IS NULL OR host NOT GLOB '*[^!-@[-~]*')
    ),
    CONSTRAINT short_domains_redirect_check CHECK (redirect IN (301, 302, 307, 308)),
    CONSTRAINT short_domains_robots_check CHECK (robots IN ('noindex', 'index', 'disallow')),
    CONSTRAINT short_domains_accepts_links_check CHECK (accepts_links IN (0, 1)),
    CONSTRAINT short_domains_generation_check CHECK (generation >= 1)
) STRICT;

INSERT INTO short_domains (id, robots, accepts_links, generation, created_at, updated_at)
VALUES (0, 'noindex', 1, 1, unixepoch() * 1000000, unixepoch() * 1000000);

-- These are made again: they name what is unique.
DROP TRIGGER links_guard_update;
DROP TRIGGER links_guard_insert;
DROP TRIGGER links_guard_replace;
DROP INDEX links_code_key;
DROP INDEX links_dedup_key;

ALTER TABLE links ADD COLUMN domain_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE link_events ADD COLUMN domain_id INTEGER NOT NULL DEFAULT 0;

CREATE UNIQUE INDEX links_code_key ON links (code, domain_id);
CREATE UNIQUE INDEX links_dedup_key ON links (owner_id, dedup_key, domain_id) WHERE deduplicated = 1;

-- Whether links live on a short domain, and lists of one.
CREATE INDEX links_domain_created_idx ON links (domain_id, created_at, id) WHERE domain_id <> 0;

CREATE TRIGGER links_guard_update BEFORE UPDATE ON links
WHEN NEW.id <> OLD.id OR NEW.domain_id <> OLD.domain_id OR NEW.code <> OLD.code OR NEW.owner_id <> OLD.owner_id
    OR NEW.created_at <> OLD.created_at OR NEW.generation < OLD.generation OR NEW.deduplicated > OLD.deduplicated
BEGIN
    SELECT RAISE(ABORT, 'id, address, owner and creation of a link never change, its generation never falls, deduplication never returns');
END;

CREATE TRIGGER links_guard_insert BEFORE INSERT ON links
WHEN EXISTS (SELECT 1 FROM links WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM links WHERE code = NEW.code AND domain_id = NEW.domain_id)
    OR (NEW.deduplicated = 1 AND EXISTS (
        SELECT 1 FROM links
        WHERE owner_id = NEW.owner_id AND dedup_key = NEW.dedup_key AND domain_id = NEW.domain_id AND deduplicated = 1
    ))
BEGIN
    SELECT RAISE(ABORT, 'links are never replaced: one of links.id, links.code, links.dedup_key is there');
END;

-- Of the other unique columns none can change.
CREATE TRIGGER links_guard_replace BEFORE UPDATE OF dedup_key, deduplicated ON links
WHEN NEW.deduplicated = 1 AND NEW.dedup_key <> OLD.dedup_key AND EXISTS (
    SELECT 1 FROM links
    WHERE owner_id = NEW.owner_id AND dedup_key = NEW.dedup_key AND domain_id = NEW.domain_id AND deduplicated = 1
)
BEGIN
    SELECT RAISE(ABORT, 'links are never replaced: links.dedup_key is there');
END;

-- A foreign key would look for the default short domain with each new link.
CREATE TRIGGER links_domain BEFORE INSERT ON links
WHEN NEW.domain_id <> 0 AND NOT EXISTS (SELECT 1 FROM short_domains WHERE id = NEW.domain_id)
BEGIN
    SELECT RAISE(ABORT, 'the short domain of a link does not exist');
END;

CREATE TRIGGER short_domains_guard_delete BEFORE DELETE ON short_domains
WHEN OLD.id = 0 OR EXISTS (SELECT 1 FROM links WHERE domain_id = OLD.id AND domain_id <> 0)
BEGIN
    SELECT RAISE(ABORT, 'a short domain with links is never removed');
END;

CREATE TRIGGER short_domains_guard_update BEFORE UPDATE ON short_domains
WHEN NEW.id <> OLD.id OR NEW.host IS NOT OLD.host OR NEW.created_at <> OLD.created_at OR NEW.generation < OLD.generation
BEGIN
    SELECT RAISE(ABORT, 'number, host and creation of a short domain never change, its generation never falls');
END;

-- REPLACE deletes the rows it meets without firing a delete trigger.
CREATE TRIGGER short_domains_guard_insert BEFORE INSERT ON short_domains
WHEN EXISTS (SELECT 1 FROM short_domains WHERE id = NEW.id OR host = NEW.host)
BEGIN
    SELECT RAISE(ABORT, 'short domains are never replaced');
END;

-- The short domains to which a key is bound; none: all.
ALTER TABLE api_keys ADD COLUMN domains TEXT NOT NULL DEFAULT '[]';
