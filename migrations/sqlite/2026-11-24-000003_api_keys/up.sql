-- API keys; of each secret only its SHA-256. Scopes are a JSON array.

CREATE TABLE api_keys (
    id           TEXT    NOT NULL CONSTRAINT api_keys_pkey PRIMARY KEY,
    name         TEXT    NOT NULL,
    owner_id     TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    digest       BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER,
    CONSTRAINT api_keys_id_check CHECK (length(id) = 12 AND id NOT GLOB '*[^1-9A-Za-z]*'),
    CONSTRAINT api_keys_name_check CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_owner_check CHECK (length(owner_id) BETWEEN 1 AND 64 AND owner_id NOT GLOB '*[^a-z0-9_-]*'),
    CONSTRAINT api_keys_scopes_check CHECK (json_valid(scopes) AND json_array_length(scopes) >= 1),
    CONSTRAINT api_keys_digest_check CHECK (length(digest) = 32)
) STRICT;

-- Pages of keys.
CREATE INDEX api_keys_created_idx ON api_keys (created_at, id);
