-- What an upgrade still has to do with the rows, by name and how far it has come; a row goes when that is done.
-- `fragment_keys`: the key of deduplication leaves the fragment of a target as it is written; keys of targets with
-- percent-escapes there have to be computed again.

CREATE TABLE unfinished_upgrades (
    name  TEXT COLLATE "C" CONSTRAINT unfinished_upgrades_pkey PRIMARY KEY,
    after UUID
);

INSERT INTO unfinished_upgrades (name) VALUES ('fragment_keys');
