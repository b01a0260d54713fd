-- The history can be followed from its end: each entry carries its code, so that nothing has to be joined, and a number
-- in the order of commits, for one connection writes at a time.

CREATE TABLE link_events_followed (
    seq        INTEGER PRIMARY KEY,
    link_id    BLOB    NOT NULL CONSTRAINT link_events_link_id_fkey REFERENCES links (id),
    code       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    -- One entry for each generation; also the order histories are read in.
    CONSTRAINT link_events_pkey UNIQUE (link_id, generation),
    CONSTRAINT link_events_kind_check CHECK (kind IN ('created', 'edited', 'deleted', 'reactivated')),
    CONSTRAINT link_events_generation_check CHECK (generation >= 1 AND (generation = 1) = (kind = 'created')),
    CONSTRAINT link_events_request_id_check CHECK (length(request_id) BETWEEN 1 AND 64)
) STRICT;

INSERT INTO link_events_followed (link_id, code, generation, kind, actor, request_id, at)
SELECT e.link_id, l.code, e.generation, e.kind, e.actor, e.request_id, e.at
FROM link_events e JOIN links l ON l.id = e.link_id
ORDER BY e.at, e.link_id, e.generation;

DROP TABLE link_events;
ALTER TABLE link_events_followed RENAME TO link_events;

CREATE TRIGGER link_events_guard_delete BEFORE DELETE ON link_events
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;

CREATE TRIGGER link_events_guard_update BEFORE UPDATE ON link_events
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;
