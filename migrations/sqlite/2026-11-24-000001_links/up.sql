-- Links and their history. The constraints say again what the domain says, so that no client can break it.
-- Times are microseconds since 1970, ids 16 bytes, tags a JSON array.

CREATE TABLE links (
    id             BLOB    NOT NULL CONSTRAINT links_pkey PRIMARY KEY,
    code           TEXT    NOT NULL,
    owner_id       TEXT    NOT NULL,
    target         TEXT    NOT NULL,
    redirect       INTEGER NOT NULL,
    forward_query  INTEGER NOT NULL,
    expires_at     INTEGER,
    title          TEXT,
    tags           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    deduplicated   INTEGER NOT NULL,
    dedup_key      BLOB    NOT NULL,
    generation     INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    deleted_at     INTEGER,
    reactivated_at INTEGER,
    CONSTRAINT links_id_check CHECK (length(id) = 16),
    CONSTRAINT links_code_check CHECK (length(code) BETWEEN 3 AND 64 AND code NOT GLOB '*[^A-Za-z0-9_-]*'),
    CONSTRAINT links_owner_check CHECK (length(owner_id) BETWEEN 1 AND 64 AND owner_id NOT GLOB '*[^a-z0-9_-]*'),
    CONSTRAINT links_target_check CHECK (
        length(target) <= 2048 AND (target GLOB 'http://?*' OR target GLOB 'https://?*') AND target NOT GLOB '*[^!-~]*'
    ),
    CONSTRAINT links_redirect_check CHECK (redirect IN (301, 302, 307, 308)),
    CONSTRAINT links_forward_query_check CHECK (forward_query IN (0, 1)),
    CONSTRAINT links_title_check CHECK (title IS NULL OR length(title) BETWEEN 1 AND 200),
    CONSTRAINT links_tags_check CHECK (json_valid(tags) AND json_type(tags) = 'array' AND json_array_length(tags) <= 20),
    CONSTRAINT links_state_check CHECK (state IN ('active', 'deleted')),
    CONSTRAINT links_deleted_at_check CHECK ((state = 'deleted') = (deleted_at IS NOT NULL)),
    CONSTRAINT links_deduplicated_check CHECK (deduplicated IN (0, 1)),
    CONSTRAINT links_dedup_key_check CHECK (length(dedup_key) = 32),
    CONSTRAINT links_generation_check CHECK (generation >= 1)
) STRICT, WITHOUT ROWID;

-- A code belongs to one link permanently, deleted or not. Every redirect looks it up here.
CREATE UNIQUE INDEX links_code_key ON links (code);
-- The same behaviour of one owner is the same link, deleted or not.
CREATE UNIQUE INDEX links_dedup_key ON links (owner_id, dedup_key) WHERE deduplicated = 1;
-- Pages of one owner's links.
CREATE INDEX links_owner_created_idx ON links (owner_id, created_at, id);
-- Pages of all owners' links, for administrators.
CREATE INDEX links_created_idx ON links (created_at, id);

CREATE TABLE link_events (
    link_id    BLOB    NOT NULL CONSTRAINT link_events_link_id_fkey REFERENCES links (id),
    generation INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    -- One entry for each generation; also the order histories are read in.
    CONSTRAINT link_events_pkey PRIMARY KEY (link_id, generation),
    CONSTRAINT link_events_kind_check CHECK (kind IN ('created', 'edited', 'deleted', 'reactivated')),
    CONSTRAINT link_events_generation_check CHECK (generation >= 1 AND (generation = 1) = (kind = 'created')),
    CONSTRAINT link_events_request_id_check CHECK (length(request_id) BETWEEN 1 AND 64)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER links_guard_delete BEFORE DELETE ON links
BEGIN
    SELECT RAISE(ABORT, 'links are never removed: their codes must not be free again');
END;

CREATE TRIGGER links_guard_update BEFORE UPDATE ON links
WHEN NEW.id <> OLD.id OR NEW.code <> OLD.code OR NEW.owner_id <> OLD.owner_id OR NEW.created_at <> OLD.created_at
    OR NEW.generation < OLD.generation OR NEW.deduplicated > OLD.deduplicated
BEGIN
    SELECT RAISE(ABORT, 'id, code, owner and creation of a link never change, its generation never falls, deduplication never returns');
END;

CREATE TRIGGER link_events_guard_delete BEFORE DELETE ON link_events
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;

CREATE TRIGGER link_events_guard_update BEFORE UPDATE ON link_events
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;
