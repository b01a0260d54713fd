-- Links and their history. The constraints say again what the domain says, so that no client can break it.

CREATE TABLE links (
    id             UUID        CONSTRAINT links_pkey PRIMARY KEY,
    code           TEXT        COLLATE "C" NOT NULL,
    owner_id       TEXT        COLLATE "C" NOT NULL,
    target         TEXT        COLLATE "C" NOT NULL,
    redirect       SMALLINT    NOT NULL,
    forward_query  BOOLEAN     NOT NULL,
    expires_at     TIMESTAMPTZ,
    title          TEXT,
    tags           TEXT[]      NOT NULL,
    state          TEXT        COLLATE "C" NOT NULL,
    deduplicated   BOOLEAN     NOT NULL,
    dedup_key      BYTEA       NOT NULL,
    activation_id  UUID        NOT NULL,
    generation     BIGINT      NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    deleted_at     TIMESTAMPTZ,
    reactivated_at TIMESTAMPTZ,
    CONSTRAINT links_code_check CHECK (code ~ '^[A-Za-z0-9_-]{3,64}$'),
    CONSTRAINT links_owner_check CHECK (owner_id ~ '^[a-z0-9_-]{1,64}$'),
    CONSTRAINT links_target_check CHECK (octet_length(target) <= 2048 AND target ~ '^https?://[!-~]+$'),
    CONSTRAINT links_redirect_check CHECK (redirect IN (301, 302, 307, 308)),
    CONSTRAINT links_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
    CONSTRAINT links_tags_check CHECK (cardinality(tags) <= 20),
    CONSTRAINT links_state_check CHECK (state IN ('active', 'deleted')),
    CONSTRAINT links_deleted_at_check CHECK ((state = 'deleted') = (deleted_at IS NOT NULL)),
    CONSTRAINT links_dedup_key_check CHECK (octet_length(dedup_key) = 32),
    CONSTRAINT links_generation_check CHECK (generation >= 1)
);

-- A code belongs to one link permanently, deleted or not. Every redirect looks it up here.
CREATE UNIQUE INDEX links_code_key ON links (code);
-- The same behaviour of one owner is the same link, deleted or not; what claims race on.
CREATE UNIQUE INDEX links_dedup_key ON links (owner_id, dedup_key) WHERE deduplicated;
-- Pages of one owner's links.
CREATE INDEX links_owner_created_idx ON links (owner_id, created_at, id);
-- Pages of all owners' links, for administrators.
CREATE INDEX links_created_idx ON links (created_at, id);

CREATE TABLE link_events (
    link_id    UUID        NOT NULL CONSTRAINT link_events_link_id_fkey REFERENCES links (id),
    generation BIGINT      NOT NULL,
    kind       TEXT        COLLATE "C" NOT NULL,
    actor      TEXT        COLLATE "C" NOT NULL,
    request_id TEXT        COLLATE "C" NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    -- One entry for each generation; also the order histories are read in.
    CONSTRAINT link_events_pkey PRIMARY KEY (link_id, generation),
    CONSTRAINT link_events_kind_check CHECK (kind IN ('created', 'edited', 'deleted', 'reactivated')),
    CONSTRAINT link_events_generation_check CHECK (generation >= 1 AND (generation = 1) = (kind = 'created')),
    CONSTRAINT link_events_request_id_check CHECK (char_length(request_id) BETWEEN 1 AND 64)
);

CREATE FUNCTION links_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'links are never removed: their codes must not be free again'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'links_guard';
    END IF;
    IF (NEW.id, NEW.code, NEW.owner_id, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.code, OLD.owner_id, OLD.created_at)
        OR NEW.generation < OLD.generation
        OR (NEW.deduplicated AND NOT OLD.deduplicated)
    THEN
        RAISE EXCEPTION 'id, code, owner and creation of a link never change, its generation never falls, deduplication never returns'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'links_guard';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER links_guard BEFORE UPDATE OR DELETE ON links FOR EACH ROW EXECUTE FUNCTION links_guard();

CREATE FUNCTION link_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'history is never rewritten'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'link_events_guard';
END
$$;

CREATE TRIGGER link_events_guard BEFORE UPDATE OR DELETE ON link_events FOR EACH ROW EXECUTE FUNCTION link_events_guard();
