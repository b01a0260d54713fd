DROP TABLE blocks;
DROP TABLE blocks_revision;
DROP FUNCTION blocks_changed();
DROP FUNCTION blocks_guard();
