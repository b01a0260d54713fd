-- Keys that may only claim are unknown to what was before; they open nothing any more.
DELETE FROM api_keys WHERE EXISTS (SELECT 1 FROM json_each(api_keys.scopes) WHERE value = 'links:create');

ALTER TABLE api_keys DROP COLUMN revoked_by;
ALTER TABLE api_keys DROP COLUMN created_by;
