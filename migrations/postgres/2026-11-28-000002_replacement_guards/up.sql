-- What may not be deleted row by row may not be emptied at once either: TRUNCATE fires no row trigger.

CREATE FUNCTION truncate_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never removed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'truncate_guard';
END
$$;

CREATE TRIGGER links_guard_truncate BEFORE TRUNCATE ON links FOR EACH STATEMENT EXECUTE FUNCTION truncate_guard();
CREATE TRIGGER link_events_guard_truncate BEFORE TRUNCATE ON link_events FOR EACH STATEMENT EXECUTE FUNCTION truncate_guard();
CREATE TRIGGER blocks_guard_truncate BEFORE TRUNCATE ON blocks FOR EACH STATEMENT EXECUTE FUNCTION truncate_guard();
