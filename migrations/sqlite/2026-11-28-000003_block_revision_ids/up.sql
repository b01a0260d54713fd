-- A number that only rises can repeat: a copy of the file that missed the last changes counts them again, as others. An
-- id that is drawn anew with each change belongs to one history.

ALTER TABLE blocks_revision ADD COLUMN id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
UPDATE blocks_revision SET id = randomblob(16);

DROP TRIGGER blocks_changed_insert;
DROP TRIGGER blocks_changed_update;

CREATE TRIGGER blocks_changed_insert AFTER INSERT ON blocks
BEGIN
    UPDATE blocks_revision SET number = number + 1, id = randomblob(16);
END;

CREATE TRIGGER blocks_changed_update AFTER UPDATE ON blocks
BEGIN
    UPDATE blocks_revision SET number = number + 1, id = randomblob(16);
END;
