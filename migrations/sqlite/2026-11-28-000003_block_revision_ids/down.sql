DROP TRIGGER blocks_changed_insert;
DROP TRIGGER blocks_changed_update;

CREATE TRIGGER blocks_changed_insert AFTER INSERT ON blocks
BEGIN
    UPDATE blocks_revision SET number = number + 1;
END;

CREATE TRIGGER blocks_changed_update AFTER UPDATE ON blocks
BEGIN
    UPDATE blocks_revision SET number = number + 1;
END;

ALTER TABLE blocks_revision DROP COLUMN id;
