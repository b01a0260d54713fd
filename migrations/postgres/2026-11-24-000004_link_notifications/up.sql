-- Notifies every process of a changed link, so that none redirects from an outdated cache entry. Creations are not
-- notified: no process has a new code in its cache.

CREATE FUNCTION links_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('signpost_links', NEW.code || ' ' || NEW.generation);
    RETURN NULL;
END
$$;

CREATE TRIGGER links_notify AFTER UPDATE ON links FOR EACH ROW
    WHEN (OLD.generation IS DISTINCT FROM NEW.generation) EXECUTE FUNCTION links_notify();
