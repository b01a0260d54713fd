-- Codes of one or two characters, and with dots inside; targets of 32,768 bytes, of which the settings allow fewer.
--
-- SQLite changes a constraint only with the whole table, or as here: the text that it is read from, where all rows satisfy
-- the new one (https://sqlite.org/lang_altertable.html, section 7).

PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
    'CONSTRAINT links_code_check CHECK (length(code) BETWEEN 3 AND 64 AND code NOT GLOB ''*[^A-Za-z0-9_-]*'')',
    'CONSTRAINT links_code_check CHECK (
        length(code) BETWEEN 1 AND 64 AND code NOT GLOB ''*[^A-Za-z0-9_.-]*'' AND ''.'' || code || ''.'' NOT GLOB ''*..*''
    )'),
    'length(target) <= 2048 AND',
    'length(target) <= 32768 AND')
WHERE type = 'table' AND name = 'links';

-- Other connections read the schema again when its version changes, which every change of a table does.
CREATE TABLE schema_has_changed (version INTEGER);
DROP TABLE schema_has_changed;
PRAGMA writable_schema = RESET;
