-- Blocks: takedowns of a link, of a host, or of an owner; lifted ones stay, as their history.

CREATE TABLE blocks (
    id         BLOB    CONSTRAINT blocks_pkey PRIMARY KEY NOT NULL,
    kind       TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    lifted_at  INTEGER,
    lifted_by  TEXT,
    CONSTRAINT blocks_id_check CHECK (length(id) = 16),
    CONSTRAINT blocks_kind_check CHECK (kind IN ('code', 'host', 'owner')),
    CONSTRAINT blocks_value_check CHECK (length(CAST(value AS BLOB)) BETWEEN 1 AND 253),
    CONSTRAINT blocks_reason_check CHECK (length(reason) BETWEEN 1 AND 500),
    CONSTRAINT blocks_lifted_check CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT;

-- One block of a subject is in force at a time; also what processes read when something changed.
CREATE UNIQUE INDEX blocks_in_force_key ON blocks (kind, value) WHERE lifted_at IS NULL;
-- Pages of blocks.
CREATE INDEX blocks_created_idx ON blocks (created_at, id);

-- Raised by every change, in its transaction: processes look whether it is as they know it.
CREATE TABLE blocks_revision (
    single INTEGER CONSTRAINT blocks_revision_pkey PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL,
    CONSTRAINT blocks_revision_single_check CHECK (single = 1)
) STRICT;

INSERT INTO blocks_revision (single, number) VALUES (1, 0);

CREATE TRIGGER blocks_guard_update BEFORE UPDATE ON blocks
WHEN OLD.lifted_at IS NOT NULL OR (NEW.id, NEW.kind, NEW.value, NEW.reason, NEW.created_at, NEW.created_by)
    IS NOT (OLD.id, OLD.kind, OLD.value, OLD.reason, OLD.created_at, OLD.created_by)
BEGIN
    SELECT RAISE(ABORT, 'blocks are lifted once, and never removed or rewritten');
END;

CREATE TRIGGER blocks_guard_delete BEFORE DELETE ON blocks
BEGIN
    SELECT RAISE(ABORT, 'blocks are lifted once, and never removed or rewritten');
END;

CREATE TRIGGER blocks_changed_insert AFTER INSERT ON blocks
BEGIN
    UPDATE blocks_revision SET number = number + 1;
END;

CREATE TRIGGER blocks_changed_update AFTER UPDATE ON blocks
BEGIN
    UPDATE blocks_revision SET number = number + 1;
END;
