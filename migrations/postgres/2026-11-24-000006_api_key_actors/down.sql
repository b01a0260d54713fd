-- Keys that may only claim are unknown to what was before; they open nothing any more.
DELETE FROM api_keys WHERE NOT scopes <@ ARRAY['links:read', 'links:write', 'stats:read', 'admin'];

ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_scopes_check,
    ADD CONSTRAINT api_keys_scopes_check CHECK (
        cardinality(scopes) >= 1 AND scopes <@ ARRAY['links:read', 'links:write', 'stats:read', 'admin']
    ),
    DROP COLUMN revoked_by,
    DROP COLUMN created_by;
