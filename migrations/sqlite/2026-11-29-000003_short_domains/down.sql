-- Fails if a code is used on two short domains. Links of other short domains become links of the default one.

DROP TRIGGER links_guard_update;
DROP TRIGGER links_guard_insert;
DROP TRIGGER links_guard_replace;
DROP TRIGGER links_domain;
DROP TRIGGER short_domains_guard_delete;
DROP TRIGGER short_domains_guard_update;
DROP TRIGGER short_domains_guard_insert;
DROP INDEX links_domain_created_idx;
DROP INDEX links_code_key;
DROP INDEX links_dedup_key;

ALTER TABLE links DROP COLUMN domain_id;
ALTER TABLE link_events DROP COLUMN domain_id;

CREATE UNIQUE INDEX links_code_key ON links (code);
CREATE UNIQUE INDEX links_dedup_key ON links (owner_id, dedup_key) WHERE deduplicated = 1;

CREATE TRIGGER links_guard_update BEFORE UPDATE ON links
WHEN NEW.id <> OLD.id OR NEW.code <> OLD.code OR NEW.owner_id <> OLD.owner_id OR NEW.created_at <> OLD.created_at
    OR NEW.generation < OLD.generation OR NEW.deduplicated > OLD.deduplicated
BEGIN
    SELECT RAISE(ABORT, 'id, code, owner and creation of a link never change, its generation never falls, deduplication never returns');
END;

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

DROP TABLE short_domains;

-- Keys that were bound to short domains are bound no more: revoke them first if that matters.
ALTER TABLE api_keys DROP COLUMN domains;
