-- A number that only rises can repeat: a standby that missed the last changes counts them again, as others. An id that
-- is drawn anew with each change belongs to one history.

ALTER TABLE blocks_revision ADD COLUMN id UUID NOT NULL DEFAULT gen_random_uuid();

CREATE OR REPLACE FUNCTION blocks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE blocks_revision SET number = number + 1, id = gen_random_uuid();
    RETURN NULL;
END
$$;
