-- Blocks: takedowns of a link, of a host, or of an owner; lifted ones stay, as their history.

CREATE TABLE blocks (
    id         UUID        CONSTRAINT blocks_pkey PRIMARY KEY,
    kind       TEXT        COLLATE "C" NOT NULL,
    value      TEXT        COLLATE "C" NOT NULL,
    reason     TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    created_by TEXT        COLLATE "C" NOT NULL,
    lifted_at  TIMESTAMPTZ,
    lifted_by  TEXT        COLLATE "C",
    CONSTRAINT blocks_kind_check CHECK (kind IN ('code', 'host', 'owner')),
    CONSTRAINT blocks_value_check CHECK (octet_length(value) BETWEEN 1 AND 253),
    CONSTRAINT blocks_reason_check CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT blocks_lifted_check CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);

-- One block of a subject is in force at a time; also what processes read when something changed.
CREATE UNIQUE INDEX blocks_in_force_key ON blocks (kind, value) WHERE lifted_at IS NULL;
-- Pages of blocks.
CREATE INDEX blocks_created_idx ON blocks (created_at, id);

-- Raised by every change, in its transaction: processes look whether it is as they know it.
CREATE TABLE blocks_revision (
    single BOOLEAN CONSTRAINT blocks_revision_pkey PRIMARY KEY,
    number BIGINT  NOT NULL,
    CONSTRAINT blocks_revision_single_check CHECK (single)
);

INSERT INTO blocks_revision (single, number) VALUES (TRUE, 0);

CREATE FUNCTION blocks_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.lifted_at IS NOT NULL
        OR (NEW.id, NEW.kind, NEW.value, NEW.reason, NEW.created_at, NEW.created_by)
            IS DISTINCT FROM (OLD.id, OLD.kind, OLD.value, OLD.reason, OLD.created_at, OLD.created_by)
    THEN
        RAISE EXCEPTION 'blocks are lifted once, and never removed or rewritten'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'blocks_guard';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER blocks_guard BEFORE UPDATE OR DELETE ON blocks FOR EACH ROW EXECUTE FUNCTION blocks_guard();

CREATE FUNCTION blocks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE blocks_revision SET number = number + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER blocks_changed AFTER INSERT OR UPDATE ON blocks FOR EACH ROW EXECUTE FUNCTION blocks_changed();
