-- Fails if a code is used on two short domains. Links of other short domains become links of the default one.

SET LOCAL lock_timeout = '500ms';

DROP TRIGGER links_domain ON links;
DROP FUNCTION links_domain();
DROP INDEX links_domain_created_idx;
DROP INDEX links_code_key;
DROP INDEX links_dedup_key;

CREATE OR REPLACE FUNCTION links_guard() RETURNS trigger LANGUAGE plpgsql AS $$
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

ALTER TABLE links DROP COLUMN domain_id;
ALTER TABLE link_events DROP COLUMN domain_id;
CREATE UNIQUE INDEX links_code_key ON links (code);
CREATE UNIQUE INDEX links_dedup_key ON links (owner_id, dedup_key) WHERE deduplicated;

DROP TABLE short_domains;
DROP FUNCTION short_domains_guard();

-- Keys that were bound to short domains are bound no more: revoke them first if that matters.
ALTER TABLE api_keys DROP COLUMN domains;
