DROP TABLE blocks;
DROP TABLE blocks_revision;
