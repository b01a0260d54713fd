CREATE TABLE link_events_before (
    link_id    BLOB    NOT NULL CONSTRAINT link_events_link_id_fkey REFERENCES links (id),
    generation INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    CONSTRAINT link_events_pkey PRIMARY KEY (link_id, generation),
    CONSTRAINT link_events_kind_check CHECK (kind IN ('created', 'edited', 'deleted', 'reactivated')),
    CONSTRAINT link_events_generation_check CHECK (generation >= 1 AND (generation = 1) = (kind = 'created')),
    CONSTRAINT link_events_request_id_check CHECK (length(request_id) BETWEEN 1 AND 64)
) STRICT, WITHOUT ROWID;

INSERT INTO link_events_before SELECT link_id, generation, kind, actor, request_id, at FROM link_events;

DROP TABLE link_events;
ALTER TABLE link_events_before RENAME TO link_events;

CREATE TRIGGER link_events_guard_delete BEFORE DELETE ON link_events
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;

CREATE TRIGGER link_events_guard_update BEFORE UPDATE ON link_events
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;
