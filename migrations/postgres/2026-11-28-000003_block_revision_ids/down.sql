CREATE OR REPLACE FUNCTION blocks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE blocks_revision SET number = number + 1;
    RETURN NULL;
END
$$;

ALTER TABLE blocks_revision DROP COLUMN id;
