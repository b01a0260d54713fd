-- Answers of requests that carried an Idempotency-Key, kept for 24 hours.

CREATE TABLE idempotency_keys (
    actor       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    answer      TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    -- What repetitions of one request meet on.
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (actor, key),
    CONSTRAINT idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_fingerprint_check CHECK (length(fingerprint) = 32)
) STRICT;

-- Forgetting what is older than a day.
CREATE INDEX idempotency_keys_recorded_idx ON idempotency_keys (recorded_at);
