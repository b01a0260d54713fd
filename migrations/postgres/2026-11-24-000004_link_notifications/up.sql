-- Tells every process of a changed link, so that none goes on redirecting from a memory that is over. Creations are
-- not told: a new code is in nobody's memory.

CREATE FUNCTION links_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('signpost_links', NEW.code || ' ' || NEW.generation);
    RETURN NULL;
END
$$;

CREATE TRIGGER links_notify AFTER UPDATE ON links FOR EACH ROW
    WHEN (OLD.generation IS DISTINCT FROM NEW.generation) EXECUTE FUNCTION links_notify();
