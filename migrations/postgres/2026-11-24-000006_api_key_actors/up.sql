-- Who made and who revoked each API key, and keys that may do nothing but claim links.

ALTER TABLE api_keys
    ADD COLUMN created_by TEXT COLLATE "C" NOT NULL DEFAULT 'system',
    ADD COLUMN revoked_by TEXT COLLATE "C",
    DROP CONSTRAINT api_keys_scopes_check,
    ADD CONSTRAINT api_keys_scopes_check CHECK (
        cardinality(scopes) >= 1
        AND scopes <@ ARRAY['links:read', 'links:create', 'links:write', 'stats:read', 'admin']
    );
