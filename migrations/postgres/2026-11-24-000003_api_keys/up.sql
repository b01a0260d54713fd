-- API keys; of each secret only its SHA-256.

CREATE TABLE api_keys (
    id           TEXT        COLLATE "C" CONSTRAINT api_keys_pkey PRIMARY KEY,
    name         TEXT        NOT NULL,
    owner_id     TEXT        COLLATE "C" NOT NULL,
    scopes       TEXT[]      NOT NULL,
    digest       BYTEA       NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    CONSTRAINT api_keys_id_check CHECK (id ~ '^[1-9A-Za-z]{12}$'),
    CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_owner_check CHECK (owner_id ~ '^[a-z0-9_-]{1,64}$'),
    CONSTRAINT api_keys_scopes_check CHECK (
        cardinality(scopes) >= 1 AND scopes <@ ARRAY['links:read', 'links:write', 'stats:read', 'admin']
    ),
    CONSTRAINT api_keys_digest_check CHECK (octet_length(digest) = 32)
);

-- Pages of keys.
CREATE INDEX api_keys_created_idx ON api_keys (created_at, id);
