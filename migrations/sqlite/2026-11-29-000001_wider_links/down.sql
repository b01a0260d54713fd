-- Links that only the wider constraints allow stay as they are. A release that knows none leaves them out.

CREATE TABLE schema_has_changed (version INTEGER);
DROP TABLE schema_has_changed;

PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
    'CONSTRAINT links_code_check CHECK (
        length(code) BETWEEN 1 AND 64 AND code NOT GLOB ''*[^A-Za-z0-9_.-]*'' AND ''.'' || code || ''.'' NOT GLOB ''*..*''
    )',
    'CONSTRAINT links_code_check CHECK (length(code) BETWEEN 3 AND 64 AND code NOT GLOB ''*[^A-Za-z0-9_-]*'')'),
    'length(target) <= 32768 AND',
    'length(target) <= 2048 AND')
WHERE type = 'table' AND name = 'links';
PRAGMA writable_schema = RESET;
