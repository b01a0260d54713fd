-- REPLACE, INSERT OR REPLACE and UPDATE OR REPLACE delete the rows they meet without firing a delete trigger. These
-- refuse before a row is met. The messages name the columns, as those of the unique indexes do.

CREATE TRIGGER links_guard_insert BEFORE INSERT ON links
WHEN EXISTS (SELECT 1 FROM links WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM links WHERE code = NEW.code)
    OR (NEW.deduplicated = 1 AND EXISTS (
        SELECT 1 FROM links WHERE owner_id = NEW.owner_id AND dedup_key = NEW.dedup_key AND deduplicated = 1
    ))
BEGIN
    SELECT RAISE(ABORT, 'links are never replaced: one of links.id, links.code, links.dedup_key is there');
END;

-- Of the other unique columns none can change.
CREATE TRIGGER links_guard_replace BEFORE UPDATE OF dedup_key, deduplicated ON links
WHEN NEW.deduplicated = 1 AND NEW.dedup_key <> OLD.dedup_key AND EXISTS (
    SELECT 1 FROM links WHERE owner_id = NEW.owner_id AND dedup_key = NEW.dedup_key AND deduplicated = 1
)
BEGIN
    SELECT RAISE(ABORT, 'links are never replaced: links.dedup_key is there');
END;

CREATE TRIGGER link_events_guard_insert BEFORE INSERT ON link_events
WHEN EXISTS (SELECT 1 FROM link_events WHERE link_id = NEW.link_id AND generation = NEW.generation)
    OR EXISTS (SELECT 1 FROM link_events WHERE seq = NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'history is never rewritten');
END;

CREATE TRIGGER blocks_guard_insert BEFORE INSERT ON blocks
WHEN EXISTS (SELECT 1 FROM blocks WHERE id = NEW.id OR rowid = NEW.rowid)
    OR (NEW.lifted_at IS NULL AND EXISTS (
        SELECT 1 FROM blocks WHERE kind = NEW.kind AND value = NEW.value AND lifted_at IS NULL
    ))
BEGIN
    SELECT RAISE(ABORT, 'blocks are lifted once, and never removed or rewritten');
END;

CREATE TRIGGER blocks_guard_replace BEFORE UPDATE ON blocks
WHEN NEW.rowid <> OLD.rowid
BEGIN
    SELECT RAISE(ABORT, 'blocks are lifted once, and never removed or rewritten');
END;
